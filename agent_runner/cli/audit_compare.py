"""Compare what was decided: two sessions, or one session under two policies: `pairlock audit diff|replay`."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from agent_runner.cli.audit_session import AsJson, Session, whole_id
from agent_runner.cli.exits import Exit
from agent_runner.cli.folding import tell
from agent_runner.cli.talk import say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent_runner.replaying import Replayed, Ruling
    from audit.compare import Action, Difference


def diff(
    first: Annotated[str, typer.Argument(metavar="A", help="A session's id, its beginning, or `last`.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another.")],
    as_json: AsJson = False,
) -> None:
    """Show what two sessions did and decided differently, action by action; exit 1 when anything."""
    import json

    from agent_runner.state import state_folder
    from audit.compare import compare
    from audit.reader import SessionReader

    state = state_folder()
    readers = [SessionReader(state, whole_id(given)) for given in (first, second)]
    different = 0
    with _broken_told(as_json):
        for found in compare(*readers):
            different += 1
            _told(json.dumps(_difference_json(found)) if as_json else "", _difference_lines(found))
    if different:
        raise typer.Exit(Exit.FAILED)
    say("the two did and decided the same")


@contextmanager
def _broken_told(as_json: bool) -> Iterator[None]:  # noqa: FBT001 - the option, as it was given
    """End a program's rows with why there are no more of them, where a ledger does not hold."""
    import json

    from audit.errors import BadEventError, BrokenLedgerError

    try:
        yield
    except (BadEventError, BrokenLedgerError) as error:
        if as_json:
            typer.echo(json.dumps({"broken": str(error)}))
        raise


def _told(as_json: str, lines: list[str]) -> None:
    """Print a finding: one object for programs, or its lines for a person."""
    if as_json:
        typer.echo(as_json)
        return
    for line in lines:
        tell(line, indent=11)


def _difference_lines(found: Difference) -> list[str]:
    sides = [("-", found.first), ("+", found.second)]
    return [f"{sign} {_action_line(action)}" for sign, action in sides if action is not None]


def _action_line(action: Action) -> str:
    from audit.escape import escape_line
    from audit.summary import spelled_argv

    why = f" ({', '.join(action.codes)})" if action.codes else ""
    return escape_line(f"{action.seq:>5}  {action.verdict}{why}  {spelled_argv(action.argv)}")


def _difference_json(found: Difference) -> dict[str, object]:
    def side(action: Action | None) -> dict[str, object] | None:
        if action is None:
            return None
        return {
            "seq": action.seq,
            "argv": list(action.argv),
            "verdict": action.verdict,
            "codes": list(action.codes),
        }

    return {"first": side(found.first), "second": side(found.second)}


def replay(
    session: Session,
    policy: Annotated[str, typer.Option("--policy", "-p", help="A file, or a name of the library.")],
    as_json: AsJson = False,
) -> None:
    """Show what another policy would have decided about a session; exit 1 when it parts from what was."""
    import json

    from agent_runner.policy_file import load_policy
    from agent_runner.replaying import replayed
    from agent_runner.state import state_folder

    loaded = load_policy(policy)
    decisions, different, first = 0, 0, None
    with _broken_told(as_json):
        for found in replayed(state_folder(), whole_id(session), loaded.policy):
            decisions += 1
            different += found.parts
            if found.parts and first is None:
                first = found.seq
                if not as_json:
                    typer.echo("--- here the two part; what follows is what the agent did all the same")
            _told(json.dumps(_replayed_json(found)) if as_json else "", _replayed_lines(found))
    if first is None:
        say(f"{decisions} decisions, every one as it was")
        return
    say(f"{decisions} decisions, {different} otherwise, the first at entry {first}")
    raise typer.Exit(Exit.FAILED)


def _replayed_lines(found: Replayed) -> list[str]:
    from audit.escape import escape_line
    from audit.summary import spelled_argv

    was, now = found.recorded.verdict, found.now.verdict
    verdict = f"{was} -> {now}" if found.parts else was
    lines = [f"{'*' if found.parts else ' '}{found.seq:>5}  {verdict}  {spelled_argv(found.argv)}"]
    if found.parts:
        lines += [f"         was: {reason}" for reason in found.recorded.reasons]
        lines += [f"         now: {reason}" for reason in found.now.reasons]
    if found.without_content and found.parts:
        lines.append("         its content could not be had; a rule about it saw none")
    return [escape_line(line) for line in lines]


def _replayed_json(found: Replayed) -> dict[str, object]:
    def ruling(one: Ruling) -> dict[str, object]:
        return {"verdict": one.verdict, "codes": list(one.codes), "reasons": list(one.reasons)}

    return {
        "seq": found.seq,
        "action": found.action,
        "argv": list(found.argv),
        "parts": found.parts,
        "without_content": found.without_content,
        "recorded": ruling(found.recorded),
        "now": ruling(found.now),
    }
