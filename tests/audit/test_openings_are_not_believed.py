"""The table of openings is not chained: what somebody writes into it stops nothing and excuses nothing."""

import json
import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from audit import openings, table
from audit.errors import BrokenLedgerError
from audit.event import ModelAsked
from audit.hostile import unmark
from audit.openings import LARGEST_BLOB, without
from audit.reader import SessionReader
from audit.schema import LARGEST_BODY
from audit.state import SessionFiles, StateFiles
from audit.table import LONGEST_LINE, EndlessLineError
from audit.verdict import Disclosed, Undisclosed
from audit.verify import verify_session
from tests.audit.samples import SESSION, Recorder, Samples

Fields = dict[str, object]


async def written(recorder: Recorder, samples: Samples) -> Path:
    """Write a session with one large body, and return its table of openings."""
    async with recorder.journal() as journal:
        await journal.record(samples.finished(1, journal.commit("x" * 100_000)))
    return recorder.state / "sessions" / SESSION / "openings.jsonl"


def never_kept(fields: Fields) -> Fields:
    return fields | {"kept": False, "blob": False}


def never_kept_and_without_salt(fields: Fields) -> Fields:
    return never_kept(fields) | {"salt": "", "size": 1}


def saying(**claims: object) -> Callable[[Fields], Fields]:
    return lambda fields: fields | claims


async def test_the_table_is_opened_twice_for_all_commitments(
    recorder: Recorder, samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To open it for each takes a third of the processor's time that it takes to verify them."""
    async with recorder.journal() as journal:
        for number in range(20):
            await journal.record(samples.finished(number, journal.commit(f"output {number}")))
    path, count = recorder.state / "sessions" / SESSION / "openings.jsonl", []
    opened = openings.opened
    for module in (openings, table):
        monkeypatch.setattr(module, "opened", lambda path: (count.append(path), opened(path))[1])

    assert verify_session(recorder.state, SESSION).disclosure == Disclosed(20, 0, 0)

    assert count.count(path) == 2  # once for what is in it, once for what lies elsewhere


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        (never_kept, True),
        (never_kept_and_without_salt, True),
        (saying(salt=""), True),
        (saying(salt="00" * 33), True),
        (saying(size=2**60), False),
        (saying(base64="no base64"), False),
        (saying(size=-1), False),
        (saying(size=LARGEST_BLOB + 1), False),
        (saying(size=True), False),
        (saying(size="100000"), False),
        (saying(size=1.5), False),
    ],
)
async def test_whatever_an_opening_claims_its_value_is_missing_or_changed(
    recorder: Recorder, samples: Samples, change: Callable[[Fields], Fields], *, missing: bool
) -> None:
    lines = await written(recorder, samples)
    assert verify_session(recorder.state, SESSION).disclosure == Disclosed(1, 0, 0)
    fields = json.loads(lines.read_text())
    digest = (fields["commitment"],)

    lines.write_text(json.dumps(change(fields)) + "\n")

    wanted = Undisclosed(digest, ()) if missing else Undisclosed((), digest)
    assert verify_session(recorder.state, SESSION).disclosure == wanted


def read_one_by_one(files: SessionFiles, digests: list[str]) -> Disclosed | Undisclosed:
    """Return what a reader finds who fetches each value by itself."""
    missing, changed, there = [], [], 0
    found = openings.Openings(files)
    for digest in sorted(digests):
        try:
            value = found.claimed(digest)
        except BrokenLedgerError:
            changed.append(digest)
        else:
            there += not isinstance(value, openings.Gone)
            missing += [digest] if isinstance(value, openings.Gone) else []
    return Undisclosed(tuple(missing), tuple(changed)) if missing or changed else Disclosed(there, 0, 0)


def filled(fields: Fields, length: int) -> Fields:
    """Return an opening whose line has that many bytes with its newline."""
    return fields | {"more": "x" * (length - len(json.dumps(fields | {"more": ""})) - 1)}


