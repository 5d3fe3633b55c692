"""Carry out `pairlock image build`: plan, show, build, tell. The options are in `image`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from agent_runner.cli.talk import Progress, say

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent_runner.images.making import Made
    from agent_runner.images.plan import Plan, Sources
    from agent_runner.images.registries import Kind


def planned(project: Path | None, agent: str | None, version: str, sources: Sources) -> Plan:
    """Return what the options ask for."""
    from agent_runner.errors import InvalidInputError
    from agent_runner.images.agents import find_agent
    from agent_runner.images.plan import plan_agent, plan_project

    if agent is not None:
        return plan_agent(find_agent(agent, version=version), sources)
    if version:
        raise InvalidInputError("`--agent-version` needs `--agent NAME`")
    return plan_project(project or Path(), sources)


def indexes(given: list[str]) -> Mapping[Kind, str]:
    """Read `KIND=URL`, or a URL alone, which is for pip."""
    from agent_runner.errors import InvalidInputError
    from agent_runner.images.registries import KINDS

    found: dict[Kind, str] = {}
    for text in given:
        word, equals, url = text.partition("=")
        kind = next((known for known in KINDS if equals and word == known), None)
        if kind is None and "://" not in word:
            raise InvalidInputError(
                f"`{text}` names no registry, expected `KIND=URL` with KIND one of {', '.join(KINDS)}"
            )
        found[kind or "pip"] = url if kind else text
    return found


def show(plan: Plan) -> None:
    """Show on stderr what the session will be given, and what it will reach."""
    from audit.escape import escape_line

    say(f"{plan.name} for {escape_line(plan.source)}")
    for manifest in plan.manifests:
        say(f"  sends    {escape_line(manifest.name)} ({len(manifest.content)} bytes)")
        for line in manifest.left_out:
            say(f"  without  {escape_line(line)}")
    for found in plan.registries:
        say(f"  {found.kind:<8} {escape_line(found.url)} ({found.source})")
    for host in plan.hosts:
        say(f"  reaches  {host.name}:{host.port}" + (f" (at {host.address})" if host.address else ""))
    say(f"  base     {escape_line(plan.base) if plan.base else 'programs of this machine'}")


async def build_starter(state: Path, *, as_json: bool) -> None:
    """Make the starter, and print its name and id."""
    import json

    from agent_runner.state_label import errands_of
    from sandbox.docker_engine import DockerEngine
    from sandbox.runtime.images import STARTER_TAG, ready_starter

    engine = await DockerEngine.connect(errands=errands_of(state))
    try:
        starter = await ready_starter(engine, state=state, progress=Progress())
    finally:
        await engine.close()
    if as_json:
        typer.echo(json.dumps({"name": STARTER_TAG, "image": starter.image, "digest": starter.digest}))
        return
    typer.echo(f"{STARTER_TAG}  {starter.image}")


async def build_planned(plan: Plan, state: Path, *, as_json: bool) -> None:
    """Make what was planned; where a step fails, say its last words first."""
    from agent_runner.cli.waiting import told_to_wait
    from agent_runner.images.making import BuildFailedError, make
    from audit.escape import escape_line

    try:
        async with told_to_wait():
            made = await make(plan, state=state, progress=Progress())
    except BuildFailedError as error:
        for line in error.last_words.splitlines():
            say(f"  {escape_line(line)}")
        raise
    _told(made, as_json=as_json)


async def build_dockerfile_of(project: Path, digest: str, state: Path, *, as_json: bool) -> None:
    """Build a project's Dockerfile of this digest, with a warning."""
    import json

    from agent_runner.images.dockerfile import build_dockerfile

    say(
        "warning: the Dockerfile's steps run as root in the engine's builder, with its network: in no sandbox"
    )
    made = await build_dockerfile(project, digest, state=state, progress=Progress())
    typer.echo(json.dumps(made.model_dump()) if as_json else f"{made.name}  {made.image}")


def _told(made: Made, *, as_json: bool) -> None:
    import json

    if as_json:
        programs = list(made.tree.programs)
        typer.echo(json.dumps({**made.image.model_dump(), "session": made.session, "programs": programs}))
        return
    say(
        f"{made.tree.entries} files and folders, {made.tree.content_bytes / 1e6:.1f} MB, "
        f"over {made.image.base}"
    )
    say(
        "in a policy: `exec: {image: "
        + made.image.name.removesuffix(":latest")
        + "}`, or the id, which never moves"
    )
    typer.echo(f"{made.image.name}  {made.image.image}")
