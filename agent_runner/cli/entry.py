"""Start the process that is `pairlock`: import the command line quickly, then run it."""

from __future__ import annotations

import gc
import sys


def start() -> None:
    """Run `agent_runner.cli.main.main` in a process that was started for it.

    Nothing that is imported is ever garbage, but looking for some meanwhile takes about a quarter of the
    time of `pairlock --help`. So the collector rests until the command line stands, and never looks at it
    again.
    """
    gc.disable()
    try:
        from agent_runner.cli.main import main
    except KeyboardInterrupt:
        sys.exit(130)
    gc.freeze()
    gc.enable()
    main()
