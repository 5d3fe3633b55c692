"""A large log is looked through by several processes: they find what one finds, whatever was done to it."""

import asyncio
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from audit.apart import Apart
from audit.chain import Entry, read
from audit.errors import AuditError, LostHelperError
from audit.filters import Filter, lacks_tag, matches, parse_filter
from audit.index import read_index
from audit.reader import SessionReader
from audit.search import Search, ahead, seen
from audit.state import StateFiles
from tests.audit import attacker
from tests.audit.samples import SESSION, Recorder, Samples

PROCESSES = 3
ENTRIES = 400
WORDS = ["type=action.intended", "type=action.finished", "type!=action.intended", "seq=17", "verdict=allow"]
WORDS += [
    "argv~app",
    "argv~nowhere",
    "any~7",
    "path=src/app.py",
    "path!~12",
    "exit_code=0",
    "argv~12",
    "at~T",
]


async def write_in_many_files(state: Path) -> None:
    samples, recorder = Samples(), Recorder(state)
    async with recorder.journal(segment_bytes=20_000) as journal:
        await journal.record(samples.opened(journal.commit("a task")))
        for number in range(ENTRIES // 2):
            await journal.record_lazily(samples.intended(number, f"src/app{number}.py"))
            await journal.record(samples.finished(number))
        await journal.close(samples.closed())


@pytest.fixture(scope="module")
def many_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    state = tmp_path_factory.mktemp("many") / "state"
    asyncio.run(write_in_many_files(state))
    assert len(files_of(state)) > PROCESSES
    return state


@pytest.fixture
def state(many_files: Path, tmp_path: Path) -> Path:
    return shutil.copytree(many_files, tmp_path / "state")


def files_of(state: Path) -> list[Path]:
    return [path for _, path in StateFiles(state).session(SESSION).segments()]


def found(state: Path, wanted: Filter, *, processes: int) -> tuple[list[tuple[int, bytes]], object]:
    """Return what fits, and how the looking ended: where it stands, or with which error."""
    record = read_index(StateFiles(state)).session(SESSION)
    search = Search(SESSION, record, wanted)
    skim, hits = search.skim(), list[tuple[int, bytes]]()
    try:
        for seq, line, leaf in seen(search, skim, files_of(state), processes=processes):
            entry = read(line, leaf)
            if not lacks_tag(wanted, entry) and matches(wanted, entry):
                hits.append((seq, line))
    except AuditError as error:
        return hits, str(error)
    return hits, skim.standing()


def some_filters() -> list[Filter]:
    chance = random.Random(7)  # noqa: S311 - the same each time
    return [parse_filter(" ".join(chance.sample(WORDS, k=chance.randrange(3)))) for _ in range(8)]


def test_processes_find_what_one_finds_and_what_a_reader_reads(state: Path) -> None:
    entries = [entry for entry in SessionReader(state, SESSION).entries() if isinstance(entry, Entry)]

    for wanted in some_filters():
        one = found(state, wanted, processes=1)
        assert found(state, wanted, processes=PROCESSES) == one
        assert [seq for seq, _ in one[0]] == [entry.seq for entry in entries if matches(wanted, entry)]


def test_every_file_of_a_log_that_holds_is_left_to_helpers(state: Path) -> None:
    record = read_index(StateFiles(state)).session(SESSION)
    search, paths = Search(SESSION, record, parse_filter("seq=3")), files_of(state)

    looked_at = list(ahead(search, search.skim(), paths, PROCESSES))

    assert looked_at.count(None) == len(paths)
    assert len(looked_at) == len(paths) + 1


def change_lines(
    place: int, change: Callable[[attacker.Lines], attacker.Lines]
) -> Callable[[list[Path]], None]:
    def attack(paths: list[Path]) -> None:
        attacker.write_lines(paths[place], change(attacker.read_lines(paths[place])))

    return attack


def swap(paths: list[Path]) -> None:
    second, third = paths[1].read_bytes(), paths[2].read_bytes()
    paths[1].write_bytes(third)
    paths[2].write_bytes(second)


def link(paths: list[Path]) -> None:
    paths[1].unlink()
    paths[1].symlink_to(paths[2])


def tear(place: int, change: Callable[[bytes], bytes]) -> Callable[[list[Path]], None]:
    def attack(paths: list[Path]) -> None:
        paths[place].write_bytes(change(paths[place].read_bytes()))

    return attack


ATTACKS: dict[str, Callable[[list[Path]], None]] = {
    "edited": change_lines(1, lambda lines: [*lines[:9], lines[9].replace(b"src", b"lie"), *lines[10:]]),
    "edited at the start": change_lines(
        1, lambda lines: [lines[0].replace(b'"at":"2', b'"at":"1'), *lines[1:]]
    ),
    "edited in the last": change_lines(
        -1, lambda lines: [lines[0], lines[1].replace(b"ok", b"ko"), *lines[2:]]
    ),
    "a line less": change_lines(2, lambda lines: lines[1:]),
    "the last line less": change_lines(2, lambda lines: lines[:-1]),
    "a line twice": change_lines(2, lambda lines: [lines[0], *lines]),
    "not json": change_lines(2, lambda lines: [lines[0], b"{", *lines[1:]]),
    "emptied": change_lines(1, lambda _: []),
    "torn in the middle": tear(1, lambda raw: raw[:-5]),
    "torn at the end": tear(-1, lambda raw: raw + b'{"seq"'),
    "a file less": lambda paths: paths[1].unlink(),
    "swapped": swap,
    "a link": link,
    "seals of another": change_lines(1, lambda lines: [line.replace(b"\\u2014", b"x") for line in lines]),
    "half a seal": change_lines(
        1, lambda lines: [line[: len(line) // 2] if b'"type":"log.' in line else line for line in lines]
    ),
    "epochs of another": change_lines(
        1, lambda lines: [line.replace(b'"epoch":1', b'"epoch":2') for line in lines]
    ),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_processes_end_where_one_ends(state: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    paths = files_of(state)

    ATTACKS[name](paths)

    for words in ("", "argv~app1", "type=action.finished"):
        wanted = parse_filter(words)
        assert found(state, wanted, processes=PROCESSES) == found(state, wanted, processes=1)
    assert capfd.readouterr() == ("", "")


def test_a_task_that_fails_unforeseen_counts_as_lost_and_says_nothing(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def fails() -> Iterator[int]:
        yield 1
        raise ZeroDivisionError

    with Apart([fails], processes=1) as apart, pytest.raises(LostHelperError):
        list(apart.results(0))

    assert capfd.readouterr() == ("", "")


def test_a_helper_that_is_killed_costs_nothing_but_time(state: Path) -> None:
    wanted = parse_filter("type=action.intended")
    record = read_index(StateFiles(state)).session(SESSION)
    search = Search(SESSION, record, wanted)
    skim, hits = search.skim(), list[int]()

    for seq, _, _ in seen(search, skim, files_of(state), processes=PROCESSES):
        if not hits:
            for child in children(os.getpid()):
                os.kill(child, signal.SIGKILL)
        hits.append(seq)

    assert hits == [seq for seq, _ in found(state, wanted, processes=1)[0]]


def test_who_stops_asking_leaves_no_process(state: Path) -> None:
    record = read_index(StateFiles(state)).session(SESSION)
    search = Search(SESSION, record, parse_filter(""))
    before = children(os.getpid())

    asked = seen(search, search.skim(), files_of(state), processes=PROCESSES)
    next(asked)
    during = children(os.getpid())
    asked.close()

    assert during > before
    assert children(os.getpid()) == before


ASKING = """
    import signal
    import sys
    from pathlib import Path
    from audit.filters import parse_filter
    from audit.index import read_index
    from audit.search import Search, ahead, seen
    from audit.state import StateFiles

    signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell runs in the background ignores it
    files = StateFiles(Path(sys.argv[1]))
    search = Search(sys.argv[2], read_index(files).session(sys.argv[2]), parse_filter(""))
    paths = [path for _, path in files.session(sys.argv[2]).segments()]
    try:
        for _ in seen(search, search.skim(), paths, processes=3):
            print("found", flush=True)
            sys.stdin.read()
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


@pytest.mark.parametrize(("how", "says"), [(signal.SIGKILL, ""), (signal.SIGINT, "interrupted\n")])
def test_no_helper_outlives_who_asked(state: Path, how: signal.Signals, says: str) -> None:
    command = [sys.executable, "-c", textwrap.dedent(ASKING), str(state), SESSION]
    asking = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert asking.stdout is not None
    assert asking.stdout.readline() == "found\n"
    helpers = children(asking.pid)
    assert helpers

    asking.send_signal(how)
    out, errors = asking.communicate(timeout=60)

    assert (out, errors) == (says, "")
    patience = time.monotonic() + 60
    while helpers & {int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()}:
        assert time.monotonic() < patience
        time.sleep(0.05)


@contextmanager
def descriptors_left(number: int) -> Iterator[None]:
    """Let this process, and those that it starts, open no more than so many files."""
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = max(int(path.name) for path in Path("/proc/self/fd").iterdir()) + number + 1
    taken = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, most))
    try:
        with suppress(OSError):
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        for descriptor in taken[len(taken) - number :]:
            os.close(descriptor)
        del taken[len(taken) - number :]
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))
        for descriptor in taken:
            os.close(descriptor)


def test_many_files_take_no_more_descriptors_and_processes_than_few() -> None:
    tasks = [lambda number=number: iter([number]) for number in range(60)]
    before = children(os.getpid())

    with descriptors_left(20), Apart(tasks, processes=PROCESSES) as apart:
        done = [list(apart.results(number)) for number in range(60)]
        during = children(os.getpid())

    assert done == [[number] for number in range(60)]
    assert during == before


def test_where_no_process_can_be_started_this_one_does_the_work(state: Path) -> None:
    record, wanted = read_index(StateFiles(state)).session(SESSION), parse_filter("argv~app")
    search, paths = Search(SESSION, record, wanted), files_of(state)

    with descriptors_left(3):
        assert list(ahead(search, search.skim(), paths, PROCESSES)) == []
        few = list(seen(search, search.skim(), paths, processes=PROCESSES))
        with Path("/dev/null").open("rb"), Path("/dev/null").open("rb"), Path("/dev/null").open("rb"):
            pass  # none was left open

    assert few == list(seen(search, search.skim(), paths, processes=1)) != []


def children(parent: int) -> set[int]:
    """Return the processes that a process has started."""
    found = set()
    for task in Path(f"/proc/{parent}/task").iterdir():
        found |= {int(child) for child in (task / "children").read_text().split()}
    return found
