"""Draft a policy: a first one for a grant, or the narrowest under which a recorded session would have run."""

from __future__ import annotations

import shlex
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent_runner.commands import known_commands
from agent_runner.errors import InvalidInputError
from agent_runner.meta import POLICY
from agent_runner.state import session_files
from audit.event import ActionIntended, ApprovalAnswered, SessionOpened
from audit.reader import SessionReader
from cli_tools.action import LineProposal
from cli_tools.errors import ActionError
from cli_tools.vocabulary import vocabulary
from policies.capability import Capability, in_order
from policies.decide import decide
from policies.errors import PolicyFileError
from policies.expectations import load_policy
from policies.grant import Grant
from policies.hosts import HostPattern
from policies.leaves import is_name, is_program
from policies.narrow import narrowest
from policies.request import Denied, SessionFacts
from policies.source import parse_policy
from policies.wording import nearest, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from policies.policy import Policy
    from policies.request import ActionRequest

MOST_NOTES: Final = 20  # on one draft


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What a person wants a new policy to allow."""

    name: str
    grant: Grant
    writes: bool = True
    """Whether files may be changed, after a review; counts with `files` only."""
    programs: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()


def grant_of(text: str) -> Grant:
    """Read a grant from capabilities with commas or `+` between; `none` is none.

    Raises:
        InvalidInputError: When one is no capability.
        policies.errors.ForbiddenGrantError: When all three are asked for.
    """
    words = [word.strip() for word in text.replace("+", ",").split(",") if word.strip()]
    known = {capability.value: capability for capability in Capability}
    for word in words if words != ["none"] else ():
        if word not in known:
            near = nearest(word, known)
            mend = f"did you mean `{near}`?" if near else "`files`, `network`, `exec`; at most two, or `none`"
            raise InvalidInputError(f"{quoted(word)} is not a capability", hint=mend)
    return Grant.of(known[word] for word in words if word in known)


def programs_of(text: str) -> tuple[str, ...]:
    """Read programs with commas between.

    Raises:
        InvalidInputError: When one is no program's name.
    """
    names = _listed(text)
    for name in names:
        if not is_program(name):
            raise InvalidInputError(f"{quoted(name)} is not a program", hint="as in `pytest`; no arguments")
    return names


def hosts_of(text: str) -> tuple[str, ...]:
    """Read hosts with commas between.

    Raises:
        policies.errors.BadValueError: When one is no host, or too wide a wildcard.
    """
    return tuple(HostPattern.parse(name).text for name in _listed(text))


def yes_of(text: str) -> bool:
    """Read a yes or no.

    Raises:
        InvalidInputError: When it is neither.
    """
    words = {"yes": True, "y": True, "no": False, "n": False}
    if text.lower() not in words:
        raise InvalidInputError(f"{quoted(text)} is not an answer", hint="`yes` or `no`")
    return words[text.lower()]


def name_of(text: str) -> str:
    """Read a policy's name.

    Raises:
        InvalidInputError: When it is none.
    """
    if not is_name(text):
        raise InvalidInputError(
            f"{quoted(text)} is not a name", hint="small letters, digits, `-` and `_`, at most 64"
        )
    return text


def _listed(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def draft(wishes: Wishes) -> str:
    """Write a policy that allows the plainest commands of a grant, with expectations of both kinds.

    Args:
        wishes: What it is to allow.

    Returns:
        YAML with comments, which loads as it stands.
    """
    lines = [*_head(wishes), *_files(wishes), *_exec(wishes), *_network(wishes), *_commands(wishes)]
    text = "\n".join((*lines, *_expectations(wishes))) + "\n"
    load_policy(text, origin=wishes.name, commands=vocabulary(known_commands()))
    return text


def _head(wishes: Wishes) -> Iterator[str]:
    yield "version: 1"
    yield f"name: {wishes.name}"
    yield f"grant: [{', '.join(in_order(wishes.grant.capabilities))}]"


def _files(wishes: Wishes) -> Iterator[str]:
    if wishes.grant.holds(Capability.FILES):
        yield "files:"
        access = f"  access: {'stage' if wishes.writes else 'read'}"
        yield f"{access:<25}# read, or stage: changes wait for `pairlock apply`"


def _exec(wishes: Wishes) -> Iterator[str]:
    if not wishes.grant.holds(Capability.EXEC):
        return
    yield "exec:"
    yield "  image: pairlock/starter"
    yield f"  programs: [{', '.join(wishes.programs)}]" + (
        "" if wishes.programs else "           # what argv[0] of `run` may be, as in [pytest]"
    )
    if wishes.grant is Grant.NETWORK_EXEC:
        yield "  contents: public       # nothing in the image is private; needed with network and exec"


def _network(wishes: Wishes) -> Iterator[str]:
    if not wishes.grant.holds(Capability.NETWORK):
        return
    yield "network:"
    if not wishes.hosts:
        yield "  allow: []              # hosts, as in [{host: api.example.com, methods: [GET, HEAD]}]"
        return
    yield "  allow:"
    for host in wishes.hosts:
        yield f'    - {{host: "{host}", methods: [GET, HEAD]}}'


def _commands(wishes: Wishes) -> Iterator[str]:
    reading = ["files list", "files read", "files search", "files stat"]
    named = {
        Capability.FILES: ['"files *"'] if wishes.writes else reading,
        Capability.NETWORK: ["http get", "http head"],
        Capability.EXEC: ["run"],
    }
    held = [word for capability in Capability if wishes.grant.holds(capability) for word in named[capability]]
    yield "commands:"
    yield f"  allow: [{', '.join((*held, 'output last'))}]"


def _expectations(wishes: Wishes) -> Iterator[str]:
    lines = {
        Capability.FILES: "files read README.md",
        Capability.NETWORK: f"http get https://{(wishes.hosts or ('example.com',))[0].replace('*', 'www')}/",
        Capability.EXEC: f"run {(wishes.programs or ('true',))[0]}",
    }
    can = {
        Capability.FILES: True,
        Capability.NETWORK: bool(wishes.hosts) and not wishes.hosts[0].startswith("*"),
        Capability.EXEC: bool(wishes.programs),
    }
    yield "expect:                  # the policy's own tests: `pairlock policy test`"
    for capability, line in lines.items():
        if wishes.grant.holds(capability) and can[capability]:
            yield f"  - allow: {line}"
    for capability, line in lines.items():
        if not wishes.grant.holds(capability):
            yield f"  - deny: {line}"
            yield "    because: capability"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drafted:
    """A policy drafted from a session."""

    text: str
    """YAML, which loads as it stands; the notes stand above it as comments."""
    notes: tuple[str, ...]
    """What whoever reads it has to know: what it was not drawn from, and what it denies again."""


def from_session(state: Path, given: str, name: str) -> Drafted:
    """Return the narrowest policy under which a recorded session would have run.

    Raises:
        InvalidInputError: When no policy can hold what the session did.
        audit.errors.AuditError: When there is no such session, or its ledger does not hold.
        policies.errors.PolicyError: When the policy that it ran under cannot be read.
    """
    files = session_files(given, state)
    reader = SessionReader(state, files.folder.name)
    allowed, approved = _requests(reader)
    under, missing = _policy_of(reader)
    text = narrowest(allowed, approved=approved, under=under, name=name).as_yaml()
    try:
        policy = parse_policy(text, origin=name)
    except PolicyFileError as error:
        what = f"no policy holds what session `{files.folder.name}` did: {error.problems[0].message}"
        raise InvalidInputError(what, hint="write one with patterns, as `--grant` drafts it") from error
    notes = (*missing, *_denied_again(policy, (*allowed, *approved)))
    return Drafted(text="".join(f"# {note}\n" for note in notes) + text, notes=notes)


def _denied_again(policy: Policy, requests: tuple[ActionRequest, ...]) -> tuple[str, ...]:
    """Say which recorded actions a draft denies: what it could only name by naming others too."""
    facts = SessionFacts(grant=policy.grant, headless=False)
    decided = ((request, decide(policy, facts, request)) for request in requests)
    notes = dict.fromkeys(
        f"left out, a call of `{request.name}`: {decision.reasons[0].message}"
        for request, decision in decided
        if isinstance(decision, Denied)
    )
    return tuple(notes)[:MOST_NOTES]


def _policy_of(reader: SessionReader) -> tuple[Policy | None, tuple[str, ...]]:
    """Return the policy beside the ledger, or why there is none: it is not there, or not the one meant."""
    path = reader.files.folder / POLICY
    try:
        policy = parse_policy(path.read_text("utf-8"), origin=str(path), resolved=True)
    except FileNotFoundError:
        return None, ("the session's policy is gone: this draft has none of its bounds",)
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{quoted(str(path))} is not UTF-8; expected the session's policy") from error
    opened = next((event for _, event in reader.events() if isinstance(event, SessionOpened)), None)
    if opened is not None and opened.policy_digest == policy.digest:
        return policy, ()
    return None, ("the policy kept with the session is not the one that its ledger names: it is not used",)


def _requests(reader: SessionReader) -> tuple[list[ActionRequest], list[ActionRequest]]:
    """Return the actions that were allowed, and those that a person approved."""
    intended: dict[str, ActionIntended] = {}
    approved: set[str] = set()
    for _, happened in reader.events():
        if isinstance(happened, ActionIntended):
            intended[happened.action] = happened
        elif isinstance(happened, ApprovalAnswered) and happened.answer == "approved":
            approved.add(happened.action)
    done = [item for item in intended.values() if item.verdict == "allowed"]
    asked = [item for name, item in intended.items() if item.verdict == "needs_approval" and name in approved]
    return _read(done), _read(asked)


def _read(items: list[ActionIntended]) -> list[ActionRequest]:
    return [request for item in items for request in _request(shlex.join(item.argv))]


def _request(line: str) -> Iterator[ActionRequest]:
    """Yield the request of a recorded line, whose body is kept apart; none for an unknown command."""
    for body in (None, b""):
        with suppress(ActionError):
            yield known_commands().parse(LineProposal(line=line, body=body)).request()
            return
