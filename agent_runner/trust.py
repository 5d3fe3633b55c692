"""Remember which policies of workspaces a person trusts: in the host's log, with a copy of what was trusted.

The log decides. The copy only serves to show what changed, and counts only while it is what the log says.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import orjson

from agent_runner.errors import RefusedError
from agent_runner.lineage import labels_of
from agent_runner.package import pairlock_version
from agent_runner.person import who
from agent_runner.policy_file import read_closure, resolved
from audit.host import HostLog
from audit.host_event import PolicyDistrusted, PolicyTrusted
from audit.index import read_index
from audit.segments import Lines
from audit.state import StateFiles, write_private
from policies.trust import Closure, Member, meaning_of
from sandbox.workspace import identity_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent_runner.policy_file import LoadedPolicy, ReadClosure

FOLDER: Final = "trusted"
MOST_LINES: Final = 200
_WORDS = frozenset({PolicyTrusted.kind, PolicyDistrusted.kind})


def is_trusted(state: Path, digest: str) -> bool:
    """Say whether a policy of this digest is trusted; the last word in the host's log counts.

    Raises:
        audit.errors.BrokenLedgerError: When the host's log does not verify.
    """
    trusted = False
    for word, body in _entries(state):
        if body.get("digest") == digest:
            trusted = word == PolicyTrusted.kind
    return trusted


def trust(state: Path, closure: ReadClosure) -> None:
    """Write down that a person trusts a policy as it stands, and keep a copy of it."""
    with HostLog(state, writer=pairlock_version()) as log:
        folder = state / FOLDER
        folder.mkdir(mode=0o700, exist_ok=True)
        copy = {"members": [[member.origin, member.digest] for member in closure.members.members]}
        copy["texts"] = [[source.origin, source.text] for source in closure.texts]
        write_private(folder / f"{closure.digest}.json", json.dumps(copy).encode())
        log.append(PolicyTrusted(origin=closure.origin, digest=closure.digest, by=who()))


def require_trust(loaded: LoadedPolicy, workspace: Path | None, *, state: Path) -> None:
    """Refuse a policy that came with the work, unless a person trusted it as it stands.

    It came with the work when nobody named it, whatever it grants, and when it, or what it extends, lies in
    the workspace or in the repository around that, by the name it was given or by where that leads. One that
    lies where sessions wrote what nobody has reviewed may be an agent's.

    Raises:
        RefusedError: When nobody trusted it: a cloned repository must not grant itself anything. What changed
            since it was last trusted is told.
        sandbox.stage.errors.LabelError: When a label cannot be read.
    """
    if loaded.path is None:
        return
    files = (loaded.path, *loaded.bases)
    with_work = loaded.found or any(_lies_within(file, workspace) for file in files)
    if not with_work and not any(_may_be_written_by_agents(file, state) for file in files):
        return
    closure = read_closure(loaded.path)
    # INVARIANT: what is trusted is what runs. The closure is read anew, so its texts may be others by now.
    if meaning_of(loaded.policy) not in closure.members.members:
        raise RefusedError(
            f"policy `{loaded.origin}` changed while it was read",
            hint="start again when nobody is writing it",
        )
    if is_trusted(state, closure.digest):
        return
    hint = f"read it, then `pairlock policy trust {loaded.origin}`"
    changed = changes(state, closure)
    if changed is None:
        why = "came with the work" if with_work else "lies where sessions wrote what nobody has reviewed,"
        raise RefusedError(f"policy `{loaded.origin}` {why} and is not trusted as it stands", hint=hint)
    raise RefusedError(f"policy `{loaded.origin}` changed since it was trusted", hint=hint, detail=changed)


def changes(state: Path, closure: ReadClosure) -> str | None:
    """Show what differs from the policy of this name that was trusted last.

    Args:
        state: The state folder.
        closure: The policy as it stands.

    Returns:
        A unified diff of at most 200 lines; None when none of this name was ever trusted.
    """
    digests = [body["digest"] for word, body in _entries(state) if _trusts(word, body, closure.origin)]
    if not digests:
        return None
    before = _copy(state, digests[-1])
    if before is None:
        return "what was trusted cannot be shown: its copy is missing or was changed"
    lines = list(_difference(before, {source.origin: source.text for source in closure.texts}))
    if not lines:
        return "its text is the same, but not what it means: a policy of the library or the ceiling changed"
    more = [f"[{len(lines) - MOST_LINES} more lines]"] if len(lines) > MOST_LINES else []
    return "\n".join(lines[:MOST_LINES] + more)


def _trusts(word: str, body: dict[str, str], origin: str) -> bool:
    return word == PolicyTrusted.kind and body.get("origin") == origin


def _entries(state: Path) -> Iterator[tuple[str, dict[str, str]]]:
    files = StateFiles(state)
    index = read_index(files)
    if index.broken is not None:
        raise index.broken
    for line in Lines([files.log]) if files.log.exists() else ():
        entry = orjson.loads(line)
        if entry["type"] in _WORDS:
            yield entry["type"], entry["body"]


def _copy(state: Path, digest: str) -> dict[str, str] | None:
    """Return the texts that were trusted, None unless they are those of that digest."""
    try:
        copy = json.loads((state / FOLDER / f"{digest}.json").read_text("utf-8"))
        members = Closure(tuple(Member(origin, told) for origin, told in copy["members"]))
        texts = {str(origin): str(text) for origin, text in copy["texts"]}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    found = {Member(origin, hashlib.sha256(text.encode()).hexdigest()) for origin, text in texts.items()}
    return texts if members.digest == digest and found <= set(members.members) else None


def _difference(before: dict[str, str], after: dict[str, str]) -> Iterator[str]:
    for origin in dict.fromkeys((*before, *after)):
        old, new = before.get(origin, ""), after.get(origin, "")
        yield from difflib.unified_diff(
            old.splitlines(), new.splitlines(), f"{origin} (trusted)", f"{origin} (now)", lineterm="", n=2
        )


def _lies_within(path: Path, workspace: Path | None) -> bool:
    if workspace is None:
        return False
    folder = workspace.resolve()
    around = next((parent for parent in (folder, *folder.parents) if (parent / ".git").exists()), folder)
    return any(name.is_relative_to(around) for name in (Path(os.path.normpath(path)), resolved(path)))


def _may_be_written_by_agents(path: Path, state: Path) -> bool:
    labelled = [folder for folder, label in labels_of(state).all() if label.contributions]
    passed = _passed(path) if labelled else frozenset()
    return any(folder.same_folder(identity_of(each)) for each in passed for folder in labelled)


def _passed(path: Path) -> frozenset[Path]:
    """Return every folder in which a name is looked up on the way to a file, through every link."""
    resolved(path)  # a circle of links ends here
    here, ahead, passed = Path("/"), [*reversed(path.absolute().parts[1:])], set[Path]()
    while ahead:
        name = ahead.pop()
        passed.add(here)
        if name == "..":
            here = here.parent
        elif (here / name).is_symlink():
            link = (here / name).readlink()
            here = Path("/") if link.is_absolute() else here
            ahead += reversed([part for part in link.parts if part != "/"])
        else:
            here /= name
    return frozenset(passed)
