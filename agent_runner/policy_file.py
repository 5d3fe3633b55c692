"""Find the policy that a person names: a file or a name of the library; and say whether it may be used."""

from __future__ import annotations

import os
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent_runner.ceiling import read_ceiling
from agent_runner.commands import declarations_meant, known_commands, member_of
from agent_runner.errors import InvalidInputError
from agent_runner.owned_file import read_owned_file
from cli_tools.vocabulary import vocabulary
from policies.ceiling import under_ceiling
from policies.expectations import load_policy as load_checked
from policies.library import library_names, library_policy
from policies.source import SourceText, parse_policy
from policies.trust import Closure, closure_of

if TYPE_CHECKING:
    from policies.policy import Policy
    from policies.source import Find

SUFFIXES: Final = (".yaml", ".yml")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedPolicy:
    """A policy and where it came from."""

    policy: Policy
    origin: str
    path: Path | None
    """The file as it was named, absolute; None for a policy of the library."""
    bases: tuple[Path, ...] = ()
    """The files that it extends, absolute; none of the library is among them."""
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
    if _means_a_file(reference):
        own, find = SourceText(reference, read_policy_file(path)), _Texts(_folder_of(path))
        policy = _in_force(own, find)
        bases = tuple(file.absolute() for file in find.files)
        return LoadedPolicy(policy=policy, origin=reference, path=path.absolute(), bases=bases)
    known = library_policy(reference)
    if known is None:
        names = library_names()
        close = get_close_matches(reference, names, n=1)
        hint = f"did you mean `{close[0]}`?" if close else f"a file, or one of: {', '.join(names)}"
        raise InvalidInputError(f"no policy `{reference}`", hint=hint)
    policy = _in_force(known, _Texts(None))
    return LoadedPolicy(policy=policy, origin=known.origin, path=None)


def _folder_of(path: Path) -> Path:
    """Return the folder in which `extends` is looked up: where the text lies, not where a link to it does."""
    return resolved(path).parent if path.is_symlink() else path.parent


def resolved(path: Path) -> Path:
    """Return where a path leads.

    Raises:
        InvalidInputError: When its links lead in a circle, or nobody can follow them.
    """
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:
        raise InvalidInputError(f"policy `{path}` cannot be read: its links lead nowhere") from error


def _means_a_file(reference: str) -> bool:
    return "/" in reference or Path(reference).suffix in SUFFIXES or os.path.isfile(reference)  # noqa: PTH113 - whatever cannot be looked at is no file


class _Texts:
    """Find what a name in `extends` means, and read each file once, so that it means one thing."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self.found: dict[str, SourceText] = {}
        self.files: list[Path] = []

    def __call__(self, name: str) -> SourceText | None:
        if name not in self.found and (text := library_policy(name) or self._beside(name)):
            self.found[name] = text
        return self.found.get(name)

    def _beside(self, name: str) -> SourceText | None:
        if self._folder is None or name != os.path.basename(name):  # noqa: PTH119 - a text
            return None
        path = self._folder / name
        if not path.is_file():
            return None
        self.files.append(path)
        return SourceText(str(path), read_policy_file(path))


def parse_file(path: Path) -> Policy:
    """Read a policy without holding it to its own expectations, for whoever runs those."""
    return parse_policy(read_policy_file(path), origin=str(path), find=_Texts(_folder_of(path)))


def parse_named(reference: str) -> Policy:
    """Do the same for a file or a name of the library."""
    known = None if _means_a_file(reference) else library_policy(reference)
    if known is None:
        return parse_file(Path(reference)) if _means_a_file(reference) else load_policy(reference).policy
    return parse_policy(known.text, origin=known.origin, find=_Texts(None))


def policies_meant(references: list[str]) -> list[str]:
    """Return what each reference means: a folder means the policies in it.

    Raises:
        InvalidInputError: When a folder holds none.
    """
    meant: list[str] = []
    for reference in references:
        folder = Path(reference)
        if not os.path.isdir(reference):  # noqa: PTH112 - whatever cannot be looked at is no folder
            meant.append(reference)
            continue
        inside = sorted(str(path) for path in folder.iterdir() if path.suffix in SUFFIXES)
        if not inside:
            raise InvalidInputError(
                f"folder `{reference}` holds no policy", hint="a policy is a file `*.yaml` or `*.yml`"
            )
        meant += inside
    return meant


def _in_force(source: SourceText, find: Find) -> Policy:
    """Make a policy from its text, hold it to its expectations, and narrow it to the ceiling."""
    commands = vocabulary(known_commands())
    policy = load_checked(source.text, origin=source.origin, commands=commands, find=find)
    ceiling = read_ceiling()
    return policy if ceiling is None else under_ceiling(policy, ceiling)


def read_policy_file(path: Path) -> str:
    """Read a policy's text from a file that nobody else could have written.

    Raises:
        InvalidInputError: When it is missing, no regular file, too large, or others may write it.
    """
    return read_owned_file(path, what="policy")


@dataclass(frozen=True, slots=True)
class ReadClosure:
    """Everything that a policy's meaning rests on, as it stands."""

    policy: Policy
    origin: str
    """The file, resolved, so that it is the same from wherever it is named."""
    members: Closure
    texts: tuple[SourceText, ...]
    """The policy's own text, each that it extends, and the files of declared commands that it offers."""

    @property
    def digest(self) -> str:
        """The digest under which the policy is trusted."""
        return self.members.digest


def read_closure(path: Path) -> ReadClosure:
    """Read everything that a policy's meaning rests on.

    Raises:
        InvalidInputError: When the file may not be used.
        policies.errors.PolicyError: When its text is not a lawful policy.
    """
    file = resolved(path)
    own, find = SourceText(str(file), read_policy_file(file)), _Texts(file.parent)
    policy = _in_force(own, find)
    declared = declarations_meant(policy)
    members = closure_of(policy, others=[member_of(source) for source in declared])
    return ReadClosure(policy, own.origin, members, (own, *find.found.values(), *declared))
