"""Say in plain words what an agent can and cannot do, what is left possible, and what bounds it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from policies.capability import Capability
from policies.grant import Grant
from policies.lawful import private_reads
from policies.lint_commands import callable_commands
from policies.package_data import default_paths
from policies.wording import listed, wrapped

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from policies.canonical import Plain
    from policies.facts import ArgumentFacts, CommandFacts
    from policies.network_block import EgressRule
    from policies.policy import Policy

_LEFT: Final = {
    Grant.NONE: ("nothing but its own answer",),
    Grant.FILES: ("misread or misquote what it saw; its answer reaches you and the model's operator",),
    Grant.NETWORK: ("carry what you typed, and what one host said, to another allowed host",),
    Grant.EXEC: ("use up the processor, memory and time that the budget gives",),
    Grant.FILES_NETWORK: (
        "read a secret that is not hidden and carry it out to an allowed host, be it only in an address",
        "all of the lethal trifecta is there: private data, untrusted content and a way out",
        "be talked into that by a page, mail or file that it reads",
    ),
    Grant.FILES_EXEC: (
        "spoil the workspace's staged copy",
        "leave in it what you or your CI run later, a Makefile, a test: a review points it out",
    ),
    Grant.NETWORK_EXEC: (
        "attack or scan what it can reach, with code that it fetched",
        "send what it fetched from one allowed host to another",
    ),
}


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what belongs under it.

    Attributes:
        title: The heading, without punctuation.
        lines: Sentences or phrases, in order.
    """

    title: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """A policy in plain words.

    Attributes:
        name: The policy's name.
        sections: What it can, cannot, what is left, what bounds it, where data can go, and what is not bound.
    """

    name: str
    sections: tuple[Section, ...]

    def text(self, *, width: int = 100) -> str:
        """Write the explanation for a terminal.

        Args:
            width: The longest line, in characters.

        Returns:
            Text with a heading and dashes for each section.
        """
        blocks = (
            "\n".join((section.title, *(wrapped(line, "  - ", width=width) for line in section.lines), ""))
            for section in self.sections
        )
        return "\n".join(blocks)

    def as_plain(self) -> Plain:
        """Write the explanation as plain values for JSON.

        Returns:
            The name, and each section's title and lines.
        """
        sections: list[Plain] = [
            {"title": section.title, "lines": [*section.lines]} for section in self.sections
        ]
        return {"name": self.name, "sections": sections}


def explain(policy: Policy, commands: Sequence[CommandFacts]) -> Explanation:
    """Explain a policy.

    Args:
        policy: A resolved policy.
        commands: The commands that exist.

    Returns:
        The explanation.
    """
    sections = (
        Section("An agent under this policy can", tuple(_can(policy, commands))),
        Section("It cannot", tuple(_cannot(policy))),
        Section("What is left possible", (*_LEFT[policy.grant], *_left(policy))),
        Section("What bounds that", tuple(_bounds(policy))),
        Section("Where data can go", tuple(_destinations(policy, commands))),
        Section("What no rule here holds", tuple(_not_held(policy))),
    )
    return Explanation(policy.name, tuple(section for section in sections if section.lines))


def _can(policy: Policy, commands: Sequence[CommandFacts]) -> Iterator[str]:
    if policy.files is not None:
        words = {
            "read": "read the workspace, without writing to it",
            "stage": "read the workspace and change a staged copy; nothing is applied before a review",
            "direct": "read the workspace and change it at once, without a review",
        }
        yield words[policy.files.access]
    if policy.exec is not None:
        programs = policy.exec.programs
        named = "any program" if programs.any_program else listed(programs.names)
        yield f"start {named} of the image `{policy.exec.image}`, with whatever program text it writes"
    for rule in policy.network.allow if policy.network else ():
        yield f"ask {_host(policy, rule)}"
    asked = policy.commands.ask
    can_call = callable_commands(policy, commands)
    free = [facts.name for facts in can_call if not any(pattern.matches(facts.path) for pattern in asked)]
    yield f"call {listed(free)}"
    if with_approval := [facts.name for facts in can_call if facts.name not in free]:
        yield f"call {listed(with_approval)}, each time with a person's approval; headless that is a denial"


def _host(policy: Policy, rule: EgressRule) -> str:
    read = rule.by_request or policy.grant is not Grant.NETWORK_EXEC
    methods = listed(sorted(rule.effective_methods)) if read else "any method (its requests are not read)"
    paths = f" at {listed(path.text for path in rule.paths)}" if rule.paths is not None else ""
    ports = f" on port {listed(rule.ports)}" if rule.ports != (443,) else ""
    credential = f", with the credential `{rule.credential}`, which it never sees" if rule.credential else ""
    how = "any bytes at all" if rule.protocol == "tcp" else methods
    asked = ", each time with a person's approval; headless that is a denial" if rule.ask else ""
    return f"`{rule.host.text}`{ports} with {how}{paths}{credential}{asked}"


