"""Make a policy from its text: read, validate, resolve `extends`, say everything that is wrong at once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel, ValidationError

from policies.document import LARGEST_TEXT, Document, read_document
from policies.errors import ForbiddenGrantError, PolicyFileError, Problem, RuleAt, UnjoinableError
from policies.exec_block import ExecBlock
from policies.faults import long_lists, problems_of, settings_without_value
from policies.files_block import FilesBlock
from policies.join import join
from policies.join_network import narrowed_network
from policies.lawful import BLOCKS, unlawful
from policies.network_block import EgressRule, NetworkBlock
from policies.policy import Policy
from policies.wording import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from policies.document import Path

DEEPEST_EXTENDS: Final = 8
LARGEST_RESOLVED: Final = 4 * 2**20  # bytes; there every default is written out
_JOINING_MEND: Final = {
    "origins": "name destinations in `rules`, under `arguments` or `sink_pattern`",
    "unfixed": "leave it out: `host`, `methods` and `paths` say what a rule fixes",
}
_EMPTY: Final = {"files": FilesBlock(), "network": NetworkBlock(), "exec": ExecBlock()}


@dataclass(frozen=True, slots=True)
class SourceText:
    """A policy's text and where it came from.

    Attributes:
        origin: The file's name, or `library/NAME`.
        text: The whole text.
    """

    origin: str
    text: str


Find = Callable[[str], SourceText | None]


def parse_policy(text: str, *, origin: str, find: Find | None = None, resolved: bool = False) -> Policy:
    """Make a policy from its text.

    Args:
        text: The whole file, at most 64 KiB of YAML 1.2; 4 MiB when it is resolved.
        origin: The file's name, for messages and reasons.
        find: Finds the text that a name in `extends` means; None means that nothing can be extended.
        resolved: Whether the text is what `Policy.as_yaml` wrote, as beside a session's ledger. Only there
            may stand what joining writes: it fixes destinations past the file's own rules.

    Returns:
        The resolved policy: a block for each capability held, everything joined that it extends.

    Raises:
        PolicyFileError: With every problem of the file.
        ForbiddenGrantError: When the grant asks for all three capabilities.
    """
    return _parse(SourceText(origin, text), find or (lambda _: None), (), resolved=resolved)


def _parse(source: SourceText, find: Find, above: tuple[str, ...], *, resolved: bool = False) -> Policy:
    largest = LARGEST_RESOLVED if resolved else LARGEST_TEXT
    document = read_document(source.text, origin=source.origin, largest=largest)
    written = _validate(document)
    if not resolved and (refused := [*_written_by_joining(written, document), *long_lists(document)]):
        raise PolicyFileError(refused)
    digest = hashlib.sha256(source.text.encode("utf-8", "surrogatepass")).hexdigest()
    written = written.with_origin(places=_places(document), closure={source.origin: digest})
    if written.extends is not None:
        return _extended(written, document, find, (*above, source.origin))
    if problems := unlawful(written):
        raise PolicyFileError(problems)
    return _filled(written)


def _validate(document: Document) -> Policy:
    if not isinstance(document.value, dict):
        problem = Problem(
            document.at(()),
            "the file holds no block; expected `version: 1` and more",
            "see `pairlock policy new`",
        )
        raise PolicyFileError([problem])
    try:
        policy = Policy.model_validate(document.value)
    except ValidationError as exc:
        raise PolicyFileError(problems_of(exc, document, Policy)) from None
    except ForbiddenGrantError as exc:
        raise ForbiddenGrantError(exc.capabilities, splits=exc.splits, at=document.at(("grant",))) from None
    if faults := settings_without_value(document, below=1):
        raise PolicyFileError(faults)
    return policy


def _written_by_joining(written: Policy, document: Document) -> Iterator[Problem]:
    """Find what only joining writes: it fixes destinations, whatever the rules beside it say."""
    paths: list[Path] = [("commands", "origins")] if written.commands.origins is not None else []
    rules = written.network.allow if written.network else ()
    paths += [("network", "allow", place, "unfixed") for place, rule in enumerate(rules) if rule.unfixed]
    for path in paths:
        at = document.keys_at.get(path, document.at(path))
        yield Problem(at, f"key {quoted(path[-1])} is written by joining only", _JOINING_MEND[str(path[-1])])


def _places(document: Document) -> dict[str, RuleAt]:
    def at(path: Path) -> RuleAt:
        return document.keys_at.get(path, document.values_at[path])

    return {
        ".".join(str(part) for part in path): at(path)
        for path in document.values_at
        if path and "<key>" not in path
    }


def _filled(policy: Policy) -> Policy:
    missing = {
        name: _EMPTY[name]
        for name, capability in BLOCKS.items()
        if policy.grant.holds(capability) and getattr(policy, name) is None
    }
    return policy.replaced(**missing) if missing else policy


def _extended(written: Policy, document: Document, find: Find, above: tuple[str, ...]) -> Policy:
    at = document.at(("extends",))
    name = str(written.extends)
    found = find(name)
    if found is None:
        raise PolicyFileError(
            [Problem(at, f"policy {quoted(name)} is not found", "a library name, or a file beside this one")]
        )
    if found.origin in above or len(above) >= DEEPEST_EXTENDS:
        raise PolicyFileError(
            [
                Problem(
                    at,
                    f"policy {quoted(name)} extends itself, or too deep",
                    f"at most {DEEPEST_EXTENDS} files",
                )
            ]
        )
    base = _parse(found, find, above)
    child = _inheriting(written, base)
    if problems := unlawful(child):
        raise PolicyFileError(problems)
    try:
        joined = join(_filled(child), base, meet_hosts=narrowed_network)
    except UnjoinableError as exc:
        raise PolicyFileError([Problem(child.place(exc.key) or at, exc.message, exc.hint)]) from None
    widened = unlawful(joined)
    if widened:
        raise PolicyFileError(widened)
    return joined.replaced(expect=written.expect, extends=written.extends)


def _inheriting(written: Policy, base: Policy) -> Policy:
    grant = written.grant if "grant" in written.model_fields_set else base.grant
    fields: dict[str, object] = {"grant": grant}
    for name in ("files", "network", "exec", "commands", "isolation", "budget"):
        own, inherited = getattr(written, name), getattr(base, name)
        if name in written.model_fields_set and own is not None:
            fields[name] = _over(own, inherited)
        elif name not in BLOCKS or grant.holds(BLOCKS[name]):
            fields[name] = inherited
    if "sinks" not in written.model_fields_set:
        fields["sinks"] = base.sinks
    if "outputs" not in written.model_fields_set and not grant.holds(BLOCKS["files"]):
        fields["outputs"] = base.outputs
    child = written.replaced(**fields)
    if child.commands.rules == base.commands.rules:
        return child
    rules = (*written.commands.rules, *base.commands.rules)  # bounds add up; what the base fixes stays fixed
    return child.replaced(commands=child.commands.model_copy(update={"rules": rules}))


def _over(own: BaseModel, inherited: BaseModel | None) -> BaseModel:
    if inherited is None or isinstance(own, EgressRule):
        return own
    fields = {name: _taken(own, inherited, name) for name in type(own).model_fields}
    return own.model_copy(update=fields)


def _taken(own: BaseModel, inherited: BaseModel, name: str) -> object:
    if name not in own.model_fields_set:
        return getattr(inherited, name)
    value = getattr(own, name)
    return _over(value, getattr(inherited, name)) if isinstance(value, BaseModel) else value
