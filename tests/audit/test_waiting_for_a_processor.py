"""How long a thread waited for a processor, and that a busy machine is not taken for a slow disk."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from audit.runqueue import RunQueue

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts it")
SPIN = "import os\nos.sched_setaffinity(0, {%d})\nprint(flush=True)\nwhile True: pass"
PATIENCE_SECONDS = 30.0


@pytest.fixture
def queue() -> Iterator[RunQueue]:
    made = RunQueue()
    yield made
    made.close()


@pytest.fixture
def crowded() -> Iterator[None]:
    """Share one processor with another process that never rests."""
    allowed = os.sched_getaffinity(0)
    processor = min(allowed)
    with subprocess.Popen([sys.executable, "-c", SPIN % processor], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        os.sched_setaffinity(0, {processor})
        try:
            yield
        finally:
            os.sched_setaffinity(0, allowed)
            other.kill()


@pytest.mark.usefixtures("crowded")
def test_time_in_which_others_had_the_processor_is_counted(queue: RunQueue) -> None:
    began = time.monotonic()
    queue.mark(began)

    while queue.seconds_since(began) < 0.05 and time.monotonic() < began + PATIENCE_SECONDS:
        pass

    assert 0.05 <= queue.seconds_since(began) <= time.monotonic() - began


def test_time_in_which_a_thread_waits_for_something_else_is_not_counted(queue: RunQueue) -> None:
    """A sync that takes long is time asleep: it stays what it is, a slow disk."""
    shares = []
    for _ in range(10):
        began = time.monotonic()
        queue.mark(began)
        time.sleep(0.05)
        shares.append(queue.seconds_since(began) / (time.monotonic() - began))

    assert min(shares) < 0.5


def test_what_was_waited_before_is_not_taken_off_what_comes_later(
    queue: RunQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The count is not read anew for each of many writes: what may be of before is no excuse."""
    nanoseconds = iter([0, 50_000_000, 50_000_000, 3_000_000, 60_000_000, 60_000_000])
    monkeypatch.setattr(queue, "_counted", lambda: next(nanoseconds))

    queue.mark(10.0)
    queue.mark(10.004)  # a moment ago: the count of before stands
    told = [queue.seconds_since(moment) for moment in (10.0, 10.004, 10.004)]
    queue.mark(10.005)
    told.append(queue.seconds_since(10.005))

    assert told == [0.05, pytest.approx(0.046), 0.0, 0.0]


def test_a_moment_before_the_mark_counts_nothing(queue: RunQueue) -> None:
    now = time.monotonic()
    assert queue.seconds_since(now) == 0.0

    queue.mark(now)

    assert queue.seconds_since(now - 1.0) == 0.0


def test_another_thread_is_told_nothing(queue: RunQueue) -> None:
    now = time.monotonic()
    queue.mark(now)
    told: list[int | None] = []
    other = threading.Thread(target=lambda: told.append(queue._counted()))
    other.start()
    other.join()

    assert told == [None]
    assert queue._counted() is not None


def test_what_is_closed_counts_nothing_and_may_be_closed_again() -> None:
    queue = RunQueue()
    now = time.monotonic()
    queue.mark(now)

    queue.close()
    queue.close()

    assert queue.seconds_since(now) == 0.0
