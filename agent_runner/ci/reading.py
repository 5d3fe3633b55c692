"""Read task files and what they name: policies, workspace, model. Nothing runs or is trusted here."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from agent_runner.ci.places import Places
from agent_runner.ci.sense import Sense
from agent_runner.ci.task import TaskFile
from agent_runner.commands import declarations_meant, member_of
from agent_runner.errors import InvalidInputError
from agent_runner.models import SCRIPTED
from agent_runner.owned_file import read_owned_file
from agent_runner.policy_file import SUFFIXES, ReadClosure, load_policy, read_closure, resolved
from policies.document import read_document
from policies.errors import PolicyFileError, Problem
from policies.faults import problems_of
from policies.library import library_names, library_policy
from policies.source import SourceText
from policies.trust import closure_of
from policies.wording import listed, nearest, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from policies.policy import Policy
    from policies.trust import Member

MOST_TASKS: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task, and what it names, as read together once."""

    file: TaskFile
    places: Places
    """Where its keys stand."""
    origin: str
    """The file as it was named."""
    policy: Policy
    check_policy: Policy | None
    """What command checks run under; None where there are none."""
    workspace: Path | None
    """The folder that it names; not looked at yet."""
    model: str | None
    """As `choose_backend` takes it."""
    closure: ReadClosure
    """Everything that its meaning rests on: what is trusted is what runs."""
    policies: tuple[tuple[str, Policy], ...]
    """What it may run under, as its matrix names them; one where there is no matrix."""
    variant: str = ""
    """Which case of its matrix it is; empty where there is none."""
    seed: int | None = None
    """The model's; None where the task names none."""
    repetition: int = 0
    """Counted from 1; 0 where it runs once."""
    model_at: tuple[str | int, ...] = ("model",)
    """The key that names its model."""

    @property
    def name(self) -> str:
        """Return what people call it: the file's name, and what makes it this case."""
        repetition = f"run-{self.repetition}" if self.repetition else ""
        return ".".join(filter(None, (self.file.name, self.variant, repetition)))


def tasks_meant(references: Sequence[str]) -> list[Path]:
    """Return the files that are meant: a folder means the task files in it.

    Raises:
        InvalidInputError: When a folder holds none, or there are too many.
    """
    meant: list[Path] = []
    for reference in references:
        place = Path(reference)
        inside = (
            sorted(each for each in place.iterdir() if each.suffix in SUFFIXES) if place.is_dir() else [place]
        )
        if not inside:
            raise InvalidInputError(
                f"folder `{reference}` holds no task", hint="`pairlock ci init` writes a first one"
            )
        meant += inside
    if len(meant) > MOST_TASKS:
        raise InvalidInputError(f"{len(meant)} tasks were named; expected at most {MOST_TASKS}")
    return meant


def read_tasks(paths: Sequence[Path]) -> list[Task]:
    """Read tasks, whose names have to differ.

    Raises:
        InvalidInputError: When a file cannot be used, or two tasks have one name.
        RefusedError: When what a task asks for together makes three, or its policies do not allow it.
        policies.errors.PolicyError: When a task file, or a policy that it names, is not valid.
    """
    tasks: dict[str, Task] = {}
    for path in paths:
        task = read_task(path)
        if (other := tasks.setdefault(task.name, task)) is not task:
            raise InvalidInputError(
                f"`{other.origin}` and `{task.origin}` are both called `{task.name}`", hint="rename one"
            )
    return list(tasks.values())


