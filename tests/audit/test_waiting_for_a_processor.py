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
    before, began = queue.now(), time.monotonic()

    while queue.seconds_since(before) < 0.05 and time.monotonic() < began + PATIENCE_SECONDS:
        pass

    assert 0.05 <= queue.seconds_since(before) <= time.monotonic() - began


def test_time_in_which_a_thread_waits_for_something_else_is_not_counted(queue: RunQueue) -> None:
    """A sync that takes long is time asleep: it stays what it is, a slow disk."""
    shares = []
    for _ in range(10):
        before, began = queue.now(), time.monotonic()
        time.sleep(0.05)
        shares.append(queue.seconds_since(before) / (time.monotonic() - began))

    assert min(shares) < 0.5


def test_another_thread_is_told_nothing(queue: RunQueue) -> None:
    told: list[bytes] = []
    other = threading.Thread(target=lambda: told.append(queue.now()))
    other.start()
    other.join()

    assert told == [b""]
    assert queue.now() != b""
    assert queue.seconds_since(b"") == 0.0


def test_what_is_closed_counts_nothing_and_may_be_closed_again() -> None:
    queue = RunQueue()
    before = queue.now()

    queue.close()
    queue.close()

    assert queue.now() == b""
    assert queue.seconds_since(before) == 0.0
