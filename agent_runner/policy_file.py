"""Find the policy that a person names: a file or a name of the library; and say whether it may be used."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent_runner.ceiling import read_ceiling
from agent_runner.errors import InvalidInputError, RefusedError
from cli_tools.catalogue import built_in
from cli_tools.vocabulary import vocabulary
from policies.ceiling import under_ceiling
from policies.expectations import load_policy as load_checked
from policies.library import library_names, library_policy
from policies.source import SourceText, parse_policy
from policies.trust import closure_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from policies.policy import Policy

MAXIMUM_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedPolicy:
    """A policy and where it came from."""

    policy: Policy
    origin: str
    path: Path | None
    """The file as it was named, absolute; None for a policy of the library."""
    found: bool = False
    """Whether it was found beside the work, and nobody named it."""


def load_policy(reference: str) -> LoadedPolicy:
    """Read and check a policy.

    Args:
        reference: A path, or a name of the library.

    Raises:
        InvalidInputError: When there is no such policy, or its file may not be used.
        policies.errors.PolicyError: When its text is not a lawful policy.
    """
    path = Path(reference)
    if path.is_file() or "/" in reference or path.suffix in (".yaml", ".yml"):
        policy = _checked(SourceText(reference, read_policy_file(path)), path.parent)
        return LoadedPolicy(policy=policy, origin=reference, path=path.absolute())
    known = library_policy(reference)
    if known is None:
        names = library_names()
        close = get_close_matches(reference, names, n=1)
        hint = f"did you mean `{close[0]}`?" if close else f"a file, or one of: {', '.join(names)}"
        raise InvalidInputError(f"no policy `{reference}`", hint=hint)
    policy = _checked(known, None)
    return LoadedPolicy(policy=policy, origin=known.origin, path=None)


def parse_file(path: Path) -> Policy:
    """Read a policy without holding it to its own expectations, for whoever runs those."""
    return parse_policy(read_policy_file(path), origin=str(path), find=_finder(path.parent))


def _checked(source: SourceText, folder: Path | None) -> Policy:
    """Make a policy from its text, hold it to its expectations, and narrow it to the ceiling."""
    commands = vocabulary(built_in())
    policy = load_checked(source.text, origin=source.origin, commands=commands, find=_finder(folder))
    ceiling = read_ceiling()
    return policy if ceiling is None else under_ceiling(policy, ceiling)


def read_policy_file(path: Path) -> str:
    """Read a policy's text from a file that nobody else could have written.

    Raises:
        InvalidInputError: When it is missing, no regular file, too large, or others may write it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise InvalidInputError(f"policy `{path}` is not a regular file")
    except OSError as error:
        raise InvalidInputError(f"policy `{path}` cannot be read: {_lower(error.strerror)}") from error
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(stream.fileno())
        if status.st_mode & stat.S_IWOTH or status.st_uid not in (0, os.getuid()):
            raise InvalidInputError(
                f"policy `{path}` could have been written by somebody else",
                hint="it must belong to you or to root, and not be writable by all: `chmod o-w`",
            )
        raw = stream.read(MAXIMUM_BYTES + 1)
    if len(raw) > MAXIMUM_BYTES:
        raise InvalidInputError(f"policy `{path}` is larger than {MAXIMUM_BYTES} bytes")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        column = error.start - (raw.rfind(b"\n", 0, error.start) + 1) + 1
        raise InvalidInputError(f"{path}:{line}:{column}: not UTF-8") from error


def trust_digest(path: Path) -> str:
    """Return the digest under which a policy is trusted: of everything that its meaning rests on.

    Args:
        path: The file; it is resolved, so that the same file has the same digest from wherever it is named.
    """
    resolved = path.resolve()
    return closure_of(_checked(SourceText(str(resolved), read_policy_file(resolved)), resolved.parent)).digest


def require_trust(loaded: LoadedPolicy, workspace: Path | None, *, trusted: Callable[[str], bool]) -> None:
    """Refuse a policy that came with the work, unless a person trusted it as it stands.

    It came with the work when nobody named it, whatever it grants, and when it lies in the workspace or in
    the repository around that, by the name it was given or by where that leads.

    Raises:
        RefusedError: When nobody trusted it: a cloned repository must not grant itself anything.
    """
    if loaded.path is None or not (loaded.found or _lies_within(loaded.path, workspace)):
        return
    if not trusted(trust_digest(loaded.path)):
        raise RefusedError(
            f"policy `{loaded.origin}` came with the work and is not trusted as it stands",
            hint=f"read it, then `pairlock policy trust {loaded.origin}`",
        )


def _lies_within(path: Path, workspace: Path | None) -> bool:
    if workspace is None:
        return False
    folder = workspace.resolve()
    around = next((parent for parent in (folder, *folder.parents) if (parent / ".git").exists()), folder)
    return any(name.is_relative_to(around) for name in (Path(os.path.normpath(path)), path.resolve()))


def _finder(folder: Path | None) -> Callable[[str], SourceText | None]:
    def find(name: str) -> SourceText | None:
        known = library_policy(name)
        if known is not None or folder is None:
            return known
        path = folder / name
        return SourceText(str(path), read_policy_file(path)) if path.is_file() else None

    return find


def _lower(text: str | None) -> str:
    return (text or "unknown error").lower()
