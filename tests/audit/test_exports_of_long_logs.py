"""An export of a long log takes no more memory than one of a short log."""

import asyncio
import tracemalloc
from pathlib import Path

import pytest

from audit.export import View, viewed
from tests.audit.samples import SESSION, Recorder, Samples

SHORT, LONG = 4_000, 16_000


def written(state: Path, entries: int) -> Path:
    """Write a session of about that many entries, each outcome with a body of its own."""

    async def write() -> None:
        samples = Samples()
        async with Recorder(state).journal() as journal:
            await journal.record(samples.opened(journal.commit("task")))
            for number in range(entries // 2):
                await journal.record_lazily(samples.intended(number, text="x" * 200))
                await journal.record_lazily(samples.finished(number, journal.commit(f"body {number}")))
            await journal.close(samples.closed())

    asyncio.run(write())
    return state


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("long")
    return written(folder / "short", SHORT), written(folder / "long", LONG)


def peak_bytes(state: Path, view: View) -> int:
    tracemalloc.start()
    try:
        for _ in viewed(state, SESSION, view, version="0.1.0"):
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.long
@pytest.mark.parametrize("view", [View.CSV, View.JSON, View.OCSF, View.OTLP])
def test_an_export_of_four_times_the_log_takes_no_more_memory(logs: tuple[Path, Path], view: View) -> None:
    """What is read is let go; what grows is the roots that the host's log knows, one for each 64 entries."""
    short, long = (peak_bytes(state, view) for state in logs)

    assert long < 1.5 * short + 1_000_000
