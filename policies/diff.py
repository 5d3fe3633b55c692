"""Say what one policy allows that another does not, each with a witness: an action that shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from policies.capability import in_order
from policies.containment import Work, example, glob_steps, witness
from policies.globs import GlobSet
from policies.grant import Grant
from policies.meeting import ACCESS, RUNTIMES
from policies.package_data import default_paths
from policies.request import PathUse
from policies.widening_actions import action_widenings, path_witness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pydantic import BaseModel

    from policies.canonical import Plain
    from policies.facts import CommandFacts
    from policies.files_block import FilesBlock
    from policies.globs import Glob
    from policies.network_block import EgressRule, NetworkBlock
    from policies.policy import Policy

    Covered = Callable[[EgressRule, Callable[[EgressRule], bool]], bool]
    from policies.widening_actions import Witnessed

Topic = Literal["grant", "action", "file", "limit", "setting"]


@dataclass(frozen=True, slots=True)
class Widening:
    """One thing that the second policy allows and the first does not.

    Attributes:
        topic: What kind of thing.
        message: What was denied or less, and is allowed or more.
        witness: An action line that the second allows and the first denies; None where no action shows it.
    """

    topic: Topic
    message: str
    witness: str | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """How the second policy differs from the first.

    Attributes:
        widenings: What it allows more.
        narrowings: What it allows less, each with an action that the first allows and the second denies.
    """

    widenings: tuple[Widening, ...]
    narrowings: tuple[Widening, ...]

    @property
    def is_wider(self) -> bool:
        """Whether the second allows anything that the first does not."""
        return bool(self.widenings)

    def as_plain(self) -> Plain:
        """Write the difference as plain values for JSON.

        Returns:
            Whether it is wider, and each change with its witness.
        """

        def listed(changes: tuple[Widening, ...]) -> list[Plain]:
            return [
                {"topic": change.topic, "message": change.message, "witness": change.witness}
                for change in changes
            ]

        return {
            "wider": self.is_wider,
            "widenings": listed(self.widenings),
            "narrowings": listed(self.narrowings),
        }


def diff(first: Policy, second: Policy, commands: Sequence[CommandFacts]) -> Difference:
    """Compare two policies by what they allow.

    Args:
        first: The policy as it was.
        second: The policy as it would be.
        commands: The commands that exist.

    Returns:
        What the second allows more and less.
    """
    return Difference(
        widenings=tuple(_widenings(first, second, commands)),
        narrowings=tuple(_turned(change) for change in _widenings(second, first, commands)),
    )


def _widenings(old: Policy, new: Policy, commands: Sequence[CommandFacts]) -> Iterator[Widening]:
    if extra := new.grant.capabilities - old.grant.capabilities:
        names = ", ".join(f"`{name}`" for name in in_order(extra))
        yield Widening("grant", f"the grant holds {names} as well")
    work = Work()
    for found in action_widenings(old, new, commands, work):
        yield _action(found)
    yield from _files(old, new, commands, work)
    yield from _rules(old.network, new.network, exec_too=new.grant is Grant.NETWORK_EXEC)
    yield from _settings(old, new)
    yield from _outputs(old, new)
    yield from _limits(old, new)


def _action(found: Witnessed) -> Widening:
    return Widening("action", f"`{found.line}` was {found.before} and is {found.after}", found.line)


def _turned(change: Widening) -> Widening:
    """Tell a widening from the second policy to the first as what the second takes away."""
    message = f"taken away: {change.message}"
    if change.topic == "action":
        line, _, words = change.message.rpartition("` was ")
        after, _, before = words.rpartition(" and is ")
        message = f"{line}` was {before} and is {after}"
    elif change.topic == "limit":
        name, _, numbers = change.message.partition(" grows from ")
        least, _, most = numbers.partition(" to ")
        message = f"{name} falls from {most} to {least}"
    return Widening(change.topic, message, change.witness)


def _files(old: Policy, new: Policy, commands: Sequence[CommandFacts], work: Work) -> Iterator[Widening]:
    before, after = old.files, new.files
    if before is None or after is None:
        return
    if ACCESS.index(after.access) > ACCESS.index(before.access):
        yield Widening("file", f"the workspace is held as `{after.access}`, no longer as `{before.access}`")

    def shown(path: str, role: Literal["read", "write"]) -> str | None:
        return path_witness(old, new, commands, PathUse(path, role), work)

    for path, glob in _uncovered(_hiding(before), _hiding(after), work):
        yield Widening("file", f"what `{glob.text}` hides can be seen", shown(path, "read"))
    for glob in after.visible if after.hide_defaults else ():
        if before.hide_defaults and glob not in before.visible:
            path = example(glob_steps(glob.text)).lstrip("/")
            yield Widening("file", f"`{glob.text}` is made visible", shown(path, "read"))
    for path, glob in _uncovered(_protecting(before), _protecting(after), work):
        yield Widening("file", f"what `{glob.text}` protects can be written", shown(path, "write"))


def _hiding(block: FilesBlock) -> tuple[Glob, ...]:
    return (*block.hide, *(item.glob for item in default_paths("hide") if block.hide_defaults))


def _protecting(block: FilesBlock) -> tuple[Glob, ...]:
    return (*block.protect, *(item.glob for item in default_paths("protect") if block.protect_defaults))


def _uncovered(old: tuple[Glob, ...], new: tuple[Glob, ...], work: Work) -> Iterator[tuple[str, Glob]]:
    kept, asked = set(new), GlobSet(new)
    outer = [glob_steps(glob.text) for glob in new]
    for glob in old:
        if glob in kept:
            continue
        steps = glob_steps(glob.text)
        if asked.find(shown := example(steps).lstrip("/")) is None:
            yield shown, glob  # far cheaper than the walk, and true of most
        elif (path := witness(steps, outer, of="path", work=work)) is not None:
            yield path.lstrip("/"), glob


def _rules(old: NetworkBlock | None, new: NetworkBlock | None, *, exec_too: bool) -> Iterator[Widening]:
    def covered(rule: EgressRule, has: Callable[[EgressRule], bool]) -> bool:
        known = old.allow if old is not None else ()
        return any(has(was) and was.host.meet(rule.host) == rule.host for was in known)

    for rule in new.allow if new is not None else ():
        host, credential = rule.host.text, rule.credential
        if credential and not covered(rule, lambda was, name=credential: was.credential == name):  # type: ignore[misc]  # the default binds the loop's value
            yield Widening("setting", f"requests to `{host}` carry the credential `{credential}`")
        if rule.private and not covered(rule, lambda was: was.private):
            yield Widening("setting", f"`{host}` may be a private address")
        if rule.sink_pattern and not covered(rule, lambda was: was.sink_pattern):
            yield Widening("setting", f"a wildcard of the rule for `{host}` may choose where data goes")
        yield from _manner(rule, covered)
        if rule.data and not covered(rule, lambda was: was.data is not None):
            yield Widening("setting", f"what is read at `{host}` is declared public")
        was_unread = covered(rule, lambda was: not was.by_request) and not _is_read(rule, old, whole=False)
        if exec_too and new is not None and not _is_read(rule, new, whole=True) and not was_unread:
            yield Widening("setting", f"programs may use any method at `{host}`: its requests are not read")


def _is_read(rule: EgressRule, network: NetworkBlock | None, *, whole: bool) -> bool:
    """Tell whether requests to a rule's hosts are read: one rule that needs it has all of a host's read.

    Args:
        rule: The rule.
        network: All rules.
        whole: Whether all of the rule's hosts and ports have to be read, or any of them is enough.
    """
    if rule.by_request and whole:
        return True
    for other in network.allow if network is not None else ():
        met, ports = other.host.meet(rule.host), set(other.ports) & set(rule.ports)
        if other.by_request and (met == rule.host and ports == set(rule.ports) if whole else met and ports):
            return True
    return False


def _manner(rule: EgressRule, covered: Covered) -> Iterator[Widening]:
    host = rule.host.text
    if rule.protocol == "tcp" and not covered(rule, lambda was: was.protocol == "tcp"):
        yield Widening("setting", f"any bytes may go to `{host}`, not TLS and HTTP alone")
    if not rule.ask and covered(rule, lambda was: was.ask) and not covered(rule, lambda was: not was.ask):
        yield Widening("setting", f"requests to `{host}` need no approval any more")
    for name in type(rule.limits).model_fields:
        if _wider_limit(rule, name, covered):
            yield Widening("limit", f"`{name}` of the rule for `{host}` grows")


def _wider_limit(rule: EgressRule, name: str, covered: Covered) -> bool:
    """Tell whether every older rule for the host bounds what this one bounds less."""
    most = getattr(rule.limits, name)

    def bounded_less(was: EgressRule) -> bool:
        least = getattr(was.limits, name)
        return least is None or (most is not None and most <= least)

    return covered(rule, lambda _: True) and not covered(rule, bounded_less)


def _settings(old: Policy, new: Policy) -> Iterator[Widening]:
    if old.sinks == "strict" and new.sinks == "default":
        yield Widening("setting", "`sinks` is no longer `strict`")
    if RUNTIMES.index(new.isolation.runtime) > RUNTIMES.index(old.isolation.runtime):
        yield Widening(
            "setting", f"the runtime is `{new.isolation.runtime}`, no longer `{old.isolation.runtime}`"
        )
    if old.exec is not None and new.exec is not None and old.exec.image != new.exec.image:
        yield Widening("setting", f"programs come from `{new.exec.image}`, no longer from `{old.exec.image}`")


def _outputs(old: Policy, new: Policy) -> Iterator[Widening]:
    if new.outputs is not None and new.outputs != old.outputs:
        yield Widening("setting", f"the folder `{new.outputs}` is kept at the end of a session")


def _limits(old: Policy, new: Policy) -> Iterator[Widening]:
    pairs: list[tuple[str, BaseModel | None, BaseModel | None]] = [
        ("budget", old.budget, new.budget),
        ("isolation", old.isolation, new.isolation),
        ("files.limits", old.files and old.files.limits, new.files and new.files.limits),
        ("network.limits", old.network and old.network.limits, new.network and new.network.limits),
    ]
    for block, before, after in pairs:
        if before is None or after is None:
            continue
        for name in type(before).model_fields:
            least, most = getattr(before, name), getattr(after, name)
            if isinstance(most, int | float) and most > least:
                shown = (getattr(value, "text", f"{value:g}") for value in (least, most))
                yield Widening("limit", "`{}.{}` grows from `{}` to `{}`".format(block, name, *shown))
