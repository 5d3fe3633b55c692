"""A program that reached nothing is told why, and one that reached what it wanted is told nothing."""

from __future__ import annotations

import pytest

from cli_tools.command import Outcome
from cli_tools.run.reach import MOST_TOLD, Reach
from sandbox.egress.events import Decided

COMMANDS = {"PATH": "/usr/bin:/tmp/.pairlock-commands", "PAIRLOCK_COMMANDS": "/tmp/.pairlock-commands"}
PROXY = {"HTTP_PROXY": "http://127.0.0.1:3128", **COMMANDS}


def refusal(host: str) -> Decided:
    """Return the event of a refused tunnel."""
    return Decided(
        connection="c1", scheme="tunnel", host=host, port=443, method="", path="",
        verdict="denied", code="host", message="no rule allows it", hint="name it",
    )  # fmt: skip


@pytest.mark.parametrize(
    "said",
    [
        b"curl: (6) Could not resolve host: example.com",
        b"socket.gaierror: [Errno -3] Temporary failure in name resolution",
        b"getaddrinfo ENOTFOUND registry.npmjs.org",
        b"Exception in thread main java.net.UnknownHostException: example.com",
        b"dial tcp: lookup example.com: no such host",
        b"connect: Network is unreachable",
    ],
)
def test_a_program_that_found_no_way_is_told_which_one_there_is(said: bytes) -> None:
    failed = Outcome(exit_code=1, errors=said)

    assert "proxy of HTTP_PROXY" in Reach([], PROXY).told(failed).note
    assert "no `network`" in Reach([], {}).told(failed).note
    assert "no `network`" in Reach([], COMMANDS).told(failed).note


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(exit_code=1, errors=b"AssertionError: 1 != 2", note="ended by signal 9"),
        Outcome(exit_code=0, output=b"test_getaddrinfo passed"),
    ],
)
def test_a_program_that_failed_otherwise_or_not_at_all_is_told_nothing_more(outcome: Outcome) -> None:
    assert Reach([], PROXY).told(outcome) == outcome


def test_what_the_gate_refused_is_told_with_its_code_and_its_mend() -> None:
    told = Reach([refusal("a.example")], PROXY).told(Outcome(exit_code=0, note="before")).note

    assert told == (
        "before\nnote: the egress gate refused `a.example` port 443 (host): no rule allows it\nhint: name it"
    )


def test_many_refusals_are_counted_on_few_lines() -> None:
    told = Reach([refusal(f"h{n}.example") for n in range(9)], PROXY).told(Outcome(exit_code=1)).note

    assert told.count("the egress gate refused") == MOST_TOLD
    assert told.endswith("note: further requests were refused, too")
