"""What has to hold between the blocks of a policy; `check` reports what is lawful but unwise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from policies.capability import Capability
from policies.errors import Problem, RuleAt
from policies.grant import Grant
from policies.urls import READING
from policies.wording import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from policies.network_block import EgressRule
    from policies.policy import Policy

BLOCKS: Final = {"files": Capability.FILES, "network": Capability.NETWORK, "exec": Capability.EXEC}
_BOUNDS: Final = (
    ("isolation", "memory", 32 * 2**20, 2**40, "32MiB to 1TiB"),
    ("isolation", "scratch", 2**20, 2**40, "1MiB to 1TiB"),
    ("isolation", "cpus", 0.1, 1024, "0.1 to 1024"),
    ("isolation", "processes", 8, 32768, "8 to 32768"),
    ("budget", "turns", 1, 100_000, "1 to 100000"),
    ("budget", "tokens", 1, 10**12, "1 to 1000G"),
    ("budget", "input_tokens", 1, 10**12, "1 to 1000G"),
    ("budget", "output_tokens", 1, 10**12, "1 to 1000G"),
    ("budget", "cached_tokens", 1, 10**12, "1 to 1000G"),
    ("budget", "actions", 1, 10**6, "1 to 1M"),
    ("budget", "cost_usd", 0, 100_000, "0 to 100000"),
    ("budget", "wall_time", 1, 30 * 86400, "1s to 30d"),
)


def reads_with_credential(rule: EgressRule) -> bool:
    """Tell whether a rule reads what may be private, by means of a credential.

    Args:
        rule: An egress rule.

    Returns:
        True unless there is no credential, the data is public, or it only writes to a fixed sink.
    """
    if rule.credential is None or rule.data == "public":
        return False
    fixed = not rule.host.is_wild and bool(rule.paths) and not any(path.is_wild for path in rule.paths or ())
    only_writes = bool(rule.effective_methods) and not rule.effective_methods & (READING | {"OPTIONS"})
    return not (only_writes and fixed)


def private_reads(policy: Policy) -> tuple[EgressRule, ...]:
    """List the egress rules that count as `files`.

    Args:
        policy: A policy.

    Returns:
        The rules that read with a credential what is not declared public.
    """
    rules = policy.network.allow if policy.network else ()
    return tuple(rule for rule in rules if reads_with_credential(rule))


def unlawful(policy: Policy) -> list[Problem]:
    """Find what contradicts itself, or the rule.

    Args:
        policy: A policy as validated, blocks still as written.

    Returns:
        The problems, each at the setting that has to change.
    """
    return [
        *_blocks(policy),
        *_bounds(policy),
        *_files(policy),
        *_network(policy),
        *_commands(policy),
        *_outputs(policy),
        *_expectations(policy),
    ]


def _at(policy: Policy, key: str) -> RuleAt:
    return policy.place(key) or policy.place("version") or RuleAt(policy.name, 1, 1)


def _blocks(policy: Policy) -> Iterator[Problem]:
    for block, capability in BLOCKS.items():
        if getattr(policy, block) is not None and not policy.grant.holds(capability):
            yield Problem(
                _at(policy, block),
                f"block `{block}` stands here, but the grant is `{policy.grant.label}`",
                f"add `{block}` to `grant`, or remove the block",
            )


def _bounds(policy: Policy) -> Iterator[Problem]:
    for block, key, least, most, words in _BOUNDS:
        value = getattr(getattr(policy, block), key)
        if not least <= value <= most:
            shown = value.text if hasattr(value, "text") else value
            yield Problem(
                _at(policy, f"{block}.{key}"), f"`{block}.{key}` is {quoted(shown)}; expected {words}"
            )


def _files(policy: Policy) -> Iterator[Problem]:
    files = policy.files
    if files is None:
        return
    if files.visible and not files.hide_defaults:
        yield Problem(
            _at(policy, "files.visible"),
            "`visible` makes exceptions from defaults that `hide_defaults: false` turns off",
            "remove one of the two",
        )
    guarded = files.hide or files.protect or files.hide_defaults or files.protect_defaults
    if files.access == "direct" and policy.grant.holds(Capability.EXEC) and guarded:
        yield Problem(
            _at(policy, "files.access"),
            "`access: direct` with `exec` cannot keep `hide` or `protect`: programs write as they like",
            "use `access: stage`; or empty both lists and write `hide_defaults: false` and "
            "`protect_defaults: false`",
        )


def _network(policy: Policy) -> Iterator[Problem]:
    for index, rule in enumerate(policy.network.allow if policy.network else ()):
        at = rule.at or _at(policy, f"network.allow.{index}")
        if not rule.ports or any(not 1 <= port <= 65535 for port in rule.ports):
            yield Problem(
                at, f"ports {quoted(rule.ports)} of `{rule.host.text}`; expected numbers from 1 to 65535"
            )
        for key in ("methods", "paths"):
            if getattr(rule, key) == ():
                yield Problem(
                    at, f"`{key}: []` of `{rule.host.text}` allows nothing", f"remove the rule, or name {key}"
                )
        if rule.protocol == "tcp" and rule.by_request:
            yield Problem(
                at,
                f"`protocol: tcp` of `{rule.host.text}` lets any bytes through: nobody reads its requests",
                "leave `protocol` out, or `methods`, `paths` and `credential`",
            )
    if policy.grant is not Grant.NETWORK_EXEC:
        return
    for rule in private_reads(policy):
        yield Problem(
            rule.at or _at(policy, "network"),
            f"reading `{rule.host.text}` with credential `{rule.credential}` counts as `files`: "
            "together with `network` and `exec` that makes three",
            "write `data: public` if what it reads is not private, or leave the credential out",
        )
    if policy.exec is not None and policy.exec.contents != "public":
        yield Problem(
            _at(policy, "exec.image"),
            f"image `{policy.exec.image}` of a session with `network` and `exec` is not declared public",
            "write `contents: public` if nothing in the image is private",
        )


def _commands(policy: Policy) -> Iterator[Problem]:
    for rule in policy.commands.rules:
        at = rule.at or _at(policy, "commands.rules")
        if not rule.arguments and not rule.sink_pattern and rule.max_calls is None:
            yield Problem(
                at, f"the rule for `{rule.command.text}` bounds nothing", "add `arguments:` or `max_calls:`"
            )
        for name, values in (*rule.arguments.items(), *rule.sink_pattern.items()):
            if not values:
                yield Problem(
                    at,
                    f"argument {quoted(name)} has an empty list, so that no call is allowed",
                    "name values",
                )


def _outputs(policy: Policy) -> Iterator[Problem]:
    if policy.outputs is not None and policy.grant.holds(Capability.FILES):
        yield Problem(
            _at(policy, "outputs"),
            f"`outputs` stands here, but the grant is `{policy.grant.label}`",
            "remove it: with `files` the changes of the workspace are what is left to review",
        )


def _expectations(policy: Policy) -> Iterator[Problem]:
    for index, item in enumerate(policy.expect):
        at = _at(policy, f"expect.{index}")
        if sum(line is not None for line in (item.allow, item.ask, item.deny)) != 1:
            yield Problem(
                at, "an expectation has one of `allow`, `ask`, `deny`", "as in `- deny: http get https://…`"
            )
        elif item.because is not None and item.deny is None:
            yield Problem(at, "`because` belongs to `deny`", "remove it")
