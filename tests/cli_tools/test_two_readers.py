"""A policy's expectations are read by another parser than the gate's: both mean the same by one line."""

from __future__ import annotations

import pytest

from cli_tools.action import LineProposal
from cli_tools.catalogue import built_in
from cli_tools.vocabulary import vocabulary
from policies.action_line import request_from_line

CATALOGUE = built_in()
FACTS = vocabulary(CATALOGUE)
LINES = [example for command in CATALOGUE.commands for example in command.examples]


@pytest.mark.parametrize("line", LINES)
def test_an_expectation_and_the_gate_mean_the_same_action(line: str) -> None:
    """Else an expectation would hold of something that no agent can do."""
    at_the_gate = CATALOGUE.parse(LineProposal(line=line)).request()

    expected = request_from_line(line, FACTS)

    assert (expected.command, expected.needs, expected.program) == (
        at_the_gate.command,
        at_the_gate.needs,
        at_the_gate.program,
    )
    assert set(expected.paths) <= set(at_the_gate.paths)
    assert {path.path for path in at_the_gate.paths} - {path.path for path in expected.paths} <= {"."}
    assert expected.http == at_the_gate.http
    given = {sink.argument: sink.value for sink in at_the_gate.sinks if sink.value}
    assert {sink.argument: sink.value for sink in expected.sinks if sink.value}.keys() == given.keys()
