"""Read task files and what they name: policies, workspace, model. Nothing runs or is trusted here."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from pydantic import ValidationError

from agent_runner.ceiling import read_ceiling
from agent_runner.ci.task import TaskFile
from agent_runner.commands import declarations_meant, known_commands, member_of
from agent_runner.errors import InvalidInputError, RefusedError
from agent_runner.models import SCRIPTED
from agent_runner.owned_file import read_owned_file
from agent_runner.policy_file import SUFFIXES, ReadClosure, load_policy, read_closure, resolved
from cli_tools.vocabulary import vocabulary
from policies.action_line import request_from_line
from policies.capability import Capability
from policies.decide import decide
from policies.document import read_document
from policies.errors import PolicyFileError, Problem
from policies.faults import problems_of
from policies.grant import Grant
from policies.library import library_policy
from policies.lineage import Contribution, Label, decide_lineage
from policies.request import Allowed, Denied, SessionFacts
from policies.source import SourceText
from policies.trust import closure_of
from policies.wording import quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent_runner.ci.task import CommandCheck
    from policies.policy import Policy
    from policies.trust import Member

MOST_TASKS: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task, and what it names, as read together once."""

    file: TaskFile
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
        RefusedError: When what a task asks for together makes three.
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
    file = parse_task(text, origin=str(path))
    folder = resolved(path).parent
    policies = {name: _closure(name, folder) for name in _policies(str(path), file)}
    own = policies[file.policy]
    checking = _closure(file.checks.policy, folder) if file.checks.policy else None
    for each in policies.values():
        _require_sense(str(path), file, each.policy, (checking or each).policy)
    source = SourceText(str(resolved(path)), text)
    named = [*policies.values(), *([checking] if checking else [])]
    others: set[Member] = {member_of(source), *(one for each in named for one in each.members.members)}
    closure = ReadClosure(
        policy=own.policy,
        origin=source.origin,
        members=closure_of(own.policy, others=others),
        texts=tuple(dict.fromkeys((source, *(one for each in named for one in each.texts)))),
    )
    return Task(
        file=file,
        origin=str(path),
        policy=own.policy,
        check_policy=(checking or own).policy if file.checks.commands else None,
        workspace=folder / file.workspace if file.workspace else None,
        model=model_meant(file.model, folder),
        closure=closure,
        policies=tuple((name, each.policy) for name, each in policies.items()),
    )


def _policies(origin: str, file: TaskFile) -> tuple[str, ...]:
    """Return the policies that are named, the task's own among them; its model is held to the same."""
    for key, own, named in (
        ("policy", file.policy, file.matrix.policies),
        ("model", file.model, file.matrix.models),
    ):
        if own is not None and named and own not in named:
            raise InvalidInputError(
                f"task `{origin}`: `{key}` {quoted(own)} is none of its matrix, so it would be ignored",
                hint="add it to the matrix, or name one of those",
            )
    return file.matrix.policies or (file.policy,)


def parse_task(text: str, *, origin: str) -> TaskFile:
    """Make a task from its text.

    Raises:
        PolicyFileError: With every problem of the file, each with its line and column.
    """
    document = read_document(text, origin=origin)
    if not isinstance(document.value, dict):
        what = "the file holds no block; expected `version: 1` and more"
        raise PolicyFileError([Problem(document.at(()), what, "`pairlock ci init` writes a first one")])
    try:
        return TaskFile.model_validate(document.value)
    except ValidationError as error:
        raise PolicyFileError(problems_of(error, document, TaskFile)) from None


def _closure(reference: str, folder: Path) -> ReadClosure:
    known = library_policy(reference)
    if known is None:
        return read_closure(folder / reference)
    policy = load_policy(reference).policy
    declared = declarations_meant(policy)
    members = closure_of(policy, others=[member_of(source) for source in declared])
    return ReadClosure(policy, known.origin, members, (known, *declared))


def model_meant(model: str | None, folder: Path) -> str | None:
    """Return a model as `choose_backend` takes it; a script lies relative to the task's folder."""
    if model is not None and model.startswith(SCRIPTED):
        return f"{SCRIPTED}{folder / model.removeprefix(SCRIPTED)}"
    return model


