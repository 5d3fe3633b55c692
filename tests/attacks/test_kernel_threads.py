"""B118: a thread that was started before the filter stays unfiltered, and the attestation looks at each."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from policies.grant import Grant
from sandbox.attest import guest_evidence
from tests.sandbox.conftest import ground  # noqa: F401 - the fixture
from tests.sandbox.specs import spec_for

if TYPE_CHECKING:
    from tests.sandbox.live import Ground

FILTERED = {
    **dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"), "0000000000000000"),
    "NoNewPrivs": "1", "Seccomp": "2", "Seccomp_filters": "2",
}  # fmt: skip


def differences(*threads: dict[str, str]) -> list[str]:
    """Return which checks of threads do not hold for a guest that says this of its own."""
    facts: Any = {"threads": json.loads(json.dumps(threads))}
    found = guest_evidence(spec_for(Grant.EXEC), facts)
    names = {*FILTERED, "threads"}
    return [piece.check for piece in found if piece.check in names and not piece.holds]


def test_one_filtered_thread_is_as_granted() -> None:
    """B118, the twin."""
    assert differences(FILTERED) == []


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"Seccomp": "0"}, "Seccomp"),
        ({"Seccomp_filters": "1"}, "Seccomp_filters"),
        ({"NoNewPrivs": "0"}, "NoNewPrivs"),
        ({"CapEff": "0000000000200000"}, "CapEff"),
    ],
)
def test_a_second_thread_is_found_and_each_is_looked_at(change: dict[str, str], check: str) -> None:
    """B118: the first thread's filter says nothing of the second's."""
    assert differences(FILTERED, FILTERED) == ["threads"]
    assert differences(FILTERED, {**FILTERED, **change}) == ["threads", check]


@pytest.mark.engine
async def test_the_host_looks_at_every_thread_of_a_container(ground: Ground) -> None:  # noqa: F811 - the fixture
    """B118: its view of /proc is the witness that no image reaches."""
    async with ground.opened_sandbox(await ground.spec(Grant.NONE)) as sandbox:
        seen = {piece.check: piece for piece in sandbox.evidence if piece.source == "host"}

    assert seen["thread 1 Seccomp"].observed == "2"
    assert int(seen["thread 1 Seccomp_filters"].observed) >= 2
    assert "thread 2 Seccomp" not in seen
