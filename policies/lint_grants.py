"""Findings about the grant, the workspace and the image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from policies.capability import Capability
from policies.containment import Work, example, glob_steps, witness
from policies.exec_block import STARTER
from policies.finding import Finding
from policies.lint_commands import callable_commands
from policies.package_data import default_globs, default_paths
from policies.wording import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from policies.facts import CommandFacts
    from policies.globs import Glob
    from policies.package_data import Reasoned
    from policies.policy import Policy


def grant_findings(policy: Policy, commands: Sequence[CommandFacts]) -> Iterator[Finding]:
    """Find what is wider than need be.

    Args:
        policy: A resolved policy.
        commands: The commands that exist.

    Yields:
        The findings.
    """
    yield from _unused(policy, commands)
    yield from _files(policy)
    yield from _exec(policy, commands)


def _unused(policy: Policy, commands: Sequence[CommandFacts]) -> Iterator[Finding]:
    can_call = callable_commands(policy, commands)
    used = frozenset[Capability]().union(*(facts.needs for facts in can_call))
    if Capability.EXEC in used:
        if policy.network is not None and policy.network.allow:
            used |= {Capability.NETWORK}  # programs use the proxy
        used |= {Capability.FILES} & policy.grant.capabilities  # programs read and write
    for capability in Capability:
        if policy.grant.holds(capability) and capability not in used:
            what = f"the grant holds `{capability.value}`, which nothing that is allowed needs"
            yield Finding(
                "unused-capability", what, f"remove `{capability.value}` from `grant`", policy.place("grant")
            )


def _files(policy: Policy) -> Iterator[Finding]:
    files = policy.files
    if files is None:
        return
    if not files.hide_defaults:
        what = "the usual places of secrets are not hidden"
        hint = "remove `hide_defaults: false`; name exceptions in `visible:`"
        yield Finding("secrets-visible", what, hint, policy.place("files.hide_defaults"))
    for glob in files.visible:
        shown = next(
            (item for item in default_paths("hide") if glob.matches(item.glob.text.replace("*", "x"))), None
        )
        hidden = shown or default_globs("hide").find(glob.text.replace("**/", "").replace("*", "x"))
        why = (
            f"hidden by default{f': {shown.reason}' if shown else ''}" if hidden else "not hidden by default"
        )
        what = f"`visible` shows {quoted(glob.text)}, which is {why}"
        yield Finding("secrets-visible", what, "be sure that it holds no secret", glob.at)
    if files.hide_defaults:
        yield from _repeated("hide", files.hide, default_paths("hide"))
    if files.protect_defaults:
        yield from _repeated("protect", files.protect, default_paths("protect"))
    if not files.protect_defaults:
        what = "files that the host runs or obeys later can be written"
        yield Finding(
            "unprotected", what, "remove `protect_defaults: false`", policy.place("files.protect_defaults")
        )
    if files.access == "direct":
        what = "`access: direct` writes to the workspace at once, without a review, and labels it"
        yield Finding("direct-access", what, "use `access: stage`", policy.place("files.access"))


def _repeated(key: str, globs: tuple[Glob, ...], defaults: tuple[Reasoned, ...]) -> Iterator[Finding]:
    work = Work()
    for glob in globs:
        steps = glob_steps(glob.text)
        shown = example(steps).lstrip("/")
        near = (item for item in defaults if item.glob.matches(shown))  # the walk below takes milliseconds
        for item in near:
            if witness(steps, [glob_steps(item.glob.text)], of="path", work=work) is None:
                what = (
                    f"`{glob.text}` adds nothing to `{key}`: the default {quoted(item.glob.text)} covers it"
                )
                yield Finding("shadowed", what, "remove it", glob.at)
                break


def _exec(policy: Policy, commands: Sequence[CommandFacts]) -> Iterator[Finding]:
    block = policy.exec
    if block is None:
        return
    runs = any(Capability.EXEC in facts.needs for facts in callable_commands(policy, commands))
    if block.programs.names and not runs:
        what = "programs are listed, but no command that is allowed starts one"
        yield Finding("unused-rule", what, "allow `run`, or remove them", block.programs.at)
    if block.programs.any_program:
        what = "`programs: any` lets `run` start whatever the image holds"
        yield Finding("any-program", what, "list the programs, as in `[pytest, ruff]`", block.programs.at)
    for name in block.programs.names:
        if name == "any" or " " in name:
            what = f"`programs` lists {quoted(name)}, a program of just that name"
            hint = "`programs: any` means every program" if name == "any" else "name argv[0] alone"
            yield Finding("odd-program", what, hint, block.programs.at)
    if "@sha256:" not in block.image and block.image != STARTER:
        what = f"image `{block.image}` is named by a tag, which its registry can move"
        yield Finding(
            "image-by-tag",
            what,
            f"write `{block.image.partition(':')[0]}@sha256:…`",
            policy.place("exec.image"),
        )
