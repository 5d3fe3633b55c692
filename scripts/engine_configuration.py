#!/usr/bin/env python3
"""Print an engine's configuration: the one of the machine, and gVisor's runtime where it is installed."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def configuration(present: str, runsc: str) -> dict[str, object]:
    """Return the present configuration, with the runtime `runsc` added unless it has one.

    Args:
        present: Text of the present configuration; empty for none.
        runsc: Path of gVisor's program; empty where it is not installed.
    """
    merged: dict[str, object] = json.loads(present) if present.strip() else {}
    runtimes = merged.get("runtimes", {})
    if runsc and isinstance(runtimes, dict) and "runsc" not in runtimes:
        # A session's container has no network, and runsc fails to set one up on recent kernels.
        runsc_runtime = {"path": runsc, "runtimeArgs": ["--network=none"]}
        merged["runtimes"] = runtimes | {"runsc": runsc_runtime}
    return merged


if __name__ == "__main__":
    file, program = Path(sys.argv[1]), sys.argv[2]
    try:
        text = file.read_text() if file.exists() else ""
        sys.stdout.write(json.dumps(configuration(text, program), indent=2) + "\n")
    except (OSError, ValueError) as error:
        sys.exit(f"pairlock: {file} cannot be used: {error}")
