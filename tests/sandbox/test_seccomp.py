"""Test the seccomp profile whole: what it allows, for both architectures and every grant."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from policies.capability import Capability
from policies.grant import Grant
from sandbox import seccomp
from sandbox.guest import syscalls
from sandbox.spec import BindMount
from tests.sandbox.specs import spec_for

if TYPE_CHECKING:
    from sandbox.seccomp import Profile, Rule

ARCHITECTURES = ("x86_64", "aarch64")
BOUND = BindMount(target="/workspace", source="/w", read_only=False)
HEADERS = {
    "x86_64": (Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), Path("/usr/include/asm/unistd_64.h")),
    "aarch64": (Path("/usr/include/asm-generic/unistd.h"),),
}
# In no header of an older kernel; a runtime leaves out a name that it does not know.
NEWER = {
    "cachestat", "fchmodat2", "map_shadow_stack", "futex_wake", "futex_wait", "futex_requeue", "futex_waitv",
    "process_mrelease", "epoll_pwait2", "landlock_add_rule", "landlock_create_ruleset",
    "landlock_restrict_self", "memfd_secret", "mseal",
}  # fmt: skip


def profile_of(grant: Grant, architecture: str = "x86_64") -> Profile:
    """Return the profile of a grant's spec, as the engine gets it."""
    found: Profile = json.loads(spec_for(grant, architecture=architecture).seccomp)
    return found


def allowed(profile: Profile) -> set[str]:
    """Return every name that a rule allows, whatever the arguments."""
    return {
        name for rule in profile["syscalls"] if rule["action"] == "SCMP_ACT_ALLOW" for name in rule["names"]
    }


def rules_for(profile: Profile, name: str) -> list[Rule]:
    """Return the rules that name a system call."""
    return [rule for rule in profile["syscalls"] if name in rule["names"]]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("grant", list(Grant), ids=lambda grant: grant.label)
def test_no_name_that_the_guest_refuses_is_allowed(grant: Grant, architecture: str) -> None:
    """Profile and guest's filter are two lists kept apart; the second may never be the wider one."""
    names = allowed(profile_of(grant, architecture))

    assert names & set(syscalls.REFUSED) == set()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("grant", list(Grant), ids=lambda grant: grant.label)
def test_what_is_not_named_fails(grant: Grant, architecture: str) -> None:
    profile = profile_of(grant, architecture)

    assert (profile["defaultAction"], profile["defaultErrnoRet"]) == ("SCMP_ACT_ERRNO", 1)
    assert {rule["action"] for rule in profile["syscalls"]} == {"SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"}


@pytest.mark.parametrize(
    ("architecture", "name"), [("x86_64", "SCMP_ARCH_X86_64"), ("aarch64", "SCMP_ARCH_AARCH64")]
)
def test_only_the_native_abi_is_named(architecture: str, name: str) -> None:
    """So the runtime's filter kills i386, x32 and 32-bit ARM."""
    assert profile_of(Grant.EXEC, architecture)["architectures"] == [name]


@pytest.mark.parametrize("grant", list(Grant), ids=lambda grant: grant.label)
def test_memfd_and_execveat_come_with_exec(grant: Grant) -> None:
    names = allowed(profile_of(grant))

    executes = grant.holds(Capability.EXEC)
    assert ("memfd_create" in names, "execveat" in names) == (executes, executes)
    assert "execve" in names  # the runtime starts the guest with it; the guest's own filter takes it away


@pytest.mark.parametrize("grant", list(Grant), ids=lambda grant: grant.label)
def test_sockets_are_unix_and_with_a_proxy_inet(grant: Grant) -> None:
    families = {rule["args"][0]["value"] for rule in rules_for(profile_of(grant), "socket")}

    assert families == ({1, 2, 10} if grant is Grant.NETWORK_EXEC else {1})
    assert all(rule["args"][0]["op"] == "SCMP_CMP_EQ" for rule in rules_for(profile_of(grant), "socket"))


def test_of_the_internets_protocols_only_tcp_and_udp_are_allowed() -> None:
    """Whatever flags stand beside the type; no ping, no SCTP, no MPTCP."""
    rules = [rule["args"] for rule in rules_for(profile_of(Grant.NETWORK_EXEC), "socket")]

    made = {
        (family["value"], kind["valueTwo"], protocol["value"])
        for family, kind, protocol in (arguments for arguments in rules if len(arguments) > 1)
    }

    assert made == {
        (family, kind, protocol) for family in (2, 10) for kind, protocol in ((1, 0), (1, 6), (2, 0), (2, 17))
    }
    for family, kind, protocol in (arguments for arguments in rules if len(arguments) > 1):
        assert [one["index"] for one in (family, kind, protocol)] == [0, 1, 2]
        assert (kind["op"], kind["value"], protocol["op"]) == ("SCMP_CMP_MASKED_EQ", 0xF, "SCMP_CMP_EQ")
    assert [len(arguments) for arguments in rules if arguments[0]["value"] == 1] == [1]


def test_beside_a_bound_folder_unix_sockets_are_made_in_pairs_only() -> None:
    """The folder can come to hold a socket of this machine's; a staged one shows none that can be reached."""
    bound: Profile = json.loads(spec_for(Grant.FILES_EXEC, workspace=BOUND).seccomp)
    staged = profile_of(Grant.FILES_EXEC)

    assert rules_for(bound, "socket") == []
    assert [rule["args"][0]["value"] for rule in rules_for(bound, "socketpair")] == [1]
    assert len(rules_for(staged, "socket")) == 1


def test_no_call_is_allowed_both_with_and_without_a_condition() -> None:
    """An unconditional rule would make the condition mean nothing."""
    profile = profile_of(Grant.NETWORK_EXEC)
    for name in ("clone", "socket", "socketpair", "ioctl"):
        assert rules_for(profile, name)
        assert all(rule.get("args") for rule in rules_for(profile, name))


def test_clone_makes_no_namespace() -> None:
    """Allow clone when none of the seven CLONE_NEW bits is set (linux/sched.h)."""
    (rule,) = rules_for(profile_of(Grant.EXEC), "clone")

    (argument,) = rule["args"]
    bits = (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)
    assert (argument["index"], argument["op"]) == (0, "SCMP_CMP_MASKED_EQ")
    assert argument["valueTwo"] == 0
    assert argument["value"] == sum(bits)


def test_clone3_is_absent_for_the_c_library() -> None:
    (rule,) = rules_for(profile_of(Grant.EXEC), "clone3")

    assert (rule["action"], rule["errnoRet"]) == ("SCMP_ACT_ERRNO", 38)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_name_is_a_system_call_of_linux(architecture: str) -> None:
    """A misspelt name would be left out by the runtime, and refuse what should be allowed."""
    header = next((path for path in HEADERS[architecture] if path.exists()), None)
    assert header is not None, "expected the kernel's headers (linux-libc-dev)"
    known = set(re.findall(r"__NR3?_?(?:264_)?(\w+)", header.read_text()))
    old = set(
        re.findall(r"__NR_(\w+)", "".join(path.read_text() for path in HEADERS["x86_64"] if path.exists()))
    )

    names = set(seccomp.ALLOWED) | {"clone", "clone3", "socket", "socketpair", "ioctl", "memfd_create"}

    assert names - known - old - NEWER == set()


def test_an_unknown_architecture_has_no_profile() -> None:
    with pytest.raises(KeyError):
        seccomp.profile("riscv64", executes=False, loopback=False)
