"""Read variables that a program is to have beside its own; those that choose other code are refused."""

from __future__ import annotations

import re
from typing import Final

from cli_tools.errors import UsageError

MOST: Final = 32
LONGEST_VALUE: Final = 4096
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_REFUSED: Final = re.compile(
    r"LD_.*|GLIBC_TUNABLES|MALLOC_.*|GCONV_PATH|LOCPATH|NLSPATH|RES_OPTIONS|HOSTALIASES|RESOLV_.*"  # ld.so(8)
    r"|PATH|IFS|ENV|BASH_ENV|BASH_FUNC_.*|SHELLOPTS|BASHOPTS|PS4|PROMPT_COMMAND"  # bash(1)
    r"|(?i:(https?|ftp|all|no|rsync)_proxy)"  # the way out is set by the sandbox
)
"""What the loader, the C library or a shell obey before the program itself: `exec.programs` would name
one program and another would run. docs/commands.md says that it steers, and does not bind."""


def variables(given: tuple[str, ...]) -> dict[str, str]:
    """Return the variables that `--env NAME=VALUE` names.

    Raises:
        UsageError: When one is none, is refused, or stands twice.
    """
    if len(given) > MOST:
        raise UsageError("usage", f"{len(given)} variables, at most {MOST} are set")
    found: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not _NAME.fullmatch(name):
            raise UsageError("usage", f"`--env {text[:60]}` is no variable", hint="as in `--env CI=1`")
        if name in found:
            raise UsageError("usage", f"variable `{name}` stands twice")
        if _REFUSED.fullmatch(name):
            why = f"variable `{name}` would choose other code or another way out than the session's"
            raise UsageError("usage", why, hint="leave it out")
        if len(value) > LONGEST_VALUE:
            raise UsageError("usage", f"variable `{name}` is longer than {LONGEST_VALUE} characters")
        found[name] = value
    return found