def read_task(path: Path) -> Task:
    """Read one task and the policies that it names; see `read_tasks` for what is raised."""
    text = read_owned_file(path, what="task")
    file, places = _parsed(text, origin=str(path))
    folder = resolved(path).parent
    policies = {name: _closure(name, folder, places, *at) for name, at in _policies(file, places)}
    own = policies[file.policy]
    checking = (
        _closure(file.checks.policy, folder, places, "checks", "policy") if file.checks.policy else None
    )
    for each in policies.values():
        Sense(file=file, places=places, policy=each.policy, checking=(checking or each).policy).require()
    source = SourceText(str(resolved(path)), text)
    return Task(
        file=file,
        places=places,
        origin=str(path),
        policy=own.policy,
        check_policy=(checking or own).policy if file.checks.commands else None,
        workspace=folder / file.workspace if file.workspace else None,
        model=model_meant(file.model, folder),
        closure=_together(source, own, [*policies.values(), *([checking] if checking else [])]),
        policies=tuple((name, each.policy) for name, each in policies.items()),
    )


def _together(source: SourceText, own: ReadClosure, named: Sequence[ReadClosure]) -> ReadClosure:
    """Return what a task's meaning rests on: its own text, and everything that its policies rest on."""
    others: set[Member] = {member_of(source), *(one for each in named for one in each.members.members)}
    return ReadClosure(
        policy=own.policy,
        origin=source.origin,
        members=closure_of(own.policy, others=others),
        texts=tuple(dict.fromkeys((source, *(one for each in named for one in each.texts)))),
    )


def _policies(file: TaskFile, places: Places) -> Iterator[tuple[str, tuple[str | int, ...]]]:
    """Yield the policies that are named, each with its key; its own, and its model, are of its matrix."""
    for key, own, named in (
        ("policy", file.policy, file.matrix.policies),
        ("model", file.model, file.matrix.models),
    ):
        if own is not None and named and own not in named:
            raise InvalidInputError(
                f"{places.at(key)}: `{key}` {quoted(own)} is none of its matrix, so it would be ignored",
                hint="add it to the matrix, or name one of those",
            )
    if not file.matrix.policies:
        yield file.policy, ("policy",)
    for place, name in enumerate(file.matrix.policies):
        yield name, ("matrix", "policies", place)


def parse_task(text: str, *, origin: str) -> TaskFile:
    """Make a task from its text.

    Raises:
        PolicyFileError: With every problem of the file, each with its line and column.
    """
    return _parsed(text, origin=origin)[0]


def _parsed(text: str, *, origin: str) -> tuple[TaskFile, Places]:
    document = read_document(text, origin=origin)
    if not isinstance(document.value, dict):
        what = "the file holds no block; expected `version: 1` and more"
        raise PolicyFileError([Problem(document.at(()), what, "`pairlock ci init` writes a first one")])
    try:
        return TaskFile.model_validate(document.value), Places(document)
    except ValidationError as error:
        raise PolicyFileError(problems_of(error, document, TaskFile)) from None


def _closure(reference: str, folder: Path, places: Places, *at: str | int) -> ReadClosure:
    known = library_policy(reference)
    if known is None:
        with places.told_at(*at):
            _require_there(reference, folder)
            return read_closure(folder / reference)
    policy = load_policy(reference).policy
    declared = declarations_meant(policy)
    members = closure_of(policy, others=[member_of(source) for source in declared])
    return ReadClosure(policy, known.origin, members, (known, *declared))


def _require_there(reference: str, folder: Path) -> None:
    """Refuse what is neither a file nor a name of the library, which a misspelt one looks like."""
    if os.path.lexists(folder / reference):
        return
    if "/" in reference or Path(reference).suffix in SUFFIXES:
        raise InvalidInputError(
            f"policy {quoted(str(folder / reference))} does not exist",
            hint="a policy is named relative to the task file",
        )
    near = nearest(reference, library_names())
    raise InvalidInputError(
        f"no policy {quoted(reference)} in the library, nor as a file beside the task's",
        hint=f"did you mean `{near}`?" if near else f"the library has {listed(library_names())}",
    )


def model_meant(model: str | None, folder: Path) -> str | None:
    """Return a model as `choose_backend` takes it; a script lies relative to the task's folder."""
    if model is not None and model.startswith(SCRIPTED):
        return f"{SCRIPTED}{folder / model.removeprefix(SCRIPTED)}"
    return model
