"""The model of a task file: what an agent is to do, under which policy, and what is checked afterwards.

Closed and strict, as a policy is. What a task file names is read in `reading`; nothing here touches a file.
"""

from __future__ import annotations

import re
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from policies.block import Block
from policies.errors import BadValueError
from policies.leaves import (
    CountField,
    DurationField,
    GlobField,
    NameField,
    SizeField,
    VersionField,
    is_program,
)
from policies.units import Bytes, Count, Seconds
from policies.wording import quoted

MINUTE: Final = 60
LONGEST_CHECK: Final = 3600
"""Seconds; the longest that one command of an agent's may take, too."""
MOST_CHECKS: Final = 50
MOST_INPUTS: Final = 100
MOST_WORDS: Final = 200
MOST_VALUES: Final = 20
MOST_RETRIES: Final = 5
LARGEST_SEED: Final = 2**31 - 1
"""What every server takes that takes a seed at all."""
LONGEST_PROMPT: Final = 32_000
"""Characters."""


def _plain_path(text: str) -> str:
    parts = text.split("/")
    if not text.isprintable() or any(part in {"", ".", ".."} for part in parts):
        raise BadValueError(
            f"{quoted(text)} is no path of a workspace",
            hint="relative, without `.` and `..`, as in `src/app.py`",
        )
    return text


def _words(words: tuple[str, ...]) -> tuple[str, ...]:
    if not words:
        raise BadValueError("the command is empty", hint="a program and its arguments, as in `[pytest, -q]`")
    if len(words) > MOST_WORDS:
        raise BadValueError(f"the command has {len(words)} words; expected at most {MOST_WORDS}")
    if not is_program(words[0]) or words[0].startswith("-"):
        raise BadValueError(f"{quoted(words[0])} is no program", hint="as in `[pytest, -q]`")
    if any("\0" in word for word in words):
        raise BadValueError("the command holds a NUL")
    return tuple(map(str, words))


def _check_time(seconds: Seconds) -> Seconds:
    if not 1 <= seconds <= LONGEST_CHECK:
        raise BadValueError(f"a check may take 1s to 1h, not `{seconds.text}`")
    return seconds


def _something(text: str) -> str:
    if not text.strip():
        raise BadValueError("the text is empty", hint="say what the agent is to do")
    return text


def _named(text: str) -> str:
    if "\0" in text:
        raise BadValueError(f"{quoted(text)} is no file's name: it holds a NUL")
    return text


NamedField = Annotated[str, AfterValidator(_named)]
"""What names a file, or something by its name."""


class CommandCheck(Block):
    """A command that has to end with 0, in a fresh sandbox, on what the agent left."""

    run: Annotated[tuple[str, ...], AfterValidator(_words)] = Field(
        description="a program of the check policy's image, and its arguments; no shell is involved"
    )
    timeout: Annotated[DurationField, AfterValidator(_check_time)] = Field(
        default=Seconds(10 * MINUTE), description="how long it may take, 1s to 1h; longer is a failure"
    )


class FileCheck(Block):
    """A file that has to be there."""

    path: Annotated[str, AfterValidator(_plain_path)] = Field(
        description="relative to the workspace, or to the kept outputs of a task without `files`"
    )
    contains: str | None = Field(
        default=None, description="a text that has to be in it, as it stands", min_length=1, max_length=4000
    )


class ChangeLimits(Block):
    """How much an agent may have changed."""

    files: CountField = Field(
        default=Count(10**9), description="changed files, links and folders; 0 is none at all"
    )
    patch: SizeField = Field(default=Bytes(2**40), description="the patch of them; `0B` is none at all")


class Checks(Block):
    """What is looked at after the agent has ended, out of its reach. A task passes if every check does."""

    policy: NamedField | None = Field(
        default=None,
        description="under which `commands` run: files + exec; absent is the task's own policy",
        max_length=1000,
    )
    commands: tuple[CommandCheck, ...] = Field(
        default=(), description="each in a sandbox of its own", max_length=MOST_CHECKS
    )
    files: tuple[FileCheck, ...] = Field(
        default=(), description="files that have to be there", max_length=MOST_CHECKS
    )
    unchanged: tuple[GlobField, ...] = Field(
        default=(), description="what the agent must not have changed, made or removed"
    )
    may_steer: tuple[GlobField, ...] = Field(
        default=(),
        description="files that decide what `commands` do, as `conftest.py` and `Makefile` do, and that the "
        "agent may change all the same",
    )
    changes: ChangeLimits | None = Field(default=None, description="how much may have changed")
    max_denials: CountField | None = Field(
        default=None, description="most actions that were denied; absent is as many as the budget allows"
    )
    no_egress: bool = Field(default=False, description="whether nothing may have crossed the egress gate")


