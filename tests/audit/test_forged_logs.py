"""Logs as a forger leaves them who can write everywhere and holds no host's key: every reader finds each."""

import asyncio
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from audit import begin
from audit.chain import Chain
from audit.encode import Encoder
from audit.event import LogSealed
from audit.journal import Journal
from audit.keys import session_key
from audit.note import SignerKey, sign
from audit.query import parse_filter, query_session
from audit.reader import BrokenEntry, SessionReader
from audit.recover import session_origin
from audit.state import StateFiles
from audit.verify import verify_session
from tests.audit import attacker
from tests.audit.samples import SESSION, Recorder, Samples, TurnableClock
from tests.audit.test_three_verifiers_agree import documents_find, single_file_finds

OTHER = "zzzzzzzzzzzz"
ORIGIN = session_origin(SESSION)
Change = Callable[["Loot"], list[bytes]]


@dataclass(frozen=True, slots=True)
class Loot:
    """What a forger has.

    Attributes:
        lines: The session's, of two epochs.
        others: Another session's, of the same shape.
        keys: The session's own keys of both epochs: somebody has read the writers' memory.
        other_key: The other session's key.
    """

    lines: list[bytes]
    others: list[bytes]
    keys: list[SignerKey]
    other_key: SignerKey

    def seals(self) -> list[int]:
        """Return where the seals stand."""
        return [place for place, line in enumerate(self.lines) if b'"type":"log.sealed"' in line]


def chained(lines: list[bytes]) -> list[bytes]:
    return attacker.recompute(lines, ORIGIN)


def sealed_by(lines: list[bytes], key: SignerKey, epoch: int) -> list[bytes]:
    """Return lines with one seal of them behind."""
    chain = Chain.start(ORIGIN)
    for line in lines:
        chain.take(line)
    note = sign(chain.checkpoint(ORIGIN).text(), [key])
    rest, _ = Encoder(TurnableClock()).encode(LogSealed(epoch=epoch, note=note))
    return [*lines, chain.add(rest)]


def with_note(line: bytes, note: str) -> bytes:
    fields = json.loads(line)
    fields["body"]["note"] = note
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()


def swap_beneath_a_seal(loot: Loot) -> list[bytes]:
    lines, seal = list(loot.lines), loot.seals()[1]
    lines[seal - 2], lines[seal - 1] = lines[seal - 1], lines[seal - 2]
    return chained(lines)


def replay_an_old_seal(loot: Loot) -> list[bytes]:
    first, second = loot.seals()[:2]
    return chained([*loot.lines[:second], loot.lines[first], *loot.lines[second + 1 :]])


def splice(loot: Loot) -> list[bytes]:
    ours = [line.replace(OTHER.encode(), SESSION.encode()) for line in loot.others]
    return chained([*loot.lines[:80], *ours[80:]])


def swap_beginnings(loot: Loot) -> list[bytes]:
    return chained([loot.others[0], *loot.lines[1:]])


def say_a_number_twice(loot: Loot) -> list[bytes]:
    return [*loot.lines[:40], loot.lines[39], *loot.lines[40:]]


def seal_with_another_sessions_key(loot: Loot) -> list[bytes]:
    return sealed_by(chained([*loot.lines[:-1], attacker.edited(loot.lines[3])]), loot.other_key, 2)


def cut_and_seal_with_the_old_epochs_key(loot: Loot) -> list[bytes]:
    return sealed_by(loot.lines[: loot.seals()[-2]], loot.keys[0], 1)


def cut_within_the_first_epoch_and_seal_again(loot: Loot) -> list[bytes]:
    """Write the first epoch otherwise, with its own key: only the host's log knows better."""
    lines = [*loot.lines[:10], attacker.edited(loot.lines[10]), *loot.lines[11 : loot.seals()[0]]]
    return sealed_by(chained(lines), loot.keys[0], 1)


def fork_behind_an_equal_beginning(loot: Loot) -> list[bytes]:
    """Leave a sealed beginning as it is, and go on otherwise, with the right key, to the same length."""
    seal = loot.seals()[0] + 1
    told = [
        line if b'"type":"log.sealed"' in line else attacker.edited(line)
        for line in loot.lines[seal : loot.seals()[1]]
    ]
    return sealed_by(chained([*loot.lines[:seal], *told]), loot.keys[0], 1)


def sign_under_a_name_that_looks_the_same(loot: Loot) -> list[bytes]:
    last, key = loot.seals()[-1], loot.keys[1]
    alike = SignerKey.make(key.name.replace("a", "\u0430"), key.seed)
    chain = Chain.start(ORIGIN)
    for line in loot.lines[:last]:
        chain.take(line)
    note = sign(chain.checkpoint(ORIGIN).text(), [alike])
    return chained([*loot.lines[:last], with_note(loot.lines[last], note), *loot.lines[last + 1 :]])


