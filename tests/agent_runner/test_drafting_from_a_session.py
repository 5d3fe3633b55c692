"""`pairlock policy new --from`: what a draft takes from the session's folder, and what it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent_runner.commands import known_commands
from agent_runner.drafting import from_session
from agent_runner.meta import POLICY
from audit.event import ActionIntended
from audit.journal import Journal, Registration
from cli_tools.action import LineProposal
from policies.decide import decide
from policies.request import Allowed, SessionFacts
from policies.source import parse_policy
from tests.audit.samples import Samples

if TYPE_CHECKING:
    from pathlib import Path

    from policies.policy import Policy

UNDER = (
    "version: 1\nname: u\ngrant: [files]\nfiles: {hide: [private/**], protect: [src/**]}\n"
    "commands: {allow: [files read], rules: [{command: files read, max_calls: 2}]}\n"
)
WIDE = UNDER.replace("hide: [private/**], protect: [src/**]", "hide_defaults: false").replace("2}", "900}")


async def _drafted(tmp_path: Path, beside: str | None) -> Policy:
    """Record a session under a policy, put a text beside its ledger, and draft from it."""
    state, samples = tmp_path / "state", Samples()
    state.mkdir(mode=0o700)
    ledger = Journal.create(state, samples.session, registration=Registration(grant="files"))
    async with ledger as journal:
        opened = samples.opened(journal.commit("read"))
        digest = parse_policy(UNDER, origin="u.yaml").digest
        await journal.record(opened.model_copy(update={"policy_digest": digest}))
        argv = ("files", "read", "a.py")
        await journal.record(
            ActionIntended(
                action=f"{samples.session}/0",
                argv=argv,
                command="files read",
                arguments={"path": "a.py"},
                verdict="allowed",
                reasons=(),
                call="c0",
            )
        )
        await journal.record(samples.finished(0, journal.commit("text")))
        await journal.close(samples.closed())
    if beside is not None:
        (state / "sessions" / samples.session / POLICY).write_text(beside)
    return parse_policy(from_session(state, samples.session, "n"), origin="n.yaml")


async def test_a_draft_keeps_what_the_sessions_policy_hides_protects_and_bounds(tmp_path: Path) -> None:
    under = parse_policy(UNDER, origin="u.yaml")

    drafted = await _drafted(tmp_path, under.as_yaml())

    assert drafted.files is not None
    assert under.files is not None
    assert (drafted.files.hide, drafted.files.protect) == (under.files.hide, under.files.protect)
    assert [rule.max_calls for rule in drafted.commands.rules] == [None, 2]


@pytest.mark.parametrize("beside", [None, "", WIDE, UNDER.replace("max_calls: 2", "max_calls: 3")])
async def test_a_policy_that_the_ledger_does_not_name_counts_as_absent(
    tmp_path: Path, beside: str | None
) -> None:
    drafted = await _drafted(tmp_path, beside)

    assert drafted.files is not None
    assert drafted.files.hide_defaults
    assert drafted.files.hide == ()
    assert [rule.max_calls for rule in drafted.commands.rules] == [None]


async def test_a_draft_binds_the_files_that_were_read_and_the_session_runs_again_under_it(
    tmp_path: Path,
) -> None:
    drafted = await _drafted(tmp_path, None)

    [bound] = drafted.commands.rules
    assert (bound.command.text, [value.text for value in bound.arguments["path"]]) == ("files read", ["a.py"])
    for line, allowed in (("files read a.py", True), ("files read b.py", False)):
        request = known_commands().parse(LineProposal(line=line, body=None)).request()
        decision = decide(drafted, SessionFacts(grant=drafted.grant), request)
        assert isinstance(decision, Allowed) is allowed, line
