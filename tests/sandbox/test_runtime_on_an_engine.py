"""The runtime volume: built once, anew where it has to be, never one that somebody else made."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

import pytest

from sandbox.docker_engine import DockerEngine
from sandbox.runtime import volume as runtime_volume
from sandbox.runtime.cleaning import remove_built
from sandbox.runtime.images import ready_starter
from sandbox.runtime.record import RecordFile
from sandbox.runtime.volume import ready_runtime
from tests.sandbox.runtime_setting import Setting, Steps, connected

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

pytestmark = pytest.mark.engine


async def test_a_second_call_builds_nothing_and_says_nothing(setting: Setting) -> None:
    steps = Steps()
    async with connected() as engine:
        volume = await ready_runtime(engine, state=setting.state, progress=steps)
        starter = await ready_starter(engine, state=setting.state, progress=steps)

    assert (volume, starter.image) == (setting.volume, setting.starter)
    assert steps.messages == []


@pytest.mark.long
async def test_two_first_sessions_at_once_build_one_volume(setting: Setting, tmp_path: Path) -> None:
    async with connected() as engine:
        try:
            steps = Steps()
            both = await asyncio.gather(
                *(ready_runtime(engine, state=tmp_path, progress=steps) for _ in range(3))
            )
            record = RecordFile(tmp_path, await engine.engine_id()).read()
        finally:
            gone = await remove_built(engine, state=tmp_path, current=True)

    assert len({volume.name for volume in both}) == 1
    assert steps.messages.count("filling the runtime volume 0/0") == 1
    assert record.outdated_volumes == ()
    assert both[0].name in gone
    assert both[0].digest == setting.volume.digest


@pytest.mark.long
async def test_a_volume_made_beforehand_under_our_name_is_never_used(
    setting: Setting, tmp_path: Path
) -> None:
    """Attack B45: the digest can be guessed, the random part and our record cannot."""
    guessed = f"pairlock-runtime-{setting.volume.digest[:12]}"
    async with connected() as engine:
        for name in (guessed, f"{guessed}-{'0' * 16}"):
            await engine.create_volume(name, labels={"io.pairlock.kind": "runtime"})
        try:
            volume = await ready_runtime(engine, state=tmp_path, progress=Steps())
        finally:
            await remove_built(engine, state=tmp_path, current=True)
            for name in (guessed, f"{guessed}-{'0' * 16}"):
                await engine.remove_volume(name)

    assert volume.digest == setting.volume.digest
    assert volume.name.startswith(f"{guessed}-")
    assert volume.name not in {guessed, f"{guessed}-{'0' * 16}", setting.volume.name}


@pytest.mark.long
async def test_an_upgrade_of_the_machine_builds_anew_and_keeps_the_old_one_until_cleaning(
    tmp_path: Path,
) -> None:
    async with connected() as engine:
        try:
            first = await ready_runtime(engine, state=tmp_path, progress=Steps())
            file = RecordFile(tmp_path, await engine.engine_id())
            record = file.read()
            assert record.runtime is not None
            before_upgrade = record.runtime.model_copy(update={"fingerprint": "of an older interpreter"})
            file.write(record.model_copy(update={"runtime": before_upgrade}))

            second = await ready_runtime(engine, state=tmp_path, progress=Steps())

            assert second.name != first.name
            assert await engine.volume_exists(first.name)
            assert await remove_built(engine, state=tmp_path, current=False) == (first.name,)
            assert not await engine.volume_exists(first.name)
            assert await engine.volume_exists(second.name)
        finally:
            await remove_built(engine, state=tmp_path, current=True)


@pytest.mark.long
async def test_another_installation_with_the_same_state_folder_gets_a_guest_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are there, and neither has changed: the first one's guest may be of another version."""
    other = tmp_path / "other" / "guest"
    shutil.copytree(runtime_volume.GUEST, other)
    (other / "main.py").write_text((other / "main.py").read_text() + "\n")
    state = tmp_path / "state"
    async with connected() as engine:
        try:
            first = await ready_runtime(engine, state=state, progress=Steps())
            monkeypatch.setattr(runtime_volume, "GUEST", other)

            second = await ready_runtime(engine, state=state, progress=Steps())
            again = await ready_runtime(engine, state=state, progress=Steps())
        finally:
            await remove_built(engine, state=state, current=True)

    assert second.digest != first.digest
    assert again == second


@pytest.mark.long
async def test_a_volume_that_somebody_removed_is_built_anew(tmp_path: Path) -> None:
    async with connected() as engine:
        try:
            first = await ready_runtime(engine, state=tmp_path, progress=Steps())
            await engine.remove_volume(first.name)

            second = await ready_runtime(engine, state=tmp_path, progress=Steps())

            assert second.name != first.name
            assert second.digest == first.digest
        finally:
            await remove_built(engine, state=tmp_path, current=True)


@pytest.mark.long
async def test_a_volume_that_was_never_finished_is_not_used_and_is_found_by_cleaning(tmp_path: Path) -> None:
    class Interrupted(DockerEngine):
        """An engine whose connection breaks while the volume is filled."""

        created: str = ""

        async def create_volume(self, name: str, *, labels: Mapping[str, str]) -> None:
            self.created = name
            await super().create_volume(name, labels=labels)

        async def fill_volume(self, name: str, *, image: str, path: str, tar: Path) -> None:
            raise ConnectionResetError(name, image, path, tar)

    interrupted = await Interrupted.connect()
    assert isinstance(interrupted, Interrupted)
    try:
        with pytest.raises(ConnectionResetError):
            await ready_runtime(interrupted, state=tmp_path, progress=Steps())

        async with connected() as engine:
            whole = await ready_runtime(engine, state=tmp_path, progress=Steps())
            assert interrupted.created.startswith("pairlock-runtime-")
            assert whole.name != interrupted.created
            assert await remove_built(engine, state=tmp_path, current=False) == (interrupted.created,)
            assert not await engine.volume_exists(interrupted.created)
    finally:
        await remove_built(interrupted, state=tmp_path, current=True)
        await interrupted.close()
