"""Give a process that was started without stdin, stdout or stderr something in their place, or loses stdout.

Else the next file that is opened gets the free number, and what was meant for a terminal is written into it:
into a ledger, for example.
"""

from __future__ import annotations

import io
import os
import sys


def fill_standard() -> None:
    """Open the null device for each of descriptors 0, 1 and 2 that is closed."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number: this one, as those below are taken
    # Python leaves the name empty, and `print` to None is `print` to stdout.
    sys.stdin = sys.stdin or os.fdopen(0, "r", encoding="utf-8", closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8", closefd=False)


def spell_unwritable() -> None:
    r"""Write what stdout's encoding has no bytes for as `\u6f22`, as is done on stderr: it ends nothing."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def of_stdout(error: OSError) -> OSError:
    """Return an error that names no file with stdout as its file, where stdout cannot be written."""
    if error.filename is not None:
        return error
    try:
        sys.stdout.flush()
    except OSError as own:
        return type(own)(own.errno, own.strerror, "stdout")
    return error


def drop_stdout() -> None:
    """Let what is still to be printed go nowhere: Python would complain at exit, with a code of its own."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
