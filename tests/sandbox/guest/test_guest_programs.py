"""Programs: how they start, what they may print, and that nothing of them is left."""

from __future__ import annotations

import asyncio
import os
import resource
from typing import TYPE_CHECKING

import pytest

from sandbox.errors import OperationFailedError
from tests.sandbox.guest.launch import PATH, Running, running

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.guest.objects import Object


async def processes(guest: Running) -> list[str]:
    """Return the command names of the programs that run in the guest's namespace."""
    result = await guest.spawn("sh", "-c", "cat /proc/[0-9]*/comm 2>/dev/null")
    names = str(result["stdout"]).split("\n")
    return sorted(name for name in names if name and not name.startswith(("python3", "sh", "cat")))


async def test_a_program_that_is_not_there_is_told_from_one_that_cannot_run(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("echo hi\n")

    async with running(tmp_path, "--exec") as guest:
        codes = {}
        for name in ("nowhere", "./nowhere", "./plain", "/etc/hostname", "/", "true/x"):
            with pytest.raises(OperationFailedError) as failed:
                await guest.spawn(name)
            codes[name] = failed.value.code

    assert codes == {
        "nowhere": "not-found",
        "./nowhere": "not-found",
        "true/x": "not-found",
        "./plain": "not-executable",
        "/etc/hostname": "not-executable",
        "/": "not-executable",
    }


async def test_exit_codes_and_signals_are_told_apart(tmp_path: Path) -> None:
    async with running(tmp_path, "--exec") as guest:
        coded = await guest.spawn("sh", "-c", "exit 143")
        signalled = await guest.spawn("sh", "-c", "kill -TERM $$")

    assert (coded["exit_code"], coded["signal"]) == (143, None)
    assert (signalled["exit_code"], signalled["signal"]) == (None, 15)


async def test_the_environment_is_exactly_what_was_sent(tmp_path: Path) -> None:
    async with running(tmp_path, "--exec") as guest:
        result = await guest.spawn("/usr/bin/env", env={"A": "1", "B": "zwei"})

    assert sorted(str(result["stdout"]).split()) == ["A=1", "B=zwei"]


async def test_a_program_starts_with_nothing_of_ours(tmp_path: Path) -> None:
    """Descriptors 0, 1 and 2 (and the listing's own), default signals, a session of its own (B89)."""
    script = (
        "import os, signal, resource\n"
        "held = sorted(int(n) for n in os.listdir('/proc/self/fd'))\n"
        "ignored = [int(n) for n in signal.valid_signals() if signal.getsignal(n) == 1]\n"
        "status = open('/proc/self/status').read().split('\\n')\n"
        "print(held, ignored, os.getsid(0) == os.getpid(), os.getcwd())\n"
        "print([line[8:] for line in status if line.startswith(('SigIgn', 'SigBlk'))])\n"
        "print(resource.getrlimit(resource.RLIMIT_CORE), open('/proc/self/oom_score_adj').read().strip())\n"
        "print(resource.getrlimit(resource.RLIMIT_AS)[0], resource.getrlimit(resource.RLIMIT_CPU)[0])\n"
    )
    (tmp_path / "inner").mkdir()
    core = 0 if resource.getrlimit(resource.RLIMIT_CORE)[1] == 0 else 1  # a machine's own 0 stays

    async with running(tmp_path, "--exec") as guest:
        result = await guest.spawn("python3", "-I", "-c", script, cwd="inner")

    lines = str(result["stdout"]).splitlines()
    # Python itself ignores SIGPIPE and SIGXFSZ, and opens descriptor 3 to list the folder.
    assert lines == [
        f"[0, 1, 2, 3] [13, 25] True {tmp_path}/inner",
        "['0000000000000000', '0000000001001000']",
        f"({core}, {core}) 1000",
        "-1 -1",
    ]


async def test_a_working_folder_outside_is_refused_and_one_inside_is_used(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").symlink_to("/etc")
    (tmp_path / "file").touch()

    async with running(tmp_path, "--exec") as guest:
        inside = await guest.spawn("pwd", cwd="in")
        codes = {}
        for folder in ("out", "..", "/", "/etc", "file", "nowhere"):
            with pytest.raises(OperationFailedError) as failed:
                await guest.spawn("pwd", cwd=folder)
            codes[folder] = failed.value.code

    assert inside["stdout"] == f"{tmp_path}/in\n"
    assert codes == {
        "out": "path",
        "..": "path",
        "/": "path",
        "/etc": "path",
        "file": "not-folder",
        "nowhere": "not-found",
    }


async def test_stdin_is_fed_and_ends(tmp_path: Path) -> None:
    content = os.urandom(3_000_000)

    async with running(tmp_path, "--exec") as guest:
        values: Object = {"argv": ["cat"], "cwd": ".", "env": {**PATH}, "output_bytes": 1 << 30}
        answer = await guest.link.call("process.spawn", values, body=content)
        nothing = await guest.spawn("cat")

    assert answer.body == content
    assert (nothing["exit_code"], nothing["stdout"]) == (0, "")


async def test_a_program_that_does_not_read_its_stdin_is_not_waited_for(tmp_path: Path) -> None:
    async with running(tmp_path, "--exec") as guest:
        values: Object = {"argv": ["true"], "cwd": ".", "env": {**PATH}}
        answer = await guest.link.call("process.spawn", values, body=bytes(5_000_000))

    assert answer.result["exit_code"] == 0


async def test_both_pipes_are_drained_at_once(tmp_path: Path) -> None:
    """A reader that waits for stdout while the child fills stderr would hang here."""
    script = "head -c 3000000 /dev/zero >&2; head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2"

    async with running(tmp_path, "--exec") as guest:
        result = await guest.spawn("sh", "-c", script, output_bytes=1 << 30)

    assert (len(str(result["stdout"])), len(str(result["stderr"]))) == (3_000_000, 6_000_000)
    assert result["truncated_bytes"] == 0


async def test_a_gibibyte_of_output_is_cut_at_the_bound_and_counted(tmp_path: Path) -> None:
    async with running(tmp_path, "--exec") as guest:
        result = await guest.spawn(
            "head", "-c", str(1 << 30), "/dev/zero", output_bytes=1000, timeout_seconds=120.0
        )

    assert result["stdout"] == "\0" * 1000
    assert result["truncated_bytes"] == (1 << 30) - 1000
    assert result["exit_code"] == 0


async def test_the_bound_is_for_both_outputs_together(tmp_path: Path) -> None:
    async with running(tmp_path, "--exec") as guest:
        result = await guest.spawn(
            "sh",
            "-c",
            "head -c 70000 /dev/zero; sleep 0.2; head -c 70000 /dev/zero >&2",
            output_bytes=100_000,
        )

    assert (len(str(result["stdout"])), len(str(result["stderr"]))) == (70_000, 30_000)
    assert result["truncated_bytes"] == 40_000


async def test_a_consumer_that_waits_holds_the_program_back_and_loses_nothing(tmp_path: Path) -> None:
    got = bytearray()

    async def slowly(data: bytes) -> None:
        await asyncio.sleep(0.01)
        got.extend(data)

    async with running(tmp_path, "--exec") as guest:
        values: Object = {"argv": ["seq", "400000"], "cwd": ".", "env": {**PATH}, "output_bytes": 1 << 30}
        await guest.link.call("process.spawn", values, on_body=slowly)

    assert got == "".join(f"{n}\n" for n in range(1, 400_001)).encode()


async def test_a_timeout_ends_the_program_and_all_it_started(tmp_path: Path) -> None:
    """Those in other groups, other sessions and those that were given away (B100)."""
    script = (
        "sleep 1001 & (setsid sleep 1002 &) ; setsid sh -c 'sleep 1003 & sleep 1004' & "
        "(nohup setsid sleep 1005 >/dev/null 2>&1 &) ; echo started; sleep 1006"
    )

    async with running(tmp_path, "--exec") as guest:
        result = await guest.spawn("sh", "-c", script, timeout_seconds=0.5)
        left = await processes(guest)

    assert result["timed_out"] is True
    assert result["stdout"] == "started\n"
    assert left == []


async def test_a_program_that_ignores_the_polite_signal_is_killed(tmp_path: Path) -> None:
    async with running(tmp_path, "--exec") as guest:
        result = await guest.spawn(
            "sh", "-c", "trap '' TERM; while :; do sleep 0.1; done", timeout_seconds=0.3
        )
        polite = await guest.spawn(
            "sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.1; done", timeout_seconds=0.3
        )

    assert (result["signal"], result["exit_code"], result["timed_out"]) == (9, None, True)
    assert (polite["signal"], polite["exit_code"], polite["timed_out"]) == (None, 7, True)


async def test_what_a_program_leaves_behind_is_ended_with_it(tmp_path: Path) -> None:
    async with running(tmp_path, "--exec") as guest:
        result = await guest.spawn("sh", "-c", "setsid sleep 1001 & setsid nohup sleep 1002 & exit 5")
        left = await processes(guest)

    assert (result["exit_code"], result["killed_processes"]) == (5, 2)
    assert left == []


async def test_an_action_that_ends_leaves_another_actions_daemon_alone(tmp_path: Path) -> None:
    async with running(tmp_path, "--exec") as guest:
        long = asyncio.create_task(
            guest.spawn("sh", "-c", "(setsid sleep 1001 &); while [ ! -e stop ]; do sleep 0.05; done; ps -e")
        )
        await asyncio.sleep(0.3)
        await guest.spawn("sh", "-c", "setsid sleep 1002 & exit 0")
        await guest.spawn("touch", "stop")
        result = await long

    assert str(result["stdout"]).count("sleep") == 1


async def test_a_cancelled_program_is_ended(tmp_path: Path) -> None:
    async with running(tmp_path, "--exec") as guest:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await guest.spawn("sh", "-c", "setsid sleep 1001 & sleep 1002")
        await asyncio.sleep(0.2)
        for _ in range(100):
            left = await processes(guest)
            if not left:
                break
            await asyncio.sleep(0.05)

    assert left == []


async def test_zombies_do_not_gather(tmp_path: Path) -> None:
    async with running(tmp_path, "--exec") as guest:
        await asyncio.gather(
            *(guest.spawn("sh", "-c", "for i in 1 2 3 4 5; do (setsid true &) ; done") for _ in range(20))
        )
        result = await guest.spawn("sh", "-c", "grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null; true")

    assert result["stdout"] == ""


async def test_a_file_beyond_the_limit_is_cut_off(tmp_path: Path) -> None:
    async with running(tmp_path, "--exec") as guest:
        result = await guest.spawn("sh", "-c", "head -c 200000 /dev/zero > big", file_bytes=100_000)

    assert result["exit_code"] != 0
    assert (tmp_path / "big").stat().st_size == 100_000


async def test_many_programs_at_once_hold(tmp_path: Path) -> None:
    async with running(tmp_path, "--exec") as guest:
        results = await asyncio.gather(*(guest.spawn("sh", "-c", f"echo {n}") for n in range(48)))

    assert [result["stdout"] for result in results] == [f"{n}\n" for n in range(48)]


@pytest.mark.parametrize(
    "arguments",
    [
        {"argv": []},
        {"argv": [""]},
        {"argv": "true"},
        {"argv": [1]},
        {"argv": ["a\0b"]},
        {"argv": ["true"], "env": {"A": 1}},
        {"argv": ["true"], "env": {"A=B\0": "x"}},
        {"argv": ["true"], "timeout_seconds": 0},
        {"argv": ["true"], "timeout_seconds": -1},
        {"argv": ["true"], "timeout_seconds": 1e9},
        {"argv": ["true"], "output_bytes": -1},
        {"argv": ["true"], "shell": True},
    ],
    ids=str,
)
async def test_arguments_that_make_no_sense_are_refused(tmp_path: Path, arguments: dict[str, object]) -> None:
    async with running(tmp_path, "--exec") as guest:
        with pytest.raises(OperationFailedError) as failed:
            await guest.link.call("process.spawn", {"cwd": ".", "env": {**PATH}, **arguments})  # type: ignore[dict-item]
        good = await guest.spawn("true")

    assert failed.value.code == "arguments"
    assert good["exit_code"] == 0
