"""Say in plain words what an agent can and cannot do, what is left possible, and what bounds it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from policies.capability import Capability
from policies.explain_bounds import bounds
from policies.grant import Grant
from policies.lawful import private_reads
from policies.lint_commands import callable_commands
from policies.package_data import default_paths
from policies.wording import listed, quoted, wrapped

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from policies.canonical import Plain
    from policies.facts import ArgumentFacts, CommandFacts
    from policies.files_block import FilesBlock
    from policies.globs import Glob
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
        Section("What bounds that", tuple(bounds(policy))),
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
    if policy.exec is not None and (policy.exec.programs.any_program or policy.exec.programs.names):
        programs = policy.exec.programs
        named = "any program" if programs.any_program else listed(programs.names)
        yield f"start {named} of the image `{policy.exec.image}`, with whatever program text it writes"
    for rule in policy.network.allow if policy.network else ():
        yield f"ask {_host(policy, rule)}"
    if policy.outputs is not None:
        yield f"leave you the folder `{policy.outputs}` of its scratch folder, kept at the end of the session"
    asked = policy.commands.ask
    can_call = callable_commands(policy, commands)
    free = [facts.name for facts in can_call if not any(pattern.matches(facts.path) for pattern in asked)]
    yield f"call {listed(free)}"
    if with_approval := [facts.name for facts in can_call if facts.name not in free]:
        yield f"call {listed(with_approval)}, each time with a person's approval; headless that is a denial"


def _host(policy: Policy, rule: EgressRule) -> str:
    read = rule.by_request or policy.grant is not Grant.NETWORK_EXEC
    methods = listed(sorted(rule.effective_methods)) if read else "any method (its requests are not read)"
    groups = (f" at {listed(path.text for path in group)}" for group in rule.path_groups)
    paths = " and".join(groups)
    ports = f" on port {listed(rule.ports)}" if rule.ports != (443,) else ""
    credential = f", with the credential `{rule.credential}`, which it never sees" if rule.credential else ""
    how = "any bytes at all" if rule.protocol == "tcp" else methods
    asked = ", each time with a person's approval; headless that is a denial" if rule.ask else ""
    return f"`{rule.host.text}`{ports} with {how}{paths}{credential}{asked}"


def _cannot(policy: Policy) -> Iterator[str]:
    if not policy.grant.holds(Capability.FILES):
        kept = f", but for `{policy.outputs}`" if policy.outputs else ""
        yield f"see any file of yours: it has a private scratch folder, gone at the end{kept}"
    if not policy.grant.holds(Capability.NETWORK):
        yield "reach any network: there is no proxy, no route and no name resolution"
    elif policy.network is None or not any(rule.private for rule in policy.network.allow):
        yield "reach private, loopback, link-local and metadata addresses, by whatever name"
    if not policy.grant.holds(Capability.EXEC):
        yield "start any program: the kernel refuses it, and the image is empty"
    elif not policy.exec or not (policy.exec.programs.any_program or policy.exec.programs.names):
        image = f" of the image `{policy.exec.image}`" if policy.exec else ""
        yield f"start a program{image} by `run`: `exec.programs` names none"
    for pattern in policy.commands.deny:
        yield f"call `{pattern.text}`: `deny` wins over whatever allows it"
    for host in policy.network.deny if policy.network else ():
        yield f"reach `{host.text}`: `deny` wins over whatever allows it"
    if policy.files is not None:
        yield from _cannot_touch(policy.files)
    yield "gain a capability: no approval, flag, resume or child adds one"


def _cannot_touch(files: FilesBlock) -> Iterator[str]:
    if files.access == "read":
        yield "write, move or remove a file: `access` is `read`"
    secrets = f"secrets' usual places ({len(default_paths('hide'))} patterns)" if files.hide_defaults else ""
    if hidden := " and ".join(filter(None, (secrets, _globs(files.hide)))):
        yield f"see {hidden}"
    if files.access == "read":
        return
    later = f"what the host runs or obeys later ({len(default_paths('protect'))} patterns)"
    guards = (later if files.protect_defaults else "", _globs(files.protect))
    if protected := " and ".join(filter(None, guards)):
        yield f"have changes applied to {protected}"


def _globs(globs: tuple[Glob, ...]) -> str:
    return listed(glob.text for glob in globs) if globs else ""


def _left(policy: Policy) -> Iterator[str]:
    if policy.files is not None and policy.files.access == "direct":
        yield "change your files at once: `access: direct` has no review"
    if policy.files is not None and not policy.files.hide_defaults:
        yield "read the usual places of secrets: `hide_defaults` is off"
    for glob in policy.files.visible if policy.files else ():
        yield f"read {quoted(glob.text)}, a usual place of secrets: `visible` shows it"
    if policy.exec is not None and policy.exec.contents == "public":
        yield f"see what the image `{policy.exec.image}` holds; it is declared public, and nobody checks that"
    for rule in private_reads(policy):
        yield f"read what is private at `{rule.host.text}` with `{rule.credential}`: that counts as files"
    for rule in policy.network.allow if policy.network else ():
        if rule.data == "public":
            yield f"read at `{rule.host.text}` what is declared public; nobody checks that it is"
        if rule.private:
            yield f"reach private addresses under the name `{rule.host.text}`"


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
