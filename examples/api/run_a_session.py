"""Run one session from Python: a policy of the library, a script in the model's place, a copy to work on.

    python examples/api/run_a_session.py

It mends the package of `examples/fix-tests` in a sandbox and prints what came of it; the changes wait for a
review (`pairlock diff last`). A Docker engine has to run.
"""

# ruff: noqa: INP001 - an example is a script, not part of a package
from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from agent_runner import run_session, session_request

EXAMPLE = Path(__file__).resolve().parents[1] / "fix-tests"


def main() -> int:
    """Run the session and return its exit code."""
    workspace = Path(tempfile.mkdtemp(prefix="pairlock-example-")) / "package"
    shutil.copytree(EXAMPLE / "package", workspace)
    request = session_request(
        "make the tests pass",
        policy="fix-tests",
        workspace=workspace,
        model=f"scripted:{EXAMPLE / 'script.yaml'}",
    )
    result = run_session(request)
    sys.stdout.write(
        f"{result.session}: {result.status}, {result.totals.turns} turns, {result.totals.denials} denied\n"
    )
    sys.stdout.write(f"the ledger is {result.ledger}\n")
    return result.exit_code


if __name__ == "__main__":
    sys.exit(main())