def _require_sense(origin: str, file: TaskFile, policy: Policy, checking: Policy) -> None:
    """Refuse what could only mislead: a workspace that nobody sees, a check that cannot be made."""
    named = f"task `{origin}`"
    checks, grant = file.checks, policy.grant
    _require_workspace(named, file, policy)
    if checks.policy and not checks.commands:
        raise InvalidInputError(f"{named}: `checks.policy` would be ignored: there are no `checks.commands`")
    if policy.files is not None and policy.files.access == "direct":
        raise InvalidInputError(
            f"{named}: its policy has `access: direct`, so there would be nothing to check and to review",
            hint="`access: stage`",
        )
    staged = policy.files is not None and policy.files.access == "stage"
    if not staged and (checks.commands or checks.unchanged or checks.changes):
        raise InvalidInputError(
            f"{named}: it checks changes, and its policy stages none", hint="`files: {access: stage}`"
        )
    if (checks.files or file.outputs) and not staged and policy.outputs is None:
        raise InvalidInputError(
            f"{named}: it asks for files, and its policy keeps none", hint="`outputs: NAME` in the policy"
        )
    if checks.commands:
        _require_lawful(named, grant, checking.grant)
        for command in checks.commands:
            _require_allowed(named, command, checking)


def _require_workspace(named: str, file: TaskFile, policy: Policy) -> None:
    """Refuse a workspace that nobody sees, none where one has to be, and one that may not be fetched."""
    keys = {"workspace": file.workspace, "checkout": file.checkout, "inputs": file.inputs}
    given = [key for key, value in keys.items() if value]
    if not policy.grant.holds(Capability.FILES):
        if given:
            raise InvalidInputError(f"{named}: `{given[0]}` would be ignored: its policy holds no `files`")
        return
    if len(given) != 1:
        what = " and ".join(f"`{key}`" for key in given) if given else "no `workspace`"
        raise InvalidInputError(
            f"{named}: its policy holds `files`, and it names {what}",
            hint="one of `workspace`, `checkout` and `inputs`",
        )
    names = [PurePosixPath(path).name for path in file.inputs]
    if twice := next((name for name in names if names.count(name) > 1 or name in {"", ".."}), None):
        raise InvalidInputError(f"{named}: two `inputs` are called {quoted(twice)}, or it is no file's name")
    if file.checkout is not None:
        host = urlsplit(file.checkout.git).hostname or ""
        rules = policy.network.allow if policy.network is not None else ()
        if not any(rule.host.matches(host) for rule in rules):
            raise RefusedError(
                f"{named}: its policy does not let `{host}` be reached, from which it would fetch",
                hint="clone it beforehand, and name the folder with `workspace`; or allow the host",
            )


def _require_lawful(named: str, grant: Grant, checking: Grant) -> None:
    """Refuse command checks that would run what a session with `network` wrote, or that cannot run."""
    decision = decide_lineage(checking, Label((Contribution("the task", grant.capabilities),)))
    if isinstance(decision, Denied):
        raise RefusedError(
            f"{named}: command checks with `{checking.label}` after `{grant.label}` make three",
            hint="check with `files`, `unchanged`, `changes`, `max_denials` and `no_egress`",
        )
    if checking is not Grant.FILES_EXEC:
        raise InvalidInputError(
            f"{named}: `checks.commands` need `files` and `exec`; their policy grants `{checking.label}`",
            hint="name another with `checks.policy`",
        )


def _require_allowed(named: str, command: CommandCheck, checking: Policy) -> None:
    """Refuse a command that the policy of the checks would deny: it could never pass."""
    facts = SessionFacts(grant=checking.grant, ceiling=read_ceiling(), headless=True)
    words = line_of_check(command)
    decision = decide(checking, facts, request_from_line(words, vocabulary(known_commands())))
    if isinstance(decision, Allowed):
        return
    why = f": {decision.reasons[0].message}" if isinstance(decision, Denied) else ": it asks a person"
    raise RefusedError(f"{named}: the check {quoted(words)} is not allowed by `{checking.name}`{why}")


def line_of_check(command: CommandCheck) -> str:
    """Return a command check as an agent would write it."""
    return shlex.join(("run", "--timeout", str(int(command.timeout)), *command.run))
