#!/usr/bin/env python3
"""Print, in one line, the tests that pytest remembers as failed: failed_tests.py CACHE_FOLDER."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def line(folder: Path) -> str:
    """Return how many tests failed and their names, with line ends and control characters escaped.

    Args:
        folder: pytest's cache folder.
    """
    file = folder / "v" / "cache" / "lastfailed"
    names = list(json.loads(file.read_text("utf-8"))) if file.exists() else []
    shown = "; ".join(name if name.isprintable() else ascii(name) for name in names)
    return f"failed beside others ({len(names)}): {shown or 'pytest remembers no name'}"


if __name__ == "__main__":
    sys.stderr.write(line(Path(sys.argv[1])) + "\n")
