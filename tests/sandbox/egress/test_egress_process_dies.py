"""The egress process dies, or its ledger fails: nothing leaves, nobody waits, and nothing is left of it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sandbox.egress import gate
from sandbox.egress.errors import GateLostError, UpstreamError
from sandbox.egress.process import EgressProcess
from tests.sandbox.egress.ground import Server, gate_for, rule, rules, serving

if TYPE_CHECKING:
    from sandbox.egress.events import Event


async def test_b109_a_ledger_that_fails_kills_the_gate_and_nothing_leaves() -> None:
    server = Server()

    async def full(event: Event) -> None:
        raise OSError(28, f"no space left for {type(event).__name__}")

    async with serving(server), gate_for(rules(rule("127.0.0.1", server.port)), journal=full) as kept:
        for _ in range(2):
            with pytest.raises(GateLostError) as lost:
                await kept.gate.request("GET", f"http://127.0.0.1:{server.port}/")
            assert isinstance(lost.value.__cause__, OSError)

    assert server.connections == 0


async def test_a_killed_process_is_told_and_leaves_nothing_waiting() -> None:
    server = Server()
    async with serving(server), gate_for(rules(rule("127.0.0.1", server.port))) as kept:
        os.kill(kept.gate.pid, 9)
        with pytest.raises(GateLostError):
            await asyncio.wait_for(kept.gate.request("GET", f"http://127.0.0.1:{server.port}/"), 30)


async def test_the_process_ends_with_the_block() -> None:
    async with gate_for(rules()) as kept:
        number = kept.gate.pid
        os.kill(number, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)


@pytest.mark.parametrize("turns", [1, 2, 3, 5])
async def test_a_start_that_is_given_up_leaves_no_descriptor_and_no_process(turns: int) -> None:
    """The loop's own descriptor and its watcher's are there before."""
    await (await asyncio.create_subprocess_exec("true")).wait()
    before = _descriptors()
    starting = asyncio.create_task(EgressProcess.start())
    for _ in range(turns):
        await asyncio.sleep(0)

    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting

    async with asyncio.timeout(60):
        while _descriptors() - before or _children():  # noqa: ASYNC110 - the kernel tells nobody
            await asyncio.sleep(0.01)


def _descriptors() -> set[Path]:
    return set(Path("/proc/self/fd").iterdir())


def _children() -> list[str]:
    """Return the egress processes below this one."""
    below = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii").split()
    return [each for each in below if b"sandbox.egress" in Path(f"/proc/{each}/cmdline").read_bytes()]


async def test_a_process_that_answers_nothing_is_not_waited_for_longer_than_its_connections_may_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gate, "MARGIN_SECONDS", 0.5)
    async with gate_for(rules(rule("127.0.0.1", 1), connection_seconds=0.5)) as kept:
        os.kill(kept.gate.pid, signal.SIGSTOP)
        with pytest.raises(UpstreamError) as failed:
            await asyncio.wait_for(kept.gate.request("GET", "http://127.0.0.1:1/"), 60)
        os.kill(kept.gate.pid, signal.SIGCONT)

    assert failed.value.code == "timeout"


async def test_a_process_dies_with_a_runner_that_is_killed_while_it_starts(tmp_path: Path) -> None:
    """Its own modules take seconds to load on a busy machine; here they never do."""
    for package in ("sandbox", "sandbox/egress"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / "sandbox/egress/child.py").write_text("import time; time.sleep(300)")
    start = (
        "import asyncio, os, sys; from sandbox.egress import process\n"
        "process.sandbox.__file__ = sys.argv[1]\n"
        "async def main():\n"
        "    print((await process.EgressProcess.start()).pid, flush=True)\n"
        "    sys.stdin.read()\n"
        "asyncio.run(main())"
    )
    runner = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", start, str(tmp_path / "sandbox/__init__.py")),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert runner.stdout is not None
    started = int(await runner.stdout.readline())
    try:
        alive = _lives(started)
        runner.kill()
        await runner.communicate()
        for _ in range(600):
            if not _lives(started):
                break
            await asyncio.sleep(0.1)
        left = _lives(started)
    finally:
        if _lives(started):
            os.kill(started, signal.SIGKILL)

    assert (alive, left) == (True, False)


def _lives(process: int) -> bool:
    try:
        facts = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return facts.rpartition(")")[2].split()[0] not in ("Z", "X")