CHANGES: dict[str, Callable[[Fields], list[Fields]]] = {
    "nothing": lambda fields: [fields],
    "gone": lambda _: [],
    "twice": lambda fields: [fields, fields],
    "once more, without a salt": lambda fields: [fields, fields | {"salt": ""}],
    "without a salt before": lambda fields: [fields | {"salt": ""}, fields],
    "another salt": lambda fields: [fields | {"salt": "00" * 32}],
    "a salt in capitals": lambda fields: [fields | {"salt": str(fields["salt"]).upper()}],
    "a commitment in capitals": lambda fields: [fields | {"commitment": str(fields["commitment"]).upper()}],
    "a commitment that is no text": lambda fields: [fields | {"commitment": 1}],
    "never kept": lambda fields: [fields | {"kept": False}],
    "no truth": lambda fields: [fields | {"kept": 0}],
    "another text": lambda fields: [fields | {"utf8": "y"}],
    "no text": lambda fields: [fields | {"utf8": 1}],
    "no base64": lambda fields: [fields | {"base64": "="}],
    "in a file": lambda fields: [fields | {"blob": True}],
    "in a file that is not named so": lambda fields: [fields | {"blob": 1}],
    "as long as a line may be": lambda fields: [filled(fields, LONGEST_LINE)],
    "longer than any line": lambda fields: [filled(fields, LONGEST_LINE + 1)],
    "much longer than any line": lambda fields: [filled(fields, 3 * LONGEST_LINE)],
    "longer than any line, before and behind": lambda fields: [
        filled(fields, 2 * LONGEST_LINE),
        fields,
        filled(fields, 2 * LONGEST_LINE),
    ],
    "text before a file": lambda fields: [{"utf8": ""} | fields | {"blob": True}],
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_verify_tells_of_each_value_what_its_reader_is_told(
    recorder: Recorder, samples: Samples, change: Callable[[Fields], list[Fields]]
) -> None:
    """It reads the table once from end to end, a reader looks for one value: both hold by the same rules."""
    async with recorder.journal() as journal:
        for number, value in enumerate(["text", b"\xff", "x" * 100_000]):
            await journal.record(samples.finished(number, journal.commit(value)))
    files = StateFiles(recorder.state).session(SESSION)
    whole = [json.loads(line) for line in files.openings.read_text().splitlines()]
    digests = [fields["commitment"] for fields in whole]

    for place in range(len(whole)):
        lines = [*whole[:place], *change(whole[place]), *whole[place + 1 :]]
        files.openings.write_text("".join(json.dumps(fields) + "\n" for fields in lines))

        assert verify_session(recorder.state, SESSION).disclosure == read_one_by_one(files, digests)


@pytest.mark.parametrize(("length", "there"), [(LONGEST_LINE, True), (LONGEST_LINE + 1, False)])
async def test_a_line_longer_than_any_writers_opens_nothing_and_those_behind_it_do(
    recorder: Recorder, samples: Samples, length: int, *, there: bool
) -> None:
    async with recorder.journal() as journal:
        for number, value in enumerate(["text", "more text"]):
            await journal.record(samples.finished(number, journal.commit(value)))
    files = StateFiles(recorder.state).session(SESSION)
    first, last = (json.loads(line) for line in files.openings.read_text().splitlines())
    digests = [first["commitment"], last["commitment"]]

    files.openings.write_text(f"{json.dumps(filled(first, length))}\n{json.dumps(last)}\n")

    wanted = Disclosed(2, 0, 0) if there else Undisclosed((digests[0],), ())
    assert verify_session(recorder.state, SESSION).disclosure == wanted
    assert read_one_by_one(files, digests) == wanted


def a_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("become", [a_link, a_pipe, a_folder])
@pytest.mark.parametrize("name", ["openings.jsonl", "blobs/*.gz"])
async def test_a_body_that_lies_in_no_file_is_changed(
    recorder: Recorder, samples: Samples, name: str, become: Callable[[Path], None]
) -> None:
    """A link could show any file, and a pipe could keep a reader waiting for ever."""
    table = await written(recorder, samples)
    digest = json.loads(table.read_text())["commitment"]
    (path,) = table.parent.glob(name)

    become(path)

    assert verify_session(recorder.state, SESSION).disclosure == Undisclosed((), (digest,))


async def test_a_table_without_an_end_is_passed_over(recorder: Recorder, samples: Samples) -> None:
    table = await written(recorder, samples)
    table.write_bytes(table.read_bytes() + b"x" * 1_000_000)

    assert verify_session(recorder.state, SESSION).disclosure == Disclosed(1, 0, 0)


async def test_the_last_line_of_a_table_counts_also_without_its_newline(
    recorder: Recorder, samples: Samples
) -> None:
    table_path = await written(recorder, samples)

    table_path.write_bytes(table_path.read_bytes().removesuffix(b"\n"))

    assert verify_session(recorder.state, SESSION).disclosure == Disclosed(1, 0, 0)


@pytest.mark.parametrize(("length", "there"), [(300_000, True), (1_000_000, False)])
async def test_nothing_is_looked_for_behind_a_line_that_no_writer_ends(
    recorder: Recorder, samples: Samples, length: int, *, there: bool
) -> None:
    """A hole of a terabyte kept `verify` busy for hours; a torn line and the next are read past."""
    table = await written(recorder, samples)
    line = table.read_bytes()
    digest = json.loads(line)["commitment"]

    table.write_bytes(b"\0" * length + b"\n" + line)

    wanted = Disclosed(1, 0, 0) if there else Undisclosed((digest,), ())
    assert verify_session(recorder.state, SESSION).disclosure == wanted
    with nullcontext() if there else pytest.raises(EndlessLineError):
        without(SessionFiles(table.parent), set())
    assert line in table.read_bytes()
    with table.open("wb") as file:
        file.write(line)
        file.truncate(1 << 40)
    assert verify_session(recorder.state, SESSION).disclosure == Disclosed(1, 0, 0)


async def test_of_a_models_messages_the_salt_alone_may_be_kept(recorder: Recorder, state: Path) -> None:
    """The messages have entries of their own, so `model.asked` need prove no more than which they were."""
    async with recorder.journal() as journal:
        asked = journal.commit("[]", keep=False)
        await journal.record(ModelAsked(turn=1, backend="b", model="m", messages=asked, message_count=2))

    assert verify_session(state, SESSION).disclosure == Disclosed(0, 0, 1)


async def test_what_only_looks_like_a_commitment_is_none(recorder: Recorder, samples: Samples) -> None:
    async with recorder.journal() as journal:
        intended = samples.intended(1).model_copy(update={"arguments": {"a": {"digest": "xyz", "size": 1}}})
        await journal.record(intended)

    assert verify_session(recorder.state, SESSION).faults() == {}


async def test_a_body_longer_than_any_writers_is_a_fault_and_is_not_parsed(
    recorder: Recorder, samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with recorder.journal() as journal:
        await journal.record(samples.intended(1, "x" * 40_000))
    assert verify_session(recorder.state, SESSION).faults() == {}

    monkeypatch.setattr("audit.disclosure.LARGEST_BODY", 30_000)

    assert LARGEST_BODY > 30_000
    assert "disclosure" in verify_session(recorder.state, SESSION).faults()


@pytest.mark.parametrize("nested", [False, True])
async def test_arguments_that_look_like_a_commitment_are_none(
    recorder: Recorder, samples: Samples, *, nested: bool
) -> None:
    """Else an agent could have its session told as one whose bodies are missing."""
    posing: dict[str, object] = {"digest": "a" * 64, "size": 3}
    given = {"rows": [{"inner": posing}]} if nested else posing
    async with recorder.journal() as journal:
        await journal.record(samples.intended(1).model_copy(update={"arguments": given}))

    verdict = verify_session(recorder.state, SESSION)
    read = [
        entry for entry in SessionReader(recorder.state, SESSION).entries() if entry.type == "action.intended"
    ]

    assert verdict.disclosure == Disclosed(0, 0, 0)
    assert [unmark(entry.body["arguments"]) for entry in read] == [
        {"rows": ({"inner": posing},)} if nested else posing
    ]
