"""Run a session again from its own ledger, under the event loop of a program that has one.

    python examples/api/replay_a_session.py

The first session looks at a copy of the package of `examples/fix-tests` with a script in the model's place.
The second gives the first one's replies to the same conversation, and would end at the first message that
differs. A Docker engine has to run.
"""

# ruff: noqa: INP001 - an example is a script, not part of a package
from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

from agent_runner import SessionResult, arun_session, session_request

EXAMPLE = Path(__file__).resolve().parents[1] / "fix-tests"


async def run(model: str, place: Path) -> SessionResult:
    """Run one session on a fresh copy."""
    workspace = place / "package"
    shutil.rmtree(workspace, ignore_errors=True)
    shutil.copytree(EXAMPLE / "package", workspace)
    request = session_request(
        "make the tests pass", policy="read-only-review", workspace=workspace, model=model
    )
    return await arun_session(request)


async def both() -> int:
    """Run it, and run it again."""
    place = Path(tempfile.mkdtemp(prefix="pairlock-example-"))
    script = place / "script.yaml"
    script.write_text(
        "version: 1\nturns:\n  - actions: [files list, files read pyproject.toml]\n"
        '  - actions: ["finish --status done"]\n'
    )
    first = await run(f"scripted:{script}", place)
    second = await run(f"replay:{first.ledger.parent}", place)
    sys.stdout.write(f"{first.session}: {first.status}\n{second.session}: {second.status}, as recorded\n")
    return second.exit_code


if __name__ == "__main__":
    sys.exit(asyncio.run(both()))
