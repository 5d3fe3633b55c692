"""Test what the guest's tries must have been answered, by grant, workspace and runtime. Pure."""

from __future__ import annotations

import pytest

from policies.capability import Capability
from policies.grant import Grant
from sandbox.attest import guest_evidence
from sandbox.spec import BindMount, Mount
from tests.sandbox.specs import OVERLAY, spec_for

BOUND = BindMount(target="/workspace", source="/w", read_only=False)


def holds(name: str, answer: str, grant: Grant, *, workspace: Mount = OVERLAY, runtime: str = "runc") -> bool:
    """Say whether an answer to a try is as granted."""
    spec = spec_for(grant, workspace=workspace, runtime=runtime)
    found = guest_evidence(spec, {"tries": {name: answer}})
    (piece,) = [piece for piece in found if piece.check == f"try {name}"]
    return piece.holds


@pytest.mark.parametrize(
    ("workspace", "runtime", "lawful"),
    [
        (OVERLAY, "runc", {"allowed"}),
        (BOUND, "runc", {"EPERM"}),
        (OVERLAY, "runsc", {"allowed"}),
        (BOUND, "runsc", {"allowed", "EPERM"}),
    ],
)
def test_unix_sockets_are_made_but_beside_a_bound_folder(
    workspace: Mount, runtime: str, lawful: set[str]
) -> None:
    """A gVisor may pass the profile by; a socket of its kernel reaches none of the host's."""
    answers = ("allowed", "EPERM", "EACCES", "EINVAL", "not tried")

    held = {
        answer
        for answer in answers
        if holds("socket_unix", answer, Grant.FILES, workspace=workspace, runtime=runtime)
    }

    assert held == lawful


@pytest.mark.parametrize("grant", list(Grant), ids=lambda grant: grant.label)
@pytest.mark.parametrize("name", ["execve", "memfd_create"])
def test_what_exec_opens_is_allowed_exactly_with_it(name: str, grant: Grant) -> None:
    held = {answer for answer in ("allowed", "EPERM", "EACCES", "ENOENT") if holds(name, answer, grant)}

    assert held == ({"allowed"} if grant.holds(Capability.EXEC) else {"EPERM"})


@pytest.mark.parametrize("name", ["unshare", "ptrace", "io_uring_setup", "clone_newuser"])
@pytest.mark.parametrize("answer", ["allowed", "EINVAL", "EFAULT", "ENOSYS", "silent", "unknown", ""])
def test_an_answer_that_no_filter_gives_is_a_difference(name: str, answer: str) -> None:
    """EINVAL means that the kernel was asked."""
    assert not holds(name, answer, Grant.EXEC)
    assert holds(name, "EPERM", Grant.EXEC)


@pytest.mark.parametrize("runtime", ["runc", "runsc"])
@pytest.mark.parametrize("sealed", [True, False])
def test_the_link_is_closed_to_other_processes_or_sealed_where_no_kernel_of_ours_closes_it(
    runtime: str, *, sealed: bool
) -> None:
    """A seal is gVisor's second best: where Linux leaves the link open, PID 1 is not what it should be."""
    spec = spec_for(Grant.EXEC, runtime=runtime)
    held: set[str] = set()
    for answer in ("EACCES", "EPERM", "allowed", "ENOENT", "not tried"):
        found = guest_evidence(spec, {"tries": {"open_link": answer}}, sealed=sealed)
        held |= {answer for piece in found if piece.check == "try open_link" and piece.holds}

    closed = {"EACCES", "EPERM"}
    everything = closed | {"allowed", "ENOENT", "not tried"}
    assert held == (everything if sealed and runtime == "runsc" else closed)


def test_a_guest_that_says_nothing_is_a_difference() -> None:
    found = guest_evidence(spec_for(Grant.FILES_EXEC), {})

    assert {piece.check for piece in found if piece.holds} <= {
        "descriptors", "environment", "groups", "interfaces", "other mounts",
    }  # fmt: skip
    assert sum(not piece.holds for piece in found) > 10
