"""Write a first task file, which runs as it stands once its prompt says something."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from agent_runner.ci.reading import Task, read_task
from agent_runner.errors import InvalidInputError

if TYPE_CHECKING:
    from pathlib import Path

POLICY: Final = "fix-tests"
_TEXT: Final = """\
version: 1
name: {name}
description: Make the tests pass, and change nothing else.
policy: {policy}              # a name of the library, or a file beside this one
workspace: {workspace}                # the folder that holds this file's
prompt: |
  The tests fail. Find out why, mend the code, and run them again.
  Do not change a test.
tags: [tests]
checks:                        # looked at afterwards, out of the agent's reach
  commands:                    # each in a fresh sandbox, on what the agent left
    - run: [pytest, -q]
      timeout: 10m
  unchanged: ["tests/**"]      # conftest.py and the like are held to it by themselves
  changes: {{files: 20, patch: 64KiB}}
  max_denials: 20
  no_egress: true
"""


def write_first(target: Path) -> Task:
    """Write a first task file and return it as read; nothing that is there is replaced.

    Args:
        target: The file; the folder around its own is the workspace.

    Raises:
        InvalidInputError: When there is something in its place, or its folder cannot be made.
    """
    name = "".join(each if each.isascii() and each.isalnum() else "-" for each in target.stem.lower())
    text = _TEXT.format(name=name.strip("-")[:64] or "task", policy=POLICY, workspace='".."')
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(
            target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644
        )
    except FileExistsError as error:
        raise InvalidInputError(f"`{target}` is there already", hint="name another file") from error
    except OSError as error:
        raise InvalidInputError(f"`{target}` cannot be written: {str(error.strerror).lower()}") from error
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    return read_task(target)
