"""A log whose chain holds and whose bodies no writer wrote: every reader says so, none falls over it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from audit.chain import Chain, encode_rest
from audit.encode import Encoder
from audit.openings import commit
from audit.query import parse_filter, query_session
from audit.recover import session_origin
from tests.agent_runner.audit.running import runner_on
from tests.audit import attacker
from tests.audit.samples import SESSION, Recorder, Samples, TurnableClock

if TYPE_CHECKING:
    from pathlib import Path

    from audit.fields import Commitment
    from tests.agent_runner.audit.recording import Run

POLICY = "version: 1\nname: p\ngrant: [files]\ncommands:\n  allow: [files read]\n"
LONG = {"!": "integer", "hex": "f" * 9_000}
DEEP = {"!": "deep", "flat": ["["] * 1500 + ["]"] * 1500}
FORMS = ("bundle", "csv", "json", "markdown", "ocsf", "otlp")


def rows(depth: int) -> object:
    """Return rows within rows."""
    value: object = "leaf"
    for _ in range(depth):
        value = [value]
    return value


def intended(**changed: object) -> dict[str, object]:
    """Return the body of an action, with some fields forged."""
    body = {"action": f"{SESSION}/9", "argv": ["files", "read", "a"], "command": "files read"}
    return body | {"arguments": {}, "verdict": "allowed"} | changed


class Forger:
    """Writes on, unsealed, at the end of a session whose writer died."""

    def __init__(self, state: Path) -> None:
        self.folder = state / "sessions" / SESSION
        self.lines = attacker.read_lines(self.folder / "events.jsonl")
        self.chain = Chain.start(session_origin(SESSION))
        for line in self.lines:
            self.chain.take(line)

    def add(self, kind: str, body: object) -> None:
        """Append an entry with any body, and an honest one behind it."""
        rest = encode_rest(at="2026-01-31T23:59:59.000001Z", mono_us=7, kind=kind, version=1, body=body)
        honest, _ = Encoder(TurnableClock()).encode(Samples().intended(77, "behind.py"))
        self.lines += [self.chain.add(rest), self.chain.add(honest)]
        attacker.write_lines(self.folder / "events.jsonl", self.lines)

    def keep(self, value: bytes) -> Commitment:
        """Keep a value behind a commitment."""
        opening = commit(value, random=bytes)
        with (self.folder / "openings.jsonl").open("ab") as table:
            table.write(opening.line())
        return opening.commitment

    def move_out(self, value: bytes) -> dict[str, object]:
        """Return a body that was moved out."""
        return {"overflow": self.keep(value).model_dump()}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> Run:
    """Return what runs audit commands in this process: exit code, stdout and stderr."""
    return runner_on(tmp_path / "state", monkeypatch, capsysbinary)


@pytest.fixture
async def forger(tmp_path: Path) -> Forger:
    await Recorder(tmp_path / "state").whole(actions=3, close=False)
    return Forger(tmp_path / "state")


@pytest.mark.parametrize(
    "body",
    [
        intended(argv=["x", LONG], arguments={"n": LONG}, reasons=[{"code": LONG, "message": "m"}]),
        intended(argv=["x", DEEP], arguments={"v": DEEP}),
        intended(arguments={"v": rows(190)}, reasons=[{"code": rows(185), "rule": {"line": DEEP}}]),
    ],
)
def test_what_a_forger_puts_in_a_body_stops_no_reader(
    forger: Forger, run: Run, tmp_path: Path, body: dict[str, object]
) -> None:
    """The chain holds: the entry is shown as it stands, and what stands behind it too."""
    forger.add("action.intended", body)

    assert run("verify", SESSION)[0] == 0
    for arguments in ((), ("--json",)):
        code, out, _ = run("show", SESSION, *arguments)
        assert (code, "behind.py" in out) == (0, True)
    assert "behind.py" in run("query", "any~behind", "--session", SESSION)[1]
    assert run("query", "path=nothing", "any~leaf", "--session", SESSION)[0] == 0
    for form in FORMS:
        there = tmp_path / form
        assert run("export", SESSION, "--format", form, "--output", str(there))[0] == 0
        assert there.stat().st_size


def test_an_integer_or_depth_that_cannot_be_had_back_is_a_body_that_does_not_fit(
    forger: Forger, run: Run
) -> None:
    """A fold reads typed events: an argument that is no text is refused in one line."""
    forger.add("action.intended", intended(argv=["x", DEEP]))

    code, _, err = run("diff", SESSION, SESSION)

    assert code == 6
    assert err == (
        f"pairlock: entry {forger.chain.size - 2}, `action.intended`: argv.1: value error, expected text, "
        "found dict\n"
    )


@pytest.mark.parametrize(
    ("moved", "why"),
    [
        (None, "holds no commitment to its body"),
        (b"[not json", "is not spelled as a writer spells it"),
        (b"[1]", "is not spelled as a writer spells it"),
        (b'{"a": 1}', "is not spelled as a writer spells it"),
        (
            json.dumps({"v": rows(900)}, separators=(",", ":")).encode(),
            "is not spelled as a writer spells it",
        ),
    ],
)
def test_a_moved_out_body_that_no_writer_wrote_is_told_and_hides_nothing(
    forger: Forger, run: Run, moved: bytes | None, why: str
) -> None:
    forger.add("action.intended", {"overflow": {"digest": 5}} if moved is None else forger.move_out(moved))
    seq = forger.chain.size - 2

    assert run("verify", SESSION)[0] == 0
    assert "behind.py" in run("show", SESSION)[1]
    for command in (("diff", SESSION, SESSION), ("query", "any~behind", "--session", SESSION)):
        code, _, err = run(*command)
        assert code == 6
        assert why in err
        assert f"entry {seq}" in err
        assert len(err.splitlines()) == 1
    asked = query_session(forger.folder.parents[1], SESSION, parse_filter("any~behind"))
    assert [type(found).__name__ for found in asked] == ["BrokenEntry", "Entry"]


@pytest.mark.parametrize(
    "kept", [b"[not json", b"[]", b"{}", b'{"bodies":[]}', b'{"bodies":{"0":5}}', b'{"bodies":{"0":"a"}}']
)
def test_a_reply_that_cannot_be_read_back_is_refused_by_a_replay(
    forger: Forger, run: Run, tmp_path: Path, kept: bytes
) -> None:
    policy = tmp_path / "p.yaml"
    policy.write_text(POLICY)
    assert run("replay", SESSION, "--policy", str(policy))[0] in (0, 1)
    raw = forger.keep(kept).model_dump()
    call = {"call": "c", "name": "", "arguments": "files read a"}
    numbers = {"turn": 1, "duration_ms": 1, "input_tokens": 1, "output_tokens": 1, "cached_tokens": 0}
    forger.add(
        "model.answered",
        {"backend": "scripted", "model": "m", "raw": raw, "tool_calls": [call], "text": None} | numbers,
    )

    code, _, err = run("replay", SESSION, "--policy", str(policy))

    assert (code, err) == (
        6,
        f"pairlock: what the model wrote at entry {forger.chain.size - 2} cannot be read back\n",
    )


def test_a_type_that_is_told_twice_is_found_by_a_query(forger: Forger, run: Run) -> None:
    """JSON libraries take the last of two keys: a line that looks like a seal has a type that is no text."""
    forger.add("log.x", {})
    line = forger.lines[-2]
    forger.lines[-2:] = [line.replace(b'"type":"log.x"', b'"type":"log.x","type":[]')]
    attacker.write_lines(forger.folder / "events.jsonl", forger.lines)

    code, _, err = run("query", "any~x", "--session", SESSION)

    assert code == 6
    assert "its type is no text" in err
