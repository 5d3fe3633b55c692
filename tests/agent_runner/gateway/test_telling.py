"""What is told of a reply while it comes is its beginning, and the rest makes it whole, or nothing does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from agent_runner.backends.aloud import ArgumentsTold, CallTold, TextTold
from agent_runner.backends.backend import Call, Reply
from agent_runner.errors import BackendError
from agent_runner.gateway.telling import Telling
from cli_tools.action import ToolProposal

if TYPE_CHECKING:
    from agent_runner.backends.aloud import Step


class Heard:
    """Keep the steps."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    async def __call__(self, step: Step) -> None:
        """Keep one."""
        self.steps.append(step)


def called(call_id: str, arguments: str) -> Call:
    return Call(call_id=call_id, proposal=ToolProposal(tool="t", arguments=arguments))


WHOLE: Final = Reply(text="Yes.", calls=(called("a", '{"x": 1}'), called("b", "{}")))
STEPS: Final[list[Step]] = [
    TextTold(text="Yes."),
    CallTold(call_id="a", name="t"),
    ArgumentsTold(text='{"x": 1}'),
    CallTold(call_id="b", name="t"),
    ArgumentsTold(text="{}"),
]


def joined(steps: list[Step]) -> list[Step]:
    """Return steps with what is more of the same put together."""
    found: list[Step] = []
    for step in steps:
        last = found[-1] if found else None
        match last, step:
            case (TextTold(text=before), TextTold(text=text)):
                found[-1] = TextTold(text=before + text)
            case (ArgumentsTold(text=before), ArgumentsTold(text=text)):
                found[-1] = ArgumentsTold(text=before + text)
            case _:
                found.append(step)
    return found


@pytest.mark.parametrize("told", range(len(STEPS) + 1))
async def test_whatever_was_told_the_rest_makes_it_whole(told: int) -> None:
    heard = Heard()
    telling = Telling(heard)
    for step in STEPS[:told]:
        await telling.heard(step)

    await telling.rest(WHOLE)

    assert joined(heard.steps) == STEPS


OTHERS: Final[dict[str, list[Step]]] = {
    "another text": [TextTold(text="No.")],
    "more text": [TextTold(text="Yes. And more.")],
    "another call": [CallTold(call_id="z", name="t")],
    "another name": [CallTold(call_id="a", name="u")],
    "other arguments": [CallTold(call_id="a", name="t"), ArgumentsTold(text='{"y"')],
    "a call left half": [
        CallTold(call_id="a", name="t"),
        ArgumentsTold(text='{"x"'),
        CallTold(call_id="b", name="t"),
    ],
    "a call more": [*STEPS, CallTold(call_id="c", name="t")],
}


@pytest.mark.parametrize("name", OTHERS)
async def test_a_reply_that_is_not_what_was_told_is_an_error_and_never_completed(name: str) -> None:
    heard = Heard()
    telling = Telling(heard)
    for step in OTHERS[name]:
        await telling.heard(step)
    before = list(heard.steps)

    with pytest.raises(BackendError, match="not the one that it began"):
        await telling.rest(WHOLE)

    assert heard.steps == before


HELD: Final[dict[str, tuple[str, str, list[Step]]]] = {
    "no stop": ("I loo", "", [TextTold(text="I loo")]),
    "a beginning of one": ("I look. EN", "", [TextTold(text="I look. EN")]),
    "a stop": ("I lENDook", "", [TextTold(text="I l")]),
    "more behind the call": ("I look.", " Now END.", [TextTold(text="I look."), TextTold(text=" Now ")]),
    "one around the call": ("I look. EN", "D.", [TextTold(text="I look. EN")]),
}


@pytest.mark.parametrize("name", HELD)
async def test_text_that_was_kept_back_for_a_stop_is_told_before_the_call_behind_it(name: str) -> None:
    """Told after it, a reply's text would end behind its calls, or not at all."""
    before, behind, [first, *more] = HELD[name]
    heard = Heard()
    telling = Telling(heard, ("END", "never so long"))
    call: list[Step] = [CallTold(call_id="a", name="t"), ArgumentsTold(text="{}")]
    for step in [TextTold(text=before), *call]:
        await telling.heard(step)
    at_once = joined(heard.steps)

    await telling.rest(Reply(text=before + behind, calls=(called("a", "{}"),)))

    assert at_once == [first, *call]
    assert joined(heard.steps) == [first, *call, *more]
