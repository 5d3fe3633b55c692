"""Draft a policy: a first one for a grant, or the narrowest under which a recorded session would have run."""

from __future__ import annotations

import shlex
from contextlib import suppress
from typing import TYPE_CHECKING

from agent_runner.errors import InvalidInputError
from agent_runner.state import session_files
from audit.event import ActionIntended
from audit.reader import SessionReader
from cli_tools.action import LineProposal
from cli_tools.catalogue import built_in
from cli_tools.errors import ActionError
from policies.capability import Capability
from policies.grant import Grant
from policies.narrow import narrowest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from policies.request import ActionRequest

_COMMANDS = {
    Capability.FILES: '"files *"',
    Capability.NETWORK: "http get",
    Capability.EXEC: "run",
}
_BLOCKS = {
    Capability.FILES: """\
files:
  access: stage          # read, or stage: changes wait for `pairlock apply`
""",
    Capability.NETWORK: """\
network:
  allow: []              # hosts, as in [{host: api.example.com}]
""",
    Capability.EXEC: """\
exec:
  image: pairlock/starter
  programs: []           # what argv[0] of `run` may be, as in [pytest]
""",
}
_PUBLIC = "  contents: public       # nothing in the image is private; needed with network and exec\n"


def first_draft(name: str, grant_text: str) -> str:
    """Return a policy that grants this and allows the plainest commands of it.

    Args:
        name: The policy's name.
        grant_text: Capabilities with commas or `+` between.

    Raises:
        InvalidInputError: When one is no capability.
        policies.errors.ForbiddenGrantError: When all three are asked for.
    """
    words = [word.strip() for word in grant_text.replace("+", ",").split(",") if word.strip()]
    try:
        grant = Grant.of(Capability(word) for word in words)
    except ValueError as error:
        raise InvalidInputError(f"{error}", hint="`files`, `network`, `exec`; at most two") from error
    held = [capability for capability in Capability if grant.holds(capability)]
    names = ", ".join(capability.value for capability in held)
    blocks = "".join(_BLOCKS[capability] for capability in held)
    public = _PUBLIC if grant is Grant.NETWORK_EXEC else ""
    commands = ", ".join(_COMMANDS[capability] for capability in held)
    return f"version: 1\nname: {name}\ngrant: [{names}]\n{blocks}{public}commands:\n  allow: [{commands}]\n"


def from_session(state: Path, given: str, name: str) -> str:
    """Return the narrowest policy under which a recorded session would have run.

    Raises:
        audit.errors.AuditError: When there is no such session, or its ledger does not hold.
    """
    reader = SessionReader(state, session_files(given, state).folder.name)
    return narrowest(list(_requests(reader)), name=name).as_yaml()


def _requests(reader: SessionReader) -> Iterator[ActionRequest]:
    """Yield the actions that were allowed, as they would be asked for again."""
    for _, happened in reader.events():
        if isinstance(happened, ActionIntended) and happened.verdict == "allowed":
            yield from _request(shlex.join(happened.argv))


def _request(line: str) -> Iterator[ActionRequest]:
    """Yield the request of a recorded line, whose body is kept apart; none for an unknown command."""
    for body in (None, b""):
        with suppress(ActionError):
            yield built_in().parse(LineProposal(line=line, body=body)).request()
            return
