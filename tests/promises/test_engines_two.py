"""Two engines of one machine share a state folder, and neither is believed to have what the other has."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from sandbox.docker_engine import DockerEngine
from sandbox.runtime.cleaning import remove_built
from sandbox.runtime.images import ready_empty
from sandbox.runtime.record import RecordFile
from tests.promises.second_engine import SecondEngine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def second() -> Iterator[SecondEngine]:
    """An engine beside the machine's; both have the id of `/etc/docker/key.json` where there is one."""
    with SecondEngine() as running:
        yield running


@pytest.mark.skipif(os.geteuid() != 0, reason="starting an engine takes root")
async def test_engines_with_one_id_have_a_record_each(second: SecondEngine, tmp_path: Path) -> None:
    here = await DockerEngine.connect()
    there = await DockerEngine.connect({"DOCKER_HOST": second.host})
    try:
        ids = [await engine.engine_id() for engine in (here, there)]
        images = [await ready_empty(engine, state=tmp_path, progress=_quiet) for engine in (here, there)]
        again = [await ready_empty(engine, state=tmp_path, progress=_quiet) for engine in (here, there)]
        records = [RecordFile(tmp_path, identity).read().empty for identity in ids]
        gone = await remove_built(there, state=tmp_path, current=True)
        left = await ready_empty(here, state=tmp_path, progress=_quiet)

        assert ids[0] != ids[1]
        assert again == images == records
        assert (gone, left) == ((images[1],), images[0])
        assert ids == [(await engine.describe()).engine_id for engine in (here, there)]
    finally:
        for engine in (here, there):
            await remove_built(engine, state=tmp_path, current=True)
            await engine.close()


def _quiet(message: str, /, *, done: int, total: int) -> None:
    pass
