"""List the images that pairlock made, that sessions have used, and that trusted policies name."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import orjson

from agent_runner.errors import RunnerError
from agent_runner.images.agents import find_agent
from agent_runner.images.dockerfile import current_digest
from agent_runner.images.manifests import digest_of, find_manifests
from agent_runner.policy_file import parse_file
from audit.host_event import PolicyDistrusted, PolicyTrusted
from audit.index import read_index
from audit.segments import Lines
from audit.state import StateFiles
from policies.errors import PolicyError
from sandbox.runtime.images import EMPTY_TAG, STARTER_TAG, starter_is_current
from sandbox.runtime.node import NODE_TAG
from sandbox.runtime.record import RecordFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent_runner.images.manifests import Manifest
    from sandbox.docker_engine import DockerEngine
    from sandbox.runtime.record import EngineRecord, MadeImage

AGENT: Final = "pairlock/agent-"
Kind = Literal["empty", "starter", "project", "agent", "used", "policy"]
Newest = Literal["yes", "no", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One image."""

    name: str
    kind: Kind
    """Who asked for it: `used` by a session, named by a trusted `policy`; the others pairlock made."""
    image: str
    """The engine's id; empty when the engine does not have it."""
    repository_digest: str
    """What a registry calls it; empty for one that was made here."""
    size_bytes: int
    created: str
    contents: str
    """What it was made of; empty where that is not known."""
    newest: Newest
    """Whether the next build, or the name itself, would give the same image."""

    def as_mapping(self) -> dict[str, object]:
        """Return the row as JSON has it."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What is known of an image before the engine is asked."""

    name: str
    kind: Kind
    image: str = ""
    """Its id, where the name alone does not decide."""
    contents: str = ""
    newest: Newest = "unknown"


async def list_images(engine: DockerEngine, state: Path) -> tuple[Row, ...]:
    """Return every image that is ours, was used, or is named by a policy that a person trusts.

    Raises:
        sandbox.errors.SandboxError: When the engine does not answer.
        audit.errors.BrokenLedgerError: When the host's log does not verify.
    """
    record = RecordFile(state, await engine.engine_id()).read()
    found = {
        known.name.removesuffix(":latest"): known
        for known in (*_named_by_policies(state), *_used(record), *_own(record))  # the last one wins
    }
    return tuple([await _row(engine, known) for known in sorted(found.values(), key=_order)])


def _order(known: _Known) -> tuple[bool, str]:
    return known.kind in ("used", "policy"), known.name


def _own(record: EngineRecord) -> Iterator[_Known]:
    if record.empty:
        yield _Known(name=EMPTY_TAG, kind="empty", image=record.empty, contents="nothing", newest="yes")
    if record.starter:
        newest: Newest = "yes" if starter_is_current(record.starter) else "no"
        yield _Known(
            name=STARTER_TAG,
            kind="starter",
            image=record.starter.name,
            contents="this machine's programs",
            newest=newest,
        )
    if record.node:
        yield _Known(
            name=NODE_TAG, kind="starter", image=record.node.name, contents="the starter and Node.js"
        )
    for made in record.made:
        kind: Kind = "agent" if made.name.startswith(AGENT) else "project"
        yield _Known(
            name=made.name,
            kind=kind,
            image=made.image,
            contents=f"{made.source}: {made.made_of}",
            newest=_newest(made, kind),
        )


def _used(record: EngineRecord) -> Iterator[_Known]:
    for known in record.known:
        yield _Known(name=known.reference, kind="used", image=known.image)


async def _row(engine: DockerEngine, known: _Known) -> Row:
    """Ask the engine by id for what we made, by name for the rest, whose name may have moved since."""
    by_name = known.kind in ("used", "policy")
    details = await engine.image_details(known.name if by_name else known.image)
    newest = known.newest
    if details is not None and known.kind == "used":
        newest = "yes" if details.image_id == known.image else "no"
    return Row(
        name=known.name,
        kind=known.kind,
        image=details.image_id if details else "",
        repository_digest="".join(details.repository_digests[:1]) if details else "",
        size_bytes=details.size_bytes if details else 0,
        created=details.created if details else "",
        contents=known.contents,
        newest=newest if details else "no",
    )


def _newest(made: MadeImage, kind: Kind) -> Newest:
    """Say whether the manifests are still those that the image was made of."""
    manifests: tuple[Manifest, ...]
    try:
        if not made.base:
            return "yes" if current_digest(Path(made.source)) == made.made_of_digest else "no"
        if kind == "agent":
            manifests = (find_agent(made.name.removeprefix(AGENT).partition(":")[0]).manifest(),)
        else:
            manifests = find_manifests(Path(made.source))
    except (RunnerError, OSError):
        return "unknown"
    return "yes" if digest_of(manifests) == made.made_of_digest else "no"


def _named_by_policies(state: Path) -> Iterator[_Known]:
    """Give the images of trusted policies, each with the policies that name it."""
    found: dict[str, list[str]] = {}
    for origin in _trusted_policies(state):
        try:
            policy = parse_file(Path(origin))
        except (RunnerError, PolicyError, OSError):
            continue  # moved, changed or gone: `pairlock policy check` says what is wrong with it
        if policy.exec is not None:
            found.setdefault(policy.exec.image, []).append(origin)
    for name, origins in found.items():
        yield _Known(name=name, kind="policy", contents=f"named by {', '.join(sorted(origins))}")


def _trusted_policies(state: Path) -> tuple[str, ...]:
    """Return where trusted policies lie, as the host's log has it; the last word on each digest counts."""
    files = StateFiles(state)
    if not files.log.exists():
        return ()
    index = read_index(files)
    if index.broken is not None:
        raise index.broken
    trusted: dict[str, str] = {}
    for line in Lines([files.log]):
        entry = orjson.loads(line)
        body = entry["body"]
        if entry["type"] == PolicyTrusted.kind and isinstance(body.get("origin"), str):
            trusted[str(body["digest"])] = body["origin"]
        elif entry["type"] == PolicyDistrusted.kind:
            trusted.pop(str(body.get("digest")), None)
    return tuple(dict.fromkeys(trusted.values()))
