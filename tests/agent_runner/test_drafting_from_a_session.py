"""`pairlock policy new --from`: what a draft takes from the session's folder, and what it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent_runner.commands import known_commands
from agent_runner.drafting import from_session
from agent_runner.errors import InvalidInputError
from agent_runner.meta import POLICY
from audit.event import ActionIntended
from audit.journal import Journal, Registration
from cli_tools.action import LineProposal
from policies.decide import decide
from policies.errors import PolicyFileError
from policies.request import Allowed, SessionFacts
from policies.source import parse_policy
from tests.agent_runner.policy_stand import pairlock
from tests.audit.samples import Samples

if TYPE_CHECKING:
    from pathlib import Path

    from policies.policy import Policy

UNDER = (
    "version: 1\nname: u\ngrant: [files]\nfiles: {hide: [private/**], protect: [src/**]}\n"
    "commands: {allow: [files read], rules: [{command: files read, max_calls: 2}]}\n"
)
WIDE = UNDER.replace("hide: [private/**], protect: [src/**]", "hide_defaults: false").replace("2}", "900}")


async def _session(tmp_path: Path, beside: bytes | None, *paths: str) -> tuple[Path, str]:
    """Record a session that read files under a policy, and put a text beside its ledger."""
    state, samples = tmp_path / "state", Samples()
    state.mkdir(mode=0o700)
    ledger = Journal.create(state, samples.session, registration=Registration(grant="files"))
    async with ledger as journal:
        opened = samples.opened(journal.commit("read"))
        digest = parse_policy(UNDER, origin="u.yaml").digest
        await journal.record(opened.model_copy(update={"policy_digest": digest}))
        for number, path in enumerate(paths):
            await journal.record(
                ActionIntended(
                    action=f"{samples.session}/{number}",
                    argv=("files", "read", path),
                    command="files read",
                    arguments={"path": path},
                    verdict="allowed",
                    reasons=(),
                    call=f"c{number}",
                )
            )
            await journal.record(samples.finished(number, journal.commit("text")))
        await journal.close(samples.closed())
    if beside is not None:
        (state / "sessions" / samples.session / POLICY).write_bytes(beside)
    return state, samples.session


async def _drafted(tmp_path: Path, beside: str | None, *paths: str) -> tuple[Policy, tuple[str, ...]]:
    text = None if beside is None else beside.encode()
    drafted = from_session(*await _session(tmp_path, text, *(paths or ("a.py",))), "n")
    assert drafted.text.startswith("".join(f"# {note}\n" for note in drafted.notes) + "version: 1\n")
    return parse_policy(drafted.text, origin="n.yaml"), drafted.notes


async def test_a_draft_keeps_what_the_sessions_policy_hides_protects_and_bounds(tmp_path: Path) -> None:
    under = parse_policy(UNDER, origin="u.yaml")

    drafted, notes = await _drafted(tmp_path, under.as_yaml())

    assert drafted.files is not None
    assert under.files is not None
    assert (drafted.files.hide, drafted.files.protect) == (under.files.hide, under.files.protect)
    assert [rule.max_calls for rule in drafted.commands.rules] == [None, 2]
    assert notes == ()


@pytest.mark.parametrize("beside", [None, WIDE, UNDER.replace("max_calls: 2", "max_calls: 3")])
async def test_a_policy_that_the_ledger_does_not_name_counts_as_absent_and_that_is_told(
    tmp_path: Path, beside: str | None
) -> None:
    drafted, notes = await _drafted(tmp_path, beside)

    [note] = notes
    assert note == (
        "the session's policy is gone: this draft has none of its bounds"
        if beside is None
        else "the policy kept with the session is not the one that its ledger names: it is not used"
    )

    assert drafted.files is not None
    assert drafted.files.hide_defaults
    assert drafted.files.hide == ()
    assert [rule.max_calls for rule in drafted.commands.rules] == [None]


async def test_a_draft_binds_the_files_that_were_read_and_the_session_runs_again_under_it(
    tmp_path: Path,
) -> None:
    drafted, _ = await _drafted(tmp_path, None)

    [bound] = drafted.commands.rules
    assert (bound.command.text, [value.text for value in bound.arguments["path"]]) == ("files read", ["a.py"])
    for line, allowed in (("files read a.py", True), ("files read b.py", False)):
        request = known_commands().parse(LineProposal(line=line, body=None)).request()
        decision = decide(drafted, SessionFacts(grant=drafted.grant), request)
        assert isinstance(decision, Allowed) is allowed, line


@pytest.mark.parametrize(("beside", "error"), [(b"", PolicyFileError), (b"\xff", InvalidInputError)])
async def test_a_policy_that_cannot_be_read_gives_no_draft_without_its_bounds(
    tmp_path: Path, beside: bytes, error: type[Exception]
) -> None:
    state, session = await _session(tmp_path, beside, "a.py")

    with pytest.raises(error):
        from_session(state, session, "n")


async def test_what_a_draft_could_only_name_with_others_is_left_out_and_told(tmp_path: Path) -> None:
    drafted, notes = await _drafted(tmp_path, UNDER, "a*", "b.py")

    [bound] = [rule for rule in drafted.commands.rules if rule.arguments]
    assert [value.text for value in bound.arguments["path"]] == ["b.py"]
    assert notes == ("left out, a call of `files read`: argument `path` is `a*`; expected one of `b.py`",)


async def test_a_draft_that_would_be_no_policy_is_told_and_not_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file has at most 64 KiB: as many long paths as that are no draft."""
    long = [f"{number}{'x' * 1900}/a.py" for number in range(40)]
    state, session = await _session(tmp_path, None, *long)
    monkeypatch.setenv("PAIRLOCK_STATE", str(state))

    result = pairlock("new", "--from", session)

    assert (result.exit_code, result.stdout) == (2, "")
    said = capsys.readouterr().err
    assert f"no policy holds what session `{session}` did: the file is larger than 64 KiB" in said
