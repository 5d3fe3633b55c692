"""Choose a first policy for a folder by what lies in it, and write it there: what `pairlock init` does."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent_runner.backends.configuration import read_configuration
from agent_runner.errors import InvalidInputError, RefusedError
from agent_runner.models import configuration_path
from agent_runner.policy_file import load_policy, read_closure
from agent_runner.trust import trust
from audit.escape import escape_line
from audit.state import prepare
from policies.library import library_names, library_policy

if TYPE_CHECKING:
    from pathlib import Path

FILE: Final = "pairlock.yaml"
_CODE: Final = (
    "pyproject.toml", "setup.py", "requirements.txt", "package.json", "go.mod", "Cargo.toml", "Makefile",
)  # fmt: skip
_DATA: Final = (".csv", ".parquet", ".tsv", ".xlsx", ".ipynb")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be written."""

    folder: Path
    policy: str
    """A name of the library."""
    grant: str
    """Its grant's label."""
    why: str
    """What in the folder speaks for it, in one line."""

    @property
    def text(self) -> str:
        """Return the file's text."""
        return (
            "# What an agent may do in this folder; `pairlock policy explain pairlock.yaml` says it.\n"
            "# Narrow it as you like: docs/policy-reference.md has every key. Trust it again afterwards.\n"
            "version: 1\n"
            "name: project\n"
            f"extends: {self.policy}\n"
        )


def plan_for(folder: Path, policy: str | None) -> Plan:
    """Return what fits a folder.

    Args:
        folder: Which.
        policy: A name of the library; None to choose by what lies in the folder.

    Raises:
        InvalidInputError: When there is no such folder or policy.
    """
    try:
        names = sorted(entry.name for entry in folder.iterdir())
    except OSError as error:
        shown = escape_line(str(folder), width=80)
        raise InvalidInputError(f"`{shown}` is no folder that can be read", hint="name one") from error
    chosen, why = (policy, "as you chose") if policy is not None else _chosen(names)
    if library_policy(chosen) is None:
        raise InvalidInputError(
            f"no policy `{escape_line(chosen, width=80)}` in the library",
            hint=f"one of: {', '.join(library_names())}",
        )
    return Plan(folder=folder.resolve(), policy=chosen, grant=_grant(chosen), why=why)


def _chosen(names: list[str]) -> tuple[str, str]:
    if found := next((name for name in names if name in _CODE), None):
        return "fix-tests", f"`{found}` is there: an agent may read, change a copy, and run tests"
    if found := next((name for name in names if name.endswith(_DATA)), None):
        return (
            "data-analysis",
            f"`{escape_line(found, width=40)}` is there: an agent may read data and compute",
        )
    return "read-only-review", "nothing speaks for more: an agent may read"


def _grant(name: str) -> str:
    source = library_policy(name)
    return load_policy(name).policy.grant.label if source is not None else ""


def start_policy(plan: Plan, state: Path) -> Path:
    """Write the file and trust it, because the person who asked for it is who may.

    Raises:
        InvalidInputError: When there is one already, or it cannot be written.
        RefusedError: When what lies there was changed since it was written; nothing is trusted then.
    """
    path = plan.folder / FILE
    prepare(state)  # first: a file that could not be trusted would stand in the way of the next try
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    except FileExistsError as error:
        raise InvalidInputError(
            f"`{path}` is there already", hint="`pairlock policy explain` says what it means; edit it"
        ) from error
    except OSError as error:
        raise InvalidInputError(f"`{path}` cannot be written: {(error.strerror or '').lower()}") from error
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(plan.text)
    closure = read_closure(path)
    # INVARIANT: what is trusted is what was written. Whoever else writes in the folder chooses nothing.
    if closure.texts[0].text != plan.text:
        raise RefusedError(
            f"`{path}` was changed while it was written, and is not trusted",
            hint="`pairlock policy trust pairlock.yaml` shows what it says",
        )
    trust(state, closure)
    return path


def is_model_configured() -> bool:
    """Tell whether `pairlock run` finds a model when none is named."""
    return "default" in read_configuration(configuration_path()).models
