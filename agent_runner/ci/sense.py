"""Refuse a task that could only mislead: a workspace that nobody sees, a check that cannot pass."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from agent_runner.ceiling import read_ceiling
from agent_runner.commands import known_commands
from agent_runner.errors import InvalidInputError, RefusedError
from cli_tools.vocabulary import vocabulary
from policies.action_line import request_from_line
from policies.capability import Capability
from policies.decide import decide
from policies.grant import Grant
from policies.lineage import Contribution, Label, decide_lineage
from policies.request import Allowed, Denied, SessionFacts
from policies.wording import quoted

if TYPE_CHECKING:
    from agent_runner.ci.places import Places
    from agent_runner.ci.task import CommandCheck, TaskFile
    from policies.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Sense:
    """A task as it is written, held to one of the policies that it names."""

    file: TaskFile
    places: Places
    policy: Policy
    checking: Policy
    """What its command checks run under."""

    def require(self) -> None:
        """Refuse what could only mislead, each with its place.

        Raises:
            InvalidInputError: When something would be ignored, or could not be done.
            RefusedError: When what the task asks for together makes three, or is not allowed to it.
        """
        self._require_workspace()
        self._require_stage()
        for place, command in enumerate(self.file.checks.commands):
            self._require_lawful(place)
            self._require_allowed(place, command)

    def _require_workspace(self) -> None:
        """Refuse a workspace that nobody sees, none where one has to be, and one that may not be fetched."""
        file = self.file
        keys = {"workspace": file.workspace, "checkout": file.checkout, "inputs": file.inputs}
        given = [key for key, value in keys.items() if value]
        if not self.policy.grant.holds(Capability.FILES):
            if given:
                raise self._fault("would be ignored: its policy holds no `files`", given[0])
            return
        if len(given) != 1:
            what = " and ".join(f"`{key}`" for key in given) if given else "no `workspace`"
            raise InvalidInputError(
                f"{self.places.at(*given[-1:])}: its policy holds `files`, and it names {what}",
                hint="one of `workspace`, `checkout` and `inputs`",
            )
        self._require_names()
        self._require_reached()

    def _require_names(self) -> None:
        names = [PurePosixPath(path).name for path in self.file.inputs]
        for place, name in enumerate(names):
            if name in names[:place] or name in {"", ".."}:
                raise InvalidInputError(
                    f"{self.places.at('inputs', place)}: two `inputs` are called {quoted(name)}, "
                    "or it is no file's name"
                )

    def _require_reached(self) -> None:
        if self.file.checkout is None:
            return
        host = urlsplit(self.file.checkout.git).hostname or ""
        rules = self.policy.network.allow if self.policy.network is not None else ()
        if not any(rule.host.matches(host) for rule in rules):
            raise RefusedError(
                f"{self.places.at('checkout', 'git')}: its policy does not let `{host}` be reached, "
                "from which it would fetch",
                hint="clone it beforehand, and name the folder with `workspace`; or allow the host",
            )

    def _require_stage(self) -> None:
        checks, policy = self.file.checks, self.policy
        if checks.policy and not checks.commands:
            raise self._fault("would be ignored: there are no `checks.commands`", "checks", "policy")
        if checks.may_steer and not checks.commands:
            raise self._fault("would be ignored: there are no `checks.commands`", "checks", "may_steer")
        if policy.files is not None and policy.files.access == "direct":
            raise InvalidInputError(
                f"{self.places.at('policy')}: its policy has `access: direct`, so there would be nothing to "
                "check and to review",
                hint="`access: stage`",
            )
        if policy.files is not None and policy.files.access == "stage":
            return
        asked = ("commands", checks.commands), ("unchanged", checks.unchanged), ("changes", checks.changes)
        if key := next((key for key, value in asked if value), ""):
            raise InvalidInputError(
                f"{self.places.at('checks', key)}: it checks changes, and its policy stages none",
                hint="`files: {access: stage}`",
            )
        if (checks.files or self.file.outputs) and policy.outputs is None:
            path = ("outputs",) if self.file.outputs else ("checks", "files")
            raise InvalidInputError(
                f"{self.places.at(*path)}: it asks for files, and its policy keeps none",
                hint="`outputs: NAME` in the policy",
            )

    def _require_lawful(self, place: int) -> None:
        """Refuse a command check that would run what a session with `network` wrote, or that cannot run."""
        grant, checking = self.policy.grant, self.checking.grant
        at = self.places.at("checks", "commands", place)
        decision = decide_lineage(checking, Label((Contribution("the task", grant.capabilities),)))
        if isinstance(decision, Denied):
            raise RefusedError(
                f"{at}: command checks with `{checking.label}` after `{grant.label}` make three",
                hint="check with `files`, `unchanged`, `changes`, `max_denials` and `no_egress`",
            )
        if checking is not Grant.FILES_EXEC:
            raise InvalidInputError(
                f"{at}: `checks.commands` need `files` and `exec`; their policy grants `{checking.label}`",
                hint="name another with `checks.policy`",
            )

    def _require_allowed(self, place: int, command: CommandCheck) -> None:
        """Refuse a command that the policy of the checks would deny: it could never pass."""
        checking = self.checking
        facts = SessionFacts(grant=checking.grant, ceiling=read_ceiling(), headless=True)
        words = line_of_check(command)
        decision = decide(checking, facts, request_from_line(words, vocabulary(known_commands())))
        if isinstance(decision, Allowed):
            return
        why = f": {decision.reasons[0].message}" if isinstance(decision, Denied) else ": it asks a person"
        at = self.places.at("checks", "commands", place)
        raise RefusedError(f"{at}: the check {quoted(words)} is not allowed by `{checking.name}`{why}")

    def _fault(self, what: str, *path: str) -> InvalidInputError:
        return InvalidInputError(f"{self.places.at(*path)}: `{'.'.join(path)}` {what}")


def line_of_check(command: CommandCheck) -> str:
    """Return a command check as an agent would write it."""
    return shlex.join(("run", "--timeout", str(int(command.timeout)), *command.run))
