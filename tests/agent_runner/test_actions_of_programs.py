"""Actions that programs call inside a session: of the same budget as the model's."""

from __future__ import annotations

import platform
import shutil
from contextlib import asynccontextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from agent_runner.backends.backend import Call, Reply
from cli_tools.action import LineProposal
from sandbox.guest import doors
from sandbox.guest.frames import COMMAND
from sandbox.session import Sandbox
from tests.agent_runner.stand import FINISH, GuestHousing, saying

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from agent_runner.housing import Housed, Order
    from agent_runner.request import SessionResult
    from sandbox.connection import Relay
    from tests.agent_runner.stand import Stand

STUB = Path(doors.__file__).parent / "stub" / platform.machine()
POLICY = (
    "version: 1\nname: x\ngrant: [files, exec]\nexec: {programs: any}\n"
    'commands: {allow: ["files *", shell]}\nbudget: {actions: 3}\n'
)


class WithStubs(Sandbox):
    """A sandbox whose programs find `files` in its workspace, where there is no container for it."""

    async def put_on_path(self, names: Sequence[str], relay: Relay) -> None:  # noqa: ARG002 - one is enough
        """Serve calls."""
        self.link.accept(relay, operation=COMMAND)


class StubHousing(GuestHousing):
    """Give a guest whose programs can call commands."""

    @asynccontextmanager
    async def house(self, order: Order) -> AsyncIterator[Housed]:
        """Give a sandbox."""
        async with super().house(order) as housed:
            parts = {
                part.name: getattr(housed.sandbox, part.name) for part in fields(housed.sandbox) if part.init
            }
            yield replace(housed, sandbox=WithStubs(**parts))


async def run_script(stand: Stand, script: bytes) -> SessionResult:
    """Run a session whose model has a shell run a script that may call `files`."""
    shutil.copy2(STUB, stand.folder / "files")
    call = Call(call_id="c", proposal=LineProposal(line="shell", body=script))
    model = saying(Reply(text="", calls=(call,)), FINISH)
    return await stand.run(model, POLICY, housing=StubHousing(stand.folder))


async def test_what_programs_call_counts_in_the_budget_of_actions_while_the_session_runs(
    stand: Stand,
) -> None:
    script = b"for n in 1 2 3 4; do ./files list >/dev/null 2>&1; echo code $?; done"

    result = await run_script(stand, script)

    assert stand.eyes.seen[0].text.splitlines() == ["code 0", "code 0", "code 105", "code 105"]
    assert (result.exit_code, result.reason) == (5, "the budget of actions ran out: 3 of 3 actions")
    assert len(stand.entries("action.intended")) == 3


async def test_standard_input_that_is_empty_is_no_content_and_the_refusal_says_how_to_give_none(
    stand: Stand,
) -> None:
    script = b"./files write a </dev/null 2>&1; echo code $?; ./files write b --content '' </dev/null"

    await run_script(stand, script)

    assert stand.eyes.seen[0].text.splitlines() == [
        "error (usage): `files write` needs `content`",
        "hint: give `--content`, or a body; an empty one as `--content ''`",
        "code 102",
        "created b, 0 bytes",
    ]
    assert {path.name for path in stand.folder.iterdir()} == {"files", "b"}