def carriage_returns(loot: Loot) -> list[bytes]:
    return [line + b"\r" for line in loot.lines]


def carriage_returns_chained(loot: Loot) -> list[bytes]:
    chain = Chain.start(ORIGIN)
    return [chain.add(b"{" + line.split(b",", 2)[2] + b"\r") for line in loot.lines]


def byte_order_mark(loot: Loot) -> list[bytes]:
    return [b"\xef\xbb\xbf" + loot.lines[0], *loot.lines[1:]]


def an_empty_line(loot: Loot) -> list[bytes]:
    return [*loot.lines[:5], b"", *loot.lines[5:]]


def zeros_at_the_end(loot: Loot) -> list[bytes]:
    return [*loot.lines, b"\0" * 512]


FORGERIES: list[Change] = [
    swap_beneath_a_seal,
    replay_an_old_seal,
    splice,
    swap_beginnings,
    say_a_number_twice,
    seal_with_another_sessions_key,
    cut_and_seal_with_the_old_epochs_key,
    cut_within_the_first_epoch_and_seal_again,
    fork_behind_an_equal_beginning,
    sign_under_a_name_that_looks_the_same,
    carriage_returns,
    carriage_returns_chained,
    byte_order_mark,
    an_empty_line,
    zeros_at_the_end,
]


def ours_finds(state: Path, key: str) -> bool:
    return bool(verify_session(state, SESSION, pinned_vkey=key).faults())


def reader_finds(state: Path, _key: str) -> bool:
    return any(isinstance(entry, BrokenEntry) for entry in SessionReader(state, SESSION).entries())


def query_finds(state: Path, _key: str) -> bool:
    found = query_session(state, SESSION, parse_filter("type=nothing.such"))
    return any(isinstance(entry, BrokenEntry) for entry in found)


READERS = (ours_finds, reader_finds, query_finds, single_file_finds, documents_find)


@pytest.fixture(scope="module")
def loot(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Loot]:
    """Return a state of two sessions of two epochs each, and what a forger has of it."""
    state, keys = tmp_path_factory.mktemp("forged") / "state", list[SignerKey]()

    def seen(session: str, epoch: int) -> SignerKey:
        keys.append(session_key(session, epoch))
        return keys[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(begin, "session_key", seen)
        for session in (SESSION, OTHER):
            asyncio.run(two_epochs(state, session))
    logs = [attacker.read_lines(StateFiles(state).session(session).events) for session in (SESSION, OTHER)]
    return state, Loot(logs[0], logs[1], keys[:2], keys[2])


async def two_epochs(state: Path, session: str) -> None:
    samples = Samples()
    samples.session = session
    await Recorder(state).whole(session, actions=70, close=False)
    async with Journal.reopen(state, session) as journal:
        for number in range(10):
            await journal.record(samples.intended(number))
        await journal.close(samples.closed())


@pytest.mark.parametrize("finds", READERS)
@pytest.mark.parametrize("forgery", FORGERIES)
def test_every_reader_finds_a_forgery(
    loot: tuple[Path, Loot],
    tmp_path: Path,
    forgery: Change,
    finds: Callable[[Path, str], bool],
) -> None:
    """The whole log as it was is believed; as the forger leaves it, by none, whatever is looked for."""
    whole, has = loot
    state = tmp_path / "state"
    shutil.copytree(whole, state)
    key = (whole / "host.vkey").read_text().strip()
    assert not finds(state, key)
    forged = forgery(has)
    assert forged != has.lines

    attacker.write_lines(state / "sessions" / SESSION / "events.jsonl", forged)

    assert finds(state, key)


@pytest.mark.parametrize("finds", READERS)
def test_a_hosts_log_set_back_with_its_session_and_not_its_checkpoint_is_found(
    loot: tuple[Path, Loot], tmp_path: Path, finds: Callable[[Path, str], bool]
) -> None:
    """Both are cut to where they agreed once: the checkpoint covers more, and nobody can sign another."""
    whole, has = loot
    state = tmp_path / "state"
    shutil.copytree(whole, state)
    hosts = attacker.read_lines(state / "ledger.jsonl")
    kept = next(place for place, line in enumerate(hosts) if b'"session.sealed"' in line)
    size = json.loads(hosts[kept])["body"]["size"]
    attacker.write_lines(state / "ledger.jsonl", hosts[: kept + 1])
    attacker.write_lines(state / "sessions" / SESSION / "events.jsonl", has.lines[: size + 1])

    assert finds(state, (whole / "host.vkey").read_text().strip())
