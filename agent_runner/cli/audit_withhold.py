"""Delete on purpose, and say so: `pairlock audit redact|prune`."""

from __future__ import annotations

from typing import Annotated

import typer

from agent_runner.cli.audit_session import AsJson, Session, whole_id


def redact(
    session: Session,
    commitment: Annotated[str, typer.Argument(metavar="DIGEST", help="A commitment, or its first 8 digits.")],
    why: Annotated[str, typer.Option(help="For what reason; it is recorded.")],
    as_json: AsJson = False,
) -> None:
    """Delete the value behind a commitment; the entry still proves that there was one."""
    import json

    from agent_runner.package import pairlock_version
    from agent_runner.person import who
    from agent_runner.state import state_folder
    from audit import withhold
    from audit.host import HostLog

    name = whole_id(session)
    with HostLog(state_folder(), writer=pairlock_version()) as log:
        digest = withhold.redact(log, name, commitment, by=who(), why=why)
    typer.echo(json.dumps({"session": name, "withheld": digest}) if as_json else f"withheld {digest}")


def prune(
    session: Session,
    why: Annotated[str, typer.Option(help="For what reason; it is recorded.")],
    keep: Annotated[int, typer.Option(min=0, help="How many of the newest files to keep.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Delete a session's oldest entries as whole sealed files; the proof of the rest stays."""
    import json

    from agent_runner.package import pairlock_version
    from agent_runner.state import state_folder
    from audit import withhold
    from audit.host import HostLog

    name = whole_id(session)
    with HostLog(state_folder(), writer=pairlock_version()) as log:
        gone = withhold.prune(log, name, why=why, keep_segments=keep)
    words = "1 entry is gone" if gone == 1 else f"{gone} entries are gone"
    typer.echo(json.dumps({"session": name, "pruned": gone}) if as_json else words)
