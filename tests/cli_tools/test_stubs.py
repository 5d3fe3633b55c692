"""Commands that programs call: the real stub, a real guest, a real gate and its ledger."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import json
import os
import platform
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from cli_tools import questions, stub_records, stubs
from cli_tools.errors import ActionError
from policies.request import Allowed, Denied, NeedsApproval, Reason
from sandbox.guest import doors
from sandbox.guest.frames import COMMAND
from tests.cli_tools.door import Door, open_door

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import pytest

    from cli_tools.action import Action
    from cli_tools.observation import Observation

STUB = Path(doors.__file__).parent / "stub" / platform.machine()
POLICY = """version: 1
name: x
grant: [files, exec]
exec: {programs: any}
files: {hide: ["secret*"]}
commands: {allow: ["files *", run, "run *", python, shell, output last], RULES}
"""
SPEAKS = "import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect('\\0pairlock-commands'); "


@contextlib.asynccontextmanager
async def calling(
    place: Path,
    rules: str = "ask: []",
    answer: Allowed | None = None,
    spend: Callable[[], None] = lambda: None,
) -> AsyncIterator[Door]:
    """Open a door whose programs find the stubs in a folder of the workspace."""
    folder = place / "workspace" / "bin"
    folder.mkdir()
    for name in ("files", "run", "shell", "finish", "output", "http"):
        shutil.copy2(STUB, folder / name)
    async with open_door(place, POLICY.replace("RULES", rules), answer=answer, spend=spend) as door:
        door.sandbox.link.accept(door.stubs, operation=COMMAND)
        door.sandbox.way_out = {"PATH": "/usr/bin:/bin:/workspace/bin:" + str(folder)}
        yield door


async def script(door: Door, text: str) -> Observation:
    """Run a shell script inside, as the model's `shell` does."""
    return await door.line("shell", text)


async def test_a_script_calls_a_command_with_words_and_input_and_gets_both_outputs_and_the_code(
    place: Path,
) -> None:
    async with calling(place) as door:
        seen = await script(
            door,
            "printf 'one\\ntwo\\n' | files write a.txt; echo wrote $?\n"
            "files read a.txt --lines 2-2\n"
            "files read nothing.txt 2>err; echo failed $?; cat err\n",
        )

    assert seen.kind == "done"
    lines = seen.text.splitlines()
    assert "wrote 0" in lines
    assert any(line.endswith("two") for line in lines)
    assert "failed 101" in lines
    assert lines[-1].startswith("error (not-found): ")
    assert (place / "workspace" / "a.txt").read_text() == "one\ntwo\n"


async def test_a_call_is_decided_and_written_down_as_any_action_with_the_one_whose_program_called(
    place: Path,
) -> None:
    (place / "workspace" / "secret.txt").write_text("canary")
    async with calling(place) as door:
        seen = await script(
            door, "files stat bin; files read secret.txt; echo code $?; http get https://a.example/"
        )
        intended, finished = door.entries("action.intended"), door.entries("action.finished")

    assert "canary" not in seen.text
    assert "denied (hidden)" in seen.text
    assert "code 103" in seen.text
    assert [(entry["command"], entry["verdict"]) for entry in intended] == [
        ("shell", "allowed"),
        ("files stat", "allowed"),
        ("files read", "denied"),
        ("http get", "denied"),
    ]
    assert [(entry["via"], entry["parent"]) for entry in intended] == [
        ("model", ""),
        *[("guest", intended[0]["action"])] * 3,
    ]
    assert [entry["action"][-2:] for entry in finished] == ["/2", "/1"]
    assert seen.exit_code == 103


async def test_a_parent_that_never_started_a_program_is_not_believed(place: Path) -> None:
    async with calling(place) as door:
        await door.line("files stat bin")
        await script(door, "PAIRLOCK_ACTION=0123456789ab/1 files stat bin; PAIRLOCK_ACTION=x files stat bin")
        intended = door.entries("action.intended")

    assert [entry["parent"] for entry in intended] == ["", "", "", ""]


async def test_a_rule_on_calls_counts_those_of_programs_and_those_at_once(place: Path) -> None:
    rules = "rules: [{command: files stat, max_calls: 5}]"
    async with calling(place, rules) as door:
        seen = await script(door, "for n in 1 2 3 4 5 6 7 8; do files stat bin >/dev/null 2>&1 & done; wait")
        verdicts = [entry["verdict"] for entry in door.entries("action.intended")[1:]]
        by_model = await door.line("files stat bin")

    assert seen.kind == "done"
    assert sorted(verdicts) == ["allowed"] * 5 + ["denied"] * 3
    assert by_model.reasons[0].code == "budget"


async def test_a_person_is_asked_about_a_programs_call_with_that_calls_number(place: Path) -> None:
    async with calling(place, 'ask: ["files write"]', Allowed()) as door:
        seen = await script(door, "echo x | files write b.txt; echo code $?")

    assert "code 0" in seen.text
    assert [argv for argv, _ in door.approver.asked] == [("files", "write", "b.txt")]


