"""Who waits for an engine that hangs is told so, long before it is given up."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from agent_runner.slow_engine import told_where_slow

CHECKOUT = Path(__file__).resolve().parents[2]
SCRIPT = "version: 1\nturns:\n  - actions: [finish --status done]\n"


async def test_an_engine_that_answers_is_not_spoken_of() -> None:
    """The positive twin."""
    said: list[str] = []

    def progress(message: str, /, *, done: int, total: int) -> None:
        assert (done, total) == (0, 0)
        said.append(message)

    with told_where_slow(progress, after_seconds=0.01):
        pass
    await asyncio.sleep(0.1)

    assert said == []


def test_a_run_says_that_it_waits_for_an_engine_that_hangs(tmp_path: Path) -> None:
    """It takes connections and answers none."""
    (tmp_path / "script.yaml").write_text(SCRIPT)
    (tmp_path / "p.yaml").write_text("version: 1\nname: p\ngrant: []\n")
    address = tmp_path / "docker.sock"
    environment = os.environ | {
        "HOME": str(tmp_path),
        "PAIRLOCK_STATE": str(tmp_path / "state"),
        "DOCKER_HOST": f"unix://{address}",
        "PYTHONPATH": str(CHECKOUT),
    }
    command = [
        sys.executable,
        "-m",
        "agent_runner",
        "run",
        "task",
        "-p",
        "p.yaml",
        "-m",
        "scripted:script.yaml",
    ]
    with socket.socket(socket.AF_UNIX) as engine:
        engine.bind(str(address))
        engine.listen()
        with subprocess.Popen(
            command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
        ) as running:
            assert running.stderr is not None
            first, second = running.stderr.readline(), running.stderr.readline()
            running.send_signal(signal.SIGKILL)

    assert first.startswith("policy p.yaml: ")
    assert second == "waiting for the Docker engine, which has not answered ...\n"