def _cannot(policy: Policy) -> Iterator[str]:
    if not policy.grant.holds(Capability.FILES):
        yield "see any file of yours: it has a private scratch folder, gone at the end"
    if not policy.grant.holds(Capability.NETWORK):
        yield "reach any network: there is no proxy, no route and no name resolution"
    if not policy.grant.holds(Capability.EXEC):
        yield "start any program: the kernel refuses it, and the image is empty"
    if policy.files is not None:
        hidden = len(policy.files.hide) + (len(default_paths("hide")) if policy.files.hide_defaults else 0)
        guards = len(default_paths("protect")) if policy.files.protect_defaults else 0
        yield f"see what {hidden} patterns hide: secrets' usual places, and `files.hide`"
        protected = len(policy.files.protect) + guards
        what = "what the host runs or obeys later, and `files.protect`"
        yield f"have changes applied to what {protected} patterns protect: {what}"
    yield "gain a capability: no approval, flag, resume or child adds one"


def _left(policy: Policy) -> Iterator[str]:
    if policy.files is not None and policy.files.access == "direct":
        yield "change your files at once: `access: direct` has no review"
    if policy.files is not None and not policy.files.hide_defaults:
        yield "read the usual places of secrets: `hide_defaults` is off"
    for rule in private_reads(policy):
        yield f"read what is private at `{rule.host.text}` with `{rule.credential}`: that counts as files"
    for rule in policy.network.allow if policy.network else ():
        if rule.data == "public":
            yield f"read at `{rule.host.text}` what is declared public; nobody checks that it is"
        if rule.private:
            yield f"reach private addresses under the name `{rule.host.text}`"


def _bounds(policy: Policy) -> Iterator[str]:
    budget, isolation = policy.budget, policy.isolation
    yield (
        f"{int(budget.turns)} turns, {int(budget.tokens):,} tokens, {budget.cost_usd:g} US dollars and "
        f"{budget.wall_time.text} of time"
    )
    yield (
        f"{isolation.memory.text} of memory, {isolation.cpus:g} processors, "
        f"{int(isolation.processes)} processes, {isolation.scratch.text} of scratch"
    )
    if policy.network is not None:
        limits = policy.network.limits
        sent, received = limits.sent_bytes.text, limits.received_bytes.text
        yield f"{sent} sent, {received} received, {int(limits.requests)} requests in all"
    if policy.files is not None and policy.files.access != "read":
        limits_of_files = policy.files.limits
        most = int(limits_of_files.written_files)
        yield f"{limits_of_files.written_bytes.text} written, in at most {most} files"
    for rule in policy.commands.rules:
        if rule.max_calls is not None:
            yield f"`{rule.command.text}` at most {int(rule.max_calls)} times"


def _destinations(policy: Policy, commands: Sequence[CommandFacts]) -> Iterator[str]:
    for rule in policy.network.allow if policy.network else ():
        if rule.host.is_wild or rule.unfixed == "all":
            accepted, asked = "a wildcard that is accepted in writing", "the task's own words, or a person"
            fixed = accepted if rule.sink_pattern else asked
            hosts = f"hosts below `{rule.host.text[2:]}`" if rule.host.is_wild else f"`{rule.host.text}`"
            yield f"{hosts}: fixed by {fixed}"
        else:
            yield f"`{rule.host.text}`: fixed by the rule at {rule.at or 'the policy'}"
    for facts in callable_commands(policy, commands):
        for argument in facts.sinks:
            yield f"`{facts.name} --{argument.name}`: fixed by {_fixed_by(policy, facts, argument)}"


def _fixed_by(policy: Policy, facts: CommandFacts, argument: ArgumentFacts) -> str:
    for rule in policy.commands.fixing:
        if not rule.command.matches(facts.path):
            continue
        if values := rule.sink_pattern.get(argument.name):
            return f"the patterns {listed(value.text for value in values)}"
        exact = [value.text for value in rule.arguments.get(argument.name, ()) if not value.is_wild]
        if exact:
            return f"the rule at {rule.at}: {listed(exact)}"
    pair = policy.grant is Grant.FILES_NETWORK or policy.sinks == "strict" or policy.reads_private
    nothing = "nothing: sinks are checked with files and network"
    return "the task's own words, or a person's approval" if pair else nothing


def _of_written_files(policy: Policy) -> Iterator[str]:
    match policy.files.access if policy.files is not None else "read":
        case "stage":
            yield (
                "what programs write is watched by the host, which ends a session that passes its limit; "
                "by then it has passed it by what the disk takes in a quarter of a second"
            )
        case "direct":
            yield "programs write the workspace itself; they have unix sockets in pairs only"


def _not_held(policy: Policy) -> Iterator[str]:
    if policy.grant.holds(Capability.EXEC):
        yield (
            "`programs`, `ask`, `rules` and `max_calls` steer the model but bind no program that it starts; "
            "the stage, the egress gate and the kernel do"
        )
        yield from _of_written_files(policy)
    yield "what the agent reads, the model's operator can read"
    yield "two of three capabilities reduce what an injected instruction can do; they do not recognise one"