async def test_a_caller_that_is_killed_has_its_action_cancelled(place: Path) -> None:
    async with calling(place) as door:
        seen = await script(door, "run sleep 300 & sleep 1; kill -9 $!; wait $!; echo killed $?")
        for _ in range(1200):
            if len(door.entries("action.finished")) == 2:
                break
            await asyncio.sleep(0.05)
        finished = {entry["action"][-1]: entry["outcome"] for entry in door.entries("action.finished")}

    assert "killed 137" in seen.text
    assert finished == {"1": "ok", "2": "cancelled"}


async def test_programs_within_programs_are_bounded_and_end(place: Path) -> None:
    nested = place / "workspace" / "again.sh"
    async with calling(place) as door:
        nested.write_text("#!/bin/sh\nrun ./again.sh\n")
        nested.chmod(0o755)
        seen = await door.line("run ./again.sh")
        started = door.entries("process.started")

    assert seen.exit_code == 101
    assert "error (busy): 16 programs that commands started run already" in seen.text
    assert len(started) == stubs.MOST_STARTING + 1


async def test_a_session_writes_down_a_bounded_number_of_calls(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stubs, "MOST_CALLS", 3)
    async with calling(place) as door:
        seen = await script(door, "for n in 1 2 3 4 5; do files stat bin >/dev/null; echo $?; done 2>&1")
        limits = door.entries("limit.hit")
        intended = len(door.entries("action.intended"))

    assert seen.text.splitlines() == [
        "0", "0", "0",
        *["error (budget): the programs of this session have called 3 commands", "105"] * 2,
    ]  # fmt: skip
    assert intended == 4
    assert [(hit["limit"], hit["bound"]) for hit in limits] == [("calls of commands by programs", 3)]


async def test_words_of_ten_megabytes_and_an_endless_input_are_refused_and_cost_nothing(
    place: Path,
) -> None:
    async with calling(place) as door:
        seen = await script(
            door,
            "python3 -c \"import os; os.execvp('files', ['files', 'stat', *['x' * 100000] * 15])\"; echo $?\n"
            "yes | files write big; echo $?\n"
            "files stat bin >/dev/null; echo $?\n",
        )

    lines = seen.text.splitlines()
    assert [line for line in lines if line.isdigit()] == ["102", "102", "0"]
    assert "1500015 bytes" not in seen.text.replace("1500015 bytes in one call", "")
    assert any("in one call, at most 262144 are read" in line for line in lines)
    assert any("standard input is longer than 16777216 bytes" in line for line in lines)
    assert not (place / "workspace" / "big").exists()


FORGED = [
    "b'x' * 5",
    "b'a\\x00\\x00\\x00\\x00'",
    "b'a\\xff\\xff\\xff\\xff'",
    "b'a\\x00\\x00\\x00\\x05files'",
    "b'p\\x00\\x00\\x00\\x01x' * 3",
    "b'd\\x00\\x00\\x00\\x01x'",
    "b'o' * 300000",
]


async def test_forged_records_fail_their_own_connection_and_nothing_else(place: Path) -> None:
    """The twin is the call after each, which is served."""
    async with calling(place) as door:
        for forged in FORGED:
            program = SPEAKS + f"s.sendall({forged}); s.shutdown(1)\nwhile s.recv(4096): pass"
            await script(door, f'timeout 20 python3 -c "{program}" || true')
        seen = await script(door, "files stat bin")
        commands = [entry["command"] for entry in door.entries("action.intended")]

    assert seen.exit_code == 0
    assert commands == ["shell"] * (len(FORGED) + 1) + ["files stat"]


async def test_a_flood_of_connections_that_say_nothing_does_not_stop_the_loop(place: Path) -> None:
    flood = (
        "import socket,time\nkept=[]\n"
        "for _ in range(150):\n s=socket.socket(socket.AF_UNIX)\n"
        " s.connect('\\0pairlock-commands'); kept.append(s)\n"
        "import subprocess; print(subprocess.run(['files','stat','bin']).returncode)\n"
    )
    async with calling(place) as door:
        seen = await door.line("python", flood)
        after = await door.line("files stat bin")

    assert seen.text.splitlines()[-1] == "0"
    assert after.kind == "done"


async def test_finish_and_output_are_the_models_alone(place: Path) -> None:
    async with calling(place) as door:
        seen = await script(door, "finish --status done; echo $?; output last; echo $?")

        assert door.stubs.names == ("files", "python", "run", "shell")

    assert [line for line in seen.text.splitlines() if line.isdigit()] == ["102", "102"]
    assert seen.ends_session == ""


async def test_an_input_that_a_command_does_not_take_stays_the_callers(place: Path) -> None:
    """A loop that reads lines and calls a command for each loses none of them."""
    async with calling(place) as door:
        seen = await script(
            door, "printf 'a\\nb\\nc\\n' | while read n; do files stat bin >/dev/null; echo $n; done"
        )

    assert seen.text.splitlines() == ["a", "b", "c"]


PRINTS = "import os,sys;print([os.fsencode(w).hex() for w in sys.argv[1:]])"
WORDS = st.lists(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40), max_size=6
)


