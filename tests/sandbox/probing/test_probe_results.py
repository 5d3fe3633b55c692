"""Test how a probe's result is judged, and that catalogue and guest know the same probes."""

from __future__ import annotations

import pytest

from policies.capability import Capability
from policies.grant import Grant
from sandbox.guest import battery, probes
from sandbox.probing.catalogue import IN_GUEST
from sandbox.probing.probe import ENDED, Opens, Probe, Result
from sandbox.probing.programs import WITH_PROGRAMS

ALL = (*IN_GUEST, *(program.probe for program in WITH_PROGRAMS))
FILTERED = Probe(name="mount", tried="call mount", stops={"EPERM": "seccomp"})


def result(probe: Probe, observed: str, *, grant: Grant = Grant.NONE, runtime: str = "runc") -> Result:
    """Return a result."""
    return Result(probe=probe, grant=grant, runtime=runtime, observed=observed)


def test_every_probe_of_the_catalogue_is_one_of_the_guests() -> None:
    """A name that the guest does not know would be answered `unknown`, and never be tried."""
    known = {*probes.PROBES, *battery.PROBES}

    assert {probe.name for probe in IN_GUEST} - {"call_x32", "call_i386"} <= known
    assert known - {probe.name for probe in IN_GUEST} == {"subreaper", "open_link"}


def test_names_are_unique_and_there_are_at_least_sixty() -> None:
    names = [probe.name for probe in ALL]

    assert len(names) == len(set(names))
    assert len(names) >= 60


def test_every_probe_that_may_be_refused_says_what_stops_it() -> None:
    silent = [probe.name for probe in ALL if probe.opens is not Opens.ALWAYS and not probe.stops]

    assert silent == []


@pytest.mark.parametrize("grant", list(Grant), ids=lambda grant: grant.label)
def test_both_sides_are_probed_under_every_grant(grant: Grant) -> None:
    expected = {probe.expected(grant, "runc") for probe in ALL}

    assert expected == {"allowed", "refused"}


@pytest.mark.parametrize("grant", list(Grant), ids=lambda grant: grant.label)
def test_what_a_grant_opens_is_expected_exactly_under_it(grant: Grant) -> None:
    opened = {probe.name for probe in ALL if probe.expected(grant, "runc") == "allowed"}

    assert ("execve" in opened) == grant.holds(Capability.EXEC)
    assert ("create_in_workspace" in opened) == grant.holds(Capability.FILES)
    assert ("socket_inet" in opened) == (grant is Grant.NETWORK_EXEC)
    assert "reach_metadata" not in opened


def test_a_refusal_names_its_layer() -> None:
    refused = result(FILTERED, "EPERM")

    assert (refused.standing, refused.stopped_by) == ("as expected", "seccomp")


def test_what_got_through_is_said() -> None:
    through = result(FILTERED, "allowed")

    assert (through.standing, through.stopped_by) == ("got through", "nothing")


@pytest.mark.parametrize("observed", ["EINVAL", "EFAULT", "silent", "unknown", "not tried", "", ENDED])
def test_an_answer_that_no_layer_gives_is_no_refusal(observed: str) -> None:
    """EINVAL for a call that should be filtered means that the filter was not there."""
    assert result(FILTERED, observed).standing == "unclear"


def test_what_should_be_allowed_and_is_not_is_said() -> None:
    probe = Probe(name="execve", tried="execute", opens=Opens.EXEC, stops={"EPERM": "seccomp"})

    assert result(probe, "EPERM", grant=Grant.EXEC).standing == "refused"
    assert result(probe, "allowed", grant=Grant.EXEC).standing == "as expected"
    assert result(probe, "allowed", grant=Grant.FILES).standing == "got through"


def test_what_is_known_of_another_kernel_is_known_of_that_kernel_alone() -> None:
    probe = Probe(name="read", tried="read", stops={"EACCES": "x"}, own_kernel="why it is harmless")

    assert result(probe, "allowed", runtime="runsc").standing == "as expected"
    assert result(probe, "EACCES", runtime="runsc").standing == "as expected"
    assert result(probe, "allowed", runtime="runc").standing == "got through"


def test_a_bomb_may_end_a_sandbox_of_another_kernel_only() -> None:
    bomb = Probe(name="bomb", tried="fork", stops={"EAGAIN": "limit"}, alone=True)

    assert result(bomb, ENDED, runtime="runsc").standing == "as expected"
    assert result(bomb, ENDED, runtime="runc").standing == "unclear"


def test_a_result_has_the_six_members_that_are_promised() -> None:
    assert result(FILTERED, "EPERM").as_json() == {
        "probe": "mount",
        "grant": "none",
        "runtime": "runc",
        "expected": "refused",
        "observed": "EPERM",
        "stopped_by": "seccomp",
    }