def _seed(count: Count) -> Count:
    if count > LARGEST_SEED:
        raise BadValueError(f"a seed is at most {LARGEST_SEED}, not `{count.text}`")
    return count


def _retries(count: Count) -> Count:
    if count > MOST_RETRIES:
        raise BadValueError(f"a task is tried again at most {MOST_RETRIES} times, not `{count.text}`")
    return count


def _different(values: tuple[object, ...]) -> tuple[object, ...]:
    if len(set(values)) < len(values):
        raise BadValueError("the list names something twice")
    return values


class Matrix(Block):
    """What the task is run with, each with each: a case for every combination."""

    models: Annotated[tuple[NamedField, ...], AfterValidator(_different)] = Field(
        default=(),
        description="as `model` names them; `model` is one of them",
        max_length=MOST_VALUES,
    )
    policies: Annotated[tuple[NamedField, ...], AfterValidator(_different)] = Field(
        default=(),
        description="as `policy` names them; `policy` is one of them",
        max_length=MOST_VALUES,
    )
    seeds: Annotated[tuple[Annotated[CountField, AfterValidator(_seed)], ...], AfterValidator(_different)] = (
        Field(
            default=(),
            description="for models of the backend `openai`",
            max_length=MOST_VALUES,
        )
    )


def _git_url(text: str) -> str:
    hint = "as in `https://git.example.com/acme/parser.git`"
    try:
        parts = urlsplit(text)
        named = bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise BadValueError(f"{quoted(text)} is no address", hint=hint) from None
    plain = text.isascii() and text.isprintable() and not set(text) & set(" \\'\"`")
    whole = parts.scheme == "https" and len(parts.path) > 1 and not (parts.query or parts.fragment)
    if not (named and plain and whole) or "@" in parts.netloc:
        raise BadValueError(
            f"{quoted(text)} is no address to fetch from; expected `https`, a host and a path alone",
            hint=hint,
        )
    return text


def _commit(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", text):
        raise BadValueError(
            f"{quoted(text)} is no commit", hint="the whole hash, in small letters: a branch or tag may move"
        )
    return text


class Checkout(Block):
    """A commit that the host fetches; its files are the workspace."""

    git: Annotated[str, AfterValidator(_git_url)] = Field(
        description="the repository's address, `https` alone; a host that the policy allows", max_length=1000
    )
    commit: Annotated[str, AfterValidator(_commit)] = Field(description="the whole hash of the commit")


class TaskFile(Block):
    """A task of an agent's, as it is written."""

    version: VersionField = Field(description="the version of this format: 1")
    name: NameField = Field(description="what people call it; one of its kind in a run")
    description: str | None = Field(
        default=None, description="one sentence on what it is for", max_length=300
    )
    policy: NamedField = Field(
        description="a policy file, relative to this one, or a name of the library",
        min_length=1,
        max_length=1000,
    )
    workspace: NamedField | None = Field(
        default=None,
        description="a folder, relative to this file; exactly when the policy holds `files`",
        min_length=1,
        max_length=1000,
    )
    checkout: Checkout | None = Field(
        default=None, description="in place of `workspace`: a commit; the policy holds `network`, too"
    )
    inputs: tuple[Annotated[NamedField, AfterValidator(_something)], ...] = Field(
        default=(),
        description="in place of `workspace`: files, relative to this one, copied into a new folder",
        max_length=MOST_INPUTS,
    )
    prompt: Annotated[str, AfterValidator(_something)] = Field(
        description="what the agent is to do", max_length=LONGEST_PROMPT
    )
    model: NamedField | None = Field(
        default=None,
        description="a model of the operator's configuration, or scripted:FILE; absent is its `default`",
        min_length=1,
        max_length=1000,
    )
    outputs: tuple[Annotated[str, AfterValidator(_plain_path)], ...] = Field(
        default=(),
        description="files that the agent has to leave, copied beside its results, as in `checks.files`",
        max_length=MOST_CHECKS,
    )
    matrix: Matrix = Field(default=Matrix(), description="what it is run with, each with each")
    retries: Annotated[CountField, AfterValidator(_retries)] = Field(
        default=Count(0),
        description=f"how often it is tried again after a failure, at most {MOST_RETRIES}",
    )
    tags: tuple[NameField, ...] = Field(default=(), description="words by which `--filter` finds it")
    checks: Checks = Field(default=Checks(), description="what has to hold afterwards")
