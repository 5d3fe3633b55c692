"""Every command that reads a session takes the same memory for a long log as for a short one.

The long one has 12 MB; `PAIRLOCK_LARGE_LOG_MB=1000` tries a gigabyte, by hand.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from audit.event import LimitHit
from tests.audit.large_logs import LargeLog
from tests.audit.samples import SESSION, Samples

if TYPE_CHECKING:
    from collections.abc import Iterator

    from audit.fields import Event

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]
SHORT_MB, LONG_MB = 3, int(os.environ.get("PAIRLOCK_LARGE_LOG_MB", "12"))
ACTION_BYTES = 1_500
"""What an action and its outcome take in the log."""
SPARE_MIB = 12
STARTS = """
import os, subprocess, sys
quiet = subprocess.DEVNULL
process = subprocess.Popen(sys.argv[1:], stdout=quiet, stderr=quiet)
_, status, used = os.wait4(process.pid, 0)
print(used.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def events(megabytes: int) -> Iterator[Event]:
    """Yield so much of a session."""
    samples = Samples()
    yield LimitHit(limit="budget.turns", bound=1, observed=2, unit="turns")
    for number in range(megabytes * 1_000_000 // ACTION_BYTES):
        yield samples.intended(number, text=f"{number}{'x' * 400}")
        yield samples.finished(number)


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """Return state folders with a short and a long session."""
    folder = tmp_path_factory.mktemp("long")
    for megabytes in (SHORT_MB, LONG_MB):
        LargeLog(folder / str(megabytes), SESSION).write(events(megabytes))
    yield folder / str(SHORT_MB), folder / str(LONG_MB)
    for path in folder.rglob("events.jsonl*"):
        path.unlink()


def peak_mib(state: Path, *arguments: str) -> int:
    """Return the most memory that a command of the audit group was given, in MiB.

    A small process starts it: the kernel counts what a program's starter had as the program's own.
    """
    done = subprocess.run(
        [sys.executable, "-c", STARTS, sys.executable, "-m", "agent_runner", "audit", *arguments],
        cwd=ROOT,
        env=os.environ | {"PAIRLOCK_STATE": str(state)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in {0, PARTED}, done.stderr
    return int(done.stdout) // 1024


READINGS = [
    *(("export", SESSION, "-f", form) for form in ("csv", "json", "markdown", "ocsf", "otlp")),
    ("export", SESSION, "-f", "bundle", "-o", "{state}/bundle.tar.gz"),
    ("show", SESSION),
    ("tail", SESSION, "--json"),
    ("query", "argv~nowhere"),
    ("verify", SESSION),
    ("diff", SESSION, SESSION),
    ("replay", SESSION, "-p", "read-only-review"),
]
PARTED = 1
"""What `diff` and `replay` end with where two part."""


@pytest.mark.parametrize("reading", READINGS, ids=lambda reading: " ".join(reading[:4:2]))
def test_a_log_four_times_as_long_takes_no_more_memory(
    logs: tuple[Path, Path], reading: tuple[str, ...]
) -> None:
    short, long = (peak_mib(state, *(word.format(state=state) for word in reading)) for state in logs)

    assert long <= short + SPARE_MIB, f"{short} MiB for {SHORT_MB} MB, {long} MiB for {LONG_MB} MB"


def test_a_report_holds_so_many_steps_and_no_more_and_needs_memory_for_these(logs: tuple[Path, Path]) -> None:
    """Of 341,000 entries it took 268 MiB, by hand."""
    _, long = logs

    assert peak_mib(long, "report", SESSION, "-o", str(long / "report.html")) < 400
    assert (long / "report.html").stat().st_size < 100_000_000
