"""What is kept of a session without `files`, when something is in the way of it; a real guest serves it."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import pytest

from agent_runner.discarding import discard_outputs, discard_stage
from agent_runner.errors import InvalidInputError
from agent_runner.leftovers import _outputs
from agent_runner.lineage import labels_of
from agent_runner.meta import Meta, write_meta
from agent_runner.outputs import keep_outputs, output_names, put_in, tidy_outputs
from audit.state import SessionFiles, StateFiles
from policies.source import parse_policy
from sandbox.limits import Limits
from sandbox.session import Sandbox
from sandbox.stage.errors import StageError
from sandbox.workspace import identity_of
from tests.sandbox.guest.launch import running

if TYPE_CHECKING:
    from agent_runner.outputs import KeptOutputs
    from sandbox.guest.objects import Object
    from sandbox.link_call import CallResult
    from sandbox.spec import ContainerSpec
    from tests.agent_runner.stand import Stand

POLICY = parse_policy("version: 1\nname: x\ngrant: [exec]\noutputs: out\nexec: {programs: any}\n", origin="x")


@pytest.fixture
def session(stand: Stand) -> SessionFiles:
    files = StateFiles(stand.state).session("0123456789ab")
    files.folder.mkdir(parents=True, mode=0o700)
    meta = Meta(
        session="0123456789ab", policy="x", policy_origin="x", policy_digest=POLICY.digest, grant="exec",
        workspace=None, model="scripted:x", started="2026-01-01T00:00:00+00:00", process=os.getpid(),
    )  # fmt: skip
    write_meta(files.folder, meta, POLICY.as_yaml())
    return files


def left(stand: Stand, files: dict[str, str]) -> None:
    """Let the agent leave these."""
    for path, text in files.items():
        target = stand.folder / "out" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)


class Lying(Sandbox):
    """A sandbox whose guest was taken over and lists what it likes."""

    async def call(self, operation: str, arguments: Object, *, body: bytes | None = None) -> CallResult:
        """Answer a list with lines of its own."""
        reply = await super().call(operation, arguments, body=body)
        if operation == "files.list":
            good = json.dumps({"path": "good", "kind": "file", "mode": 0o644}).encode()
            bad = (b"{", b"[]", b'"x"', b"{}", b'{"path": "../up", "kind": "file"}', b"[" * 100_000)
            return replace(reply, body=b"\n".join((*bad, good)))
        return reply


def keep(
    stand: Stand, session: SessionFiles, *, scratch_bytes: int = 10_000_000, kind: type[Sandbox] = Sandbox
) -> KeptOutputs | None:
    async def kept() -> KeptOutputs | None:
        async with running(stand.folder) as guest:
            sandbox = kind(
                spec=cast("ContainerSpec", None), container_id="", limits=Limits(scratch_bytes=scratch_bytes),
                evidence=(), link=guest.link, started_seconds=0.0,
            )  # fmt: skip
            return await keep_outputs(sandbox, POLICY, session.folder, stand.state)

    return asyncio.run(kept())


def test_a_file_that_cannot_be_read_leaves_nothing_and_the_others_are_kept(
    stand: Stand, session: SessionFiles
) -> None:
    left(stand, {"a": "kept\n", "closed": "x"})

    (stand.folder / "out/closed").chmod(0)

    kept = keep(stand, session)

    assert kept is not None
    assert output_names(session) == ("a",)
    assert (kept.files, kept.content_bytes, len(kept.left_out)) == (1, 5, 1)


def test_a_file_past_the_limit_is_left_out_whole_and_smaller_ones_still_fit(
    stand: Stand, session: SessionFiles
) -> None:
    left(stand, {"a": "x" * 2_000_000, "b": "small\n"})

    kept = keep(stand, session, scratch_bytes=1_500_000)

    assert kept is not None
    assert output_names(session) == ("b",)
    assert (kept.files, kept.content_bytes) == (1, 6)
    assert kept.left_out == ("a: left out: the outputs hold more than 1500000 bytes",)


def test_a_list_that_is_no_list_of_files_keeps_what_can_be_kept(stand: Stand, session: SessionFiles) -> None:
    """A guest that was taken over may say anything; each bad line is told."""
    left(stand, {"good": "g"})

    kept = keep(stand, session, kind=Lying)

    assert kept is not None
    assert output_names(session) == ("good",)
    assert len(kept.left_out) == 6


def test_what_was_kept_before_stays_until_the_new_is_whole(stand: Stand, session: SessionFiles) -> None:
    """A resumed session that makes no outputs, or whose runner is killed meanwhile, loses none."""
    left(stand, {"first": "1"})
    keep(stand, session)
    (stand.folder / "out").rename(stand.folder / "elsewhere")
    none = keep(stand, session)
    after_none = output_names(session)
    (session.folder / "outputs.new").mkdir()
    (session.folder / "outputs").rename(session.folder / "outputs.old")
    tidy_outputs(session.folder)
    after_kill = output_names(session)
    left(stand, {"second": "2"})
    keep(stand, session)

    assert none is None
    assert after_none == after_kill == ("first",)
    assert output_names(session) == ("second",)
    assert [path.name for path in session.folder.glob("outputs*")] == ["outputs"]
    label = labels_of(stand.state).read(identity_of(session.folder / "outputs"))
    assert [part.session for part in label.contributions] == ["0123456789ab"]


def test_outputs_that_wait_for_a_review_are_not_put_in_elsewhere(stand: Stand, session: SessionFiles) -> None:
    """What waits is taken or discarded by a person first, which is an entry; then it goes elsewhere."""
    left(stand, {"a": "1"})
    keep(stand, session)
    one, other = stand.place / "one", stand.place / "other"
    one.mkdir()
    other.mkdir()

    put_in(session, stand.state, one)
    with pytest.raises(InvalidInputError) as refused:
        put_in(session, stand.state, other)
    discard_stage(session, stand.state)

    assert refused.value.args[0] == f"its outputs wait for a review in `{one}`"
    assert put_in(session, stand.state, other) == 1


@pytest.mark.parametrize("unreviewed", [False, True])
def test_clean_lists_kept_outputs_and_removes_them_when_asked(
    stand: Stand, session: SessionFiles, *, unreviewed: bool
) -> None:
    left(stand, {"a": "1"})
    keep(stand, session)
    (session.folder / "outputs.new").mkdir()

    async def clean() -> list[tuple[str, bool]]:
        told = []
        for leftover in _outputs(stand.state, session.folder, unreviewed=unreviewed):
            told.append((leftover.name, bool(leftover.kept)))
            if not leftover.kept:
                assert await leftover.remove() is None
        return told

    told = asyncio.run(clean())

    assert told == [
        ("the unfinished outputs of session 0123456789ab", False),
        ("the outputs of session 0123456789ab", not unreviewed),
    ]
    assert output_names(session) == (() if unreviewed else ("a",))
    assert not (session.folder / "outputs.new").exists()


def test_a_person_discards_outputs_with_or_without_a_stage_of_them(
    stand: Stand, session: SessionFiles
) -> None:
    left(stand, {"a": "1"})
    keep(stand, session)

    alone = discard_outputs(session, stand.state)
    keep(stand, session)
    (stand.place / "one").mkdir()
    put_in(session, stand.state, stand.place / "one")
    both = discard_outputs(session, stand.state)

    assert (alone, both) == ((0, 1), (1, 1))
    assert output_names(session) == ()
    with pytest.raises(StageError):
        discard_outputs(session, stand.state)