async def test_words_arrive_in_the_program_byte_for_byte(place: Path) -> None:
    """From a program, through the stub, the gate and the guest, to a program that prints its words."""
    sent: list[list[str]] = [
        ["-x", "--", "@file", "--opt=value", "$(id)", "a\nb", "%s", "*", "\u2013x", "--"]
    ]

    @settings(max_examples=40, deadline=None, database=None)
    @given(words=WORDS)
    def draw(words: list[str]) -> None:
        sent.append(words)

    draw()
    (place / "workspace" / "calls.py").write_text(
        "import json, subprocess\n"
        f"for words in json.loads({json.dumps(sent)!r}):\n"
        f"    subprocess.run(['run', '--', 'python3', '-c', {PRINTS!r}, *words], check=True)\n"
    )
    async with calling(place) as door:
        seen = await door.line("run --timeout 250 python3 calls.py")

    printed = [ast.literal_eval(line) for line in seen.text.splitlines()]
    assert printed == [[os.fsencode(word).hex() for word in words] for words in sent]


async def test_a_call_beyond_the_sessions_budget_of_actions_is_refused_with_its_code(place: Path) -> None:
    left = [None, None]

    def spend() -> None:
        if not left:
            raise ActionError("budget", "the budget of actions ran out")
        left.pop()

    async with calling(place, spend=spend) as door:
        seen = await script(
            door, "for n in 1 2 3; do files list >/dev/null 2>err; echo code $?; done; cat err"
        )

    assert seen.text.splitlines() == [
        "code 0",
        "code 0",
        "code 105",
        "error (budget): the budget of actions ran out",
    ]


async def test_input_is_counted_until_its_action_is_done_and_no_program_waits_for_its_own(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits for a person holds its place; a program that was started with input holds none."""
    monkeypatch.setattr(stubs, "MOST_READING", 1)
    async with calling(place, 'ask: ["files write"]', Allowed()) as door:
        nested = await script(door, "echo 'echo x | files write n.txt; echo code $?' | shell")
        asked, most = 0, 0
        approve = door.approver.approve

        async def slow(number: str, action: Action, question: NeedsApproval) -> Allowed | Denied:
            nonlocal asked, most
            asked += 1
            most = max(most, asked)
            await asyncio.sleep(0.5)
            asked -= 1
            return await approve(number, action, question)

        monkeypatch.setattr(door.approver, "approve", slow)
        seen = await script(door, "for n in 1 2 3; do echo $n | files write w$n & done; wait; cat w1 w2 w3")

    assert nested.text.splitlines()[-1] == "code 0"
    assert seen.text.splitlines()[-3:] == ["1", "2", "3"]
    assert most == 1


async def test_input_that_never_comes_is_given_up_and_the_next_is_read(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stubs, "MOST_READING", 1)
    monkeypatch.setattr(stub_records, "SILENT_SECONDS", 1.0)
    async with calling(place) as door:
        seen = await script(
            door,
            "mkfifo p; sleep 300 > p & files write silent < p; echo code $?\n"
            "echo x | files write spoken; echo code $?; kill $!",
        )

    assert "error (timeout): no standard input came in 1 s" in seen.text
    assert [line for line in seen.text.splitlines() if line.startswith("code")] == ["code 101", "code 0"]


async def test_the_words_of_all_calls_are_bounded_and_those_within_are_served(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stubs, "MOST_WORDS_BYTES", 4000)
    async with calling(place) as door:
        long = "x" * 1500
        seen = await script(
            door, f"for n in 1 2 3 4; do files stat {long} 2>&1; echo $?; done; files stat bin >&2"
        )
        limits = door.entries("limit.hit")

    assert [line for line in seen.text.splitlines() if line.isdigit()] == ["101", "101", "105", "105"]
    assert "the programs of this session have called commands with 4000 bytes of words" in seen.text
    assert seen.exit_code == 0
    (limit,) = limits
    assert (limit["limit"], limit["unit"]) == ("words of commands by programs", "bytes")
    assert (limit["bound"], limit["observed"]) == (4000, 4536)


async def test_programs_have_one_question_open_and_are_not_asked_for_after_too_many_refusals(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model's own questions are put all the same."""
    monkeypatch.setattr(questions, "MOST_REFUSED", 3)
    no = Denied((Reason("command", "not approved: a person said no"),))
    async with calling(place, 'ask: ["files write"]', Allowed()) as door:
        allowed = await script(
            door, "for n in 1 2 3 4; do echo x | files write ok$n; done >/dev/null; echo $?"
        )
        door.approver.answer = no
        seen = await script(door, "for n in 1 2 3 4 5; do echo x | files write no$n 2>&1 & done; wait")
        by_programs = len(door.approver.asked)
        door.approver.answer = Allowed()
        by_model = await door.line("files write model", "x")

    assert allowed.text == "0"
    assert by_programs == 4 + 3
    assert seen.text.count("3 questions of programs were refused or withdrawn already") == 2
    assert by_model.kind == "done"
