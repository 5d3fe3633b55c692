"""Give a session to others: `pairlock audit export`."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent_runner.cli.audit_session import Session, whole_id
from agent_runner.cli.talk import say

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO


class Form(StrEnum):
    """What a session can be exported as."""

    BUNDLE = "bundle"
    CSV = "csv"
    JSON = "json"
    MARKDOWN = "markdown"
    OCSF = "ocsf"
    OTLP = "otlp"


def export(
    session: Session,
    form: Annotated[Form, typer.Option("--format", "-f", help="What to write.")] = Form.BUNDLE,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A new file; stdout when absent.", metavar="FILE")
    ] = None,
    without_bodies: Annotated[
        bool, typer.Option("--without-bodies", help="Leave out what was said and shown; it still verifies.")
    ] = False,
) -> None:
    """Write a session as a bundle that verifies with Python alone, or as what another program reads.

    `ocsf` is Open Cybersecurity Schema Framework 1.8.0 and `otlp` OpenTelemetry spans, one JSON object a
    line, as `json` is; `markdown` is for a CI job's summary and stops at 900 KiB.
    """
    from agent_runner.errors import InvalidInputError
    from agent_runner.state import state_folder
    from audit.bundle import write_bundle

    if without_bodies and form is not Form.BUNDLE:
        raise InvalidInputError(f"`--without-bodies` is for a bundle; `{form}` holds no bodies")
    name = whole_id(session)
    if form is not Form.BUNDLE:
        _write_view(name, form, output)
        return
    if output is None:
        raise InvalidInputError("a bundle needs a file", hint="`--output session.tar.gz`")
    with _fresh(output) as file:
        write_bundle(state_folder(), [name], file, bodies=not without_bodies)
    say(f"wrote {output}")
    say("to verify it: unpack it, then `python3 -I bundle/verify.py`")


def _write_view(session: str, form: Form, output: Path | None) -> None:
    from agent_runner.package import pairlock_version
    from agent_runner.state import state_folder
    from audit.export import View, viewed

    pieces = viewed(state_folder(), session, View(form.value), version=pairlock_version())
    if output is None:
        sys.stdout.buffer.writelines(pieces)
        return
    with _fresh(output) as file:
        file.writelines(pieces)
    say(f"wrote {output}")


@contextmanager
def _fresh(path: Path) -> Iterator[BinaryIO]:
    """Open a new file, this user's alone; it is taken away when it did not become whole.

    What shows a broken ledger is whole: it says so, and so does the exit code.
    """
    from agent_runner.errors import InvalidInputError
    from audit.errors import BrokenLedgerError

    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileExistsError as error:
        raise InvalidInputError(f"`{path}` exists already", hint="name a new file") from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InvalidInputError(f"`{path}`: its folder is not there", hint="make the folder first") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
    except BrokenLedgerError:
        if path.stat().st_size == 0:
            path.unlink()
        raise
    except BaseException:
        path.unlink(missing_ok=True)
        raise
