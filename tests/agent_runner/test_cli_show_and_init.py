"""`show` tells what is known of a session; `init` makes a folder ready; `bench` measures this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agent_runner import starting
from agent_runner.bench.command_line import command_line_row
from agent_runner.bench.row import Row, table
from agent_runner.cli.bars import amount, bar
from agent_runner.cli.show import shown_lines
from agent_runner.errors import RefusedError
from agent_runner.policy_file import load_policy, read_closure
from agent_runner.shown import Shown, shown
from agent_runner.starting import plan_for
from agent_runner.trust import is_trusted
from audit.host import HostLog
from audit.openings import without
from audit.reader import SessionReader
from audit.state import StateFiles
from audit.withhold import prune
from tests.agent_runner.stand import FINISH, SESSION, lines, saying
from tests.agent_runner.test_delegation import children, family

if TYPE_CHECKING:
    from agent_runner.policy_file import ReadClosure
    from tests.agent_runner.stand import Stand

POLICY = (
    'version: 1\nname: team\ngrant: [files]\ncommands: {allow: ["files *", delegate]}\nbudget: {turns: 4}\n'
)
ROOT = Path(__file__).resolve().parents[2]


def pairlock(*arguments: str, place: Path, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run the command line."""
    own = {"PAIRLOCK_STATE": str(place / "state"), "XDG_CONFIG_HOME": str(place / "config")}
    environment = {**os.environ, **own}
    command = [sys.executable, "-m", "agent_runner", *arguments]
    return subprocess.run(
        command,
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        stdin=subprocess.DEVNULL,
        check=False,
        **more,
    )


async def test_show_tells_a_sessions_task_budget_actions_children_and_end(stand: Stand) -> None:
    model = family(
        [lines("files list \x1b[2J", "delegate look"), FINISH], [lines("http get https://x.example/"), FINISH]
    )
    await stand.run(model, POLICY, may_delegate=True, task="a test")
    (child,) = children(stand)

    found = shown(StateFiles(stand.state).session(SESSION), stand.state)
    below = shown(StateFiles(stand.state).session(child), stand.state)
    text = "\n".join(shown_lines(found))

    assert (found.status, found.task, found.actions, found.turns) == ("done", "a test", 3, 2)
    assert found.children == [(child, "done")]
    assert below.opened is not None
    assert (below.opened.parent, below.denials) == (SESSION, 1)
    assert "[####################] 100%  turns: 4 of 4" in text
    assert "\x1b" not in text
    assert "files list" in text
    assert json.loads(json.dumps(found.as_json()))["children"] == [{"session": child, "status": "done"}]


def test_show_says_nothing_twice_and_counts_one_turn_as_one() -> None:
    """It read `interrupted: interrupted`, and `1 in 1 turns`."""
    once = list(shown_lines(Shown(session=SESSION, status="interrupted", reason="interrupted", turns=1)))
    failed = list(shown_lines(Shown(session=SESSION, status="failed", reason="no such file", turns=2)))

    assert (once[0], once[1]) == (f"session  {SESSION}  interrupted", "actions  0 in 1 turn, 0 denied")
    assert (failed[0], failed[1]) == (
        f"session  {SESSION}  failed: no such file",
        "actions  0 in 2 turns, 0 denied",
    )


async def test_show_reads_a_session_that_runs(stand: Stand) -> None:
    def look(*_: object) -> Any:
        seen.append(shown(StateFiles(stand.state).session(SESSION), stand.state))
        return FINISH

    seen: list[Any] = []
    model = saying(lines("files list"), FINISH)
    model._answer, first = look, model._answer
    model._answer = lambda messages, turn: look() if turn == 2 else first(messages, turn)
    await stand.run(model)

    assert (seen[0].status, seen[0].actions, seen[0].reason) == ("running", 1, "")


@pytest.mark.parametrize(
    ("names", "policy"),
    [
        (["README.md", "pyproject.toml"], "fix-tests"),
        (["numbers.csv"], "data-analysis"),
        (["README.md"], "read-only-review"),
        ([], "read-only-review"),
    ],
)
def test_init_chooses_by_what_lies_in_the_folder(tmp_path: Path, names: list[str], policy: str) -> None:
    for name in names:
        (tmp_path / name).touch()

    assert plan_for(tmp_path, None).policy == policy


def test_init_writes_a_policy_that_runs_and_replaces_none(tmp_path: Path) -> None:
    """What it wrote is trusted as it stands; a second time, and over a link, nothing is written."""
    work, linked = tmp_path / "work", tmp_path / "linked"
    work.mkdir()
    linked.mkdir()
    (linked / "pairlock.yaml").symlink_to(tmp_path / "elsewhere.yaml")

    first = pairlock("init", str(work), "--yes", place=tmp_path)
    trusted = pairlock("policy", "trust", "--help", place=tmp_path)
    ran = pairlock("run", "x", "--model", "scripted:none.yaml", place=tmp_path, cwd=work)
    second = pairlock("init", str(work), "--yes", place=tmp_path)
    over = pairlock("init", str(linked), "--yes", place=tmp_path)
    asked = pairlock("init", str(tmp_path), place=tmp_path)

    assert (first.returncode, trusted.returncode) == (0, 0), first.stderr
    assert "  why: nothing speaks for more: an agent may read; `--policy` names another" in first.stderr
    assert load_policy(str(work / "pairlock.yaml")).policy.grant.label == "files"
    assert "not trusted" not in ran.stderr
    assert [done.returncode for done in (second, over, asked)] == [2, 2, 2]
    assert not (tmp_path / "elsewhere.yaml").exists()
    assert "hint: `--yes`" in asked.stderr


def test_init_and_model_list_print_no_folders_name_as_a_terminal_would_obey_it(tmp_path: Path) -> None:
    """A folder comes from a clone or an archive, whose author names it."""
    place = tmp_path / "\x1b]0;title\x07\u202e"
    place.mkdir()

    made = pairlock("init", str(place), "--yes", place=place)
    listed = pairlock("model", "list", place=place)

    assert (made.returncode, listed.returncode) == (0, 0), made.stderr
    assert "\\x1b]0;title\\x07\\u202e/pairlock.yaml: `read-only-review`" in made.stderr
    assert "no model is configured in " in listed.stderr
    assert not set("\x1b\x07\u202e") & set(made.stderr + listed.stderr)


def test_init_trusts_what_it_wrote_and_nothing_that_came_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever else writes in the folder may be quick."""
    state, plan = tmp_path / "state", plan_for(tmp_path, None)

    def changed_meanwhile(path: Path) -> ReadClosure:
        path.write_text("version: 1\nname: project\nextends: fix-tests\n")
        return read_closure(path)

    monkeypatch.setattr(starting, "read_closure", changed_meanwhile)

    with pytest.raises(RefusedError, match="was changed while it was written"):
        starting.start_policy(plan, state)

    assert not is_trusted(state, read_closure(tmp_path / "pairlock.yaml").digest)


async def test_show_tells_what_is_left_of_a_session_after_a_body_was_withheld(stand: Stand) -> None:
    await stand.run(saying(lines("files list"), FINISH))
    files = StateFiles(stand.state).session(SESSION)
    without(files, {stand.entries("action.finished")[0]["body"]["digest"]})

    found = shown(files, stand.state)

    assert (found.status, found.actions) == ("done", 2)
    assert [(each.name, each.observed) for each in found.budgets][:1] == [("turns", 2)]


async def test_show_reads_a_log_once(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read three times, one of 20,754 entries took 8 to 10 seconds."""
    await stand.run(saying(lines("files list"), FINISH))
    read: list[str] = []
    entries = SessionReader.entries
    monkeypatch.setattr(
        SessionReader, "entries", lambda reader: read.append(reader.session_id) or entries(reader)
    )

    found = shown(StateFiles(stand.state).session(SESSION), stand.state)

    assert (found.status, found.turns, len(found.budgets) > 0) == ("done", 2, True)
    assert read == [SESSION]


async def test_of_a_pruned_child_show_says_so_and_resume_names_it(stand: Stand) -> None:
    """What it used is not known, so what is left of the one pot is not either."""
    model = family([lines("delegate look")], [FINISH])
    with suppress(IndexError):
        await stand.run(model, POLICY, may_delegate=True, task="a test")
    (child,) = children(stand)
    with HostLog(stand.state, writer="test") as host:
        prune(host, child, why="old")

    found = shown(StateFiles(stand.state).session(SESSION), stand.state)

    assert (found.children, found.budgets) == ([(child, "pruned")], [])
    with pytest.raises(RefusedError, match=f"session `{child}`, which this one delegated to, was pruned"):
        await stand.resume(saying(FINISH))


def test_bench_prints_floor_ours_and_ratio_and_leaves_nothing(tmp_path: Path) -> None:
    done = pairlock("bench", "--no-engine", "--json", place=tmp_path)

    rows = {row["name"]: row for row in json.loads(done.stdout)}
    entry = rows["an entry of the ledger, durable"]
    assert entry["floor"] > 0
    assert entry["ratio"] == entry["ours"] / entry["floor"]
    assert rows["pairlock --help"]["ours"] > rows["pairlock --help"]["floor"] > 0
    assert all(row["ours"] > 0 for row in rows.values())
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_bench_runs_nothing_that_lies_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An agent may have written there; the twin: asked to, the same interpreter would have run it."""
    laid = tmp_path / "agent_runner"
    laid.mkdir()
    (laid / "__init__.py").write_text("import pathlib; pathlib.Path('ran').touch()")
    monkeypatch.chdir(tmp_path)

    row = command_line_row()
    ran = (tmp_path / "ran").exists()
    subprocess.run([sys.executable, "-c", "import agent_runner"], check=True)

    assert row.ours > row.floor > 0
    assert not ran
    assert (tmp_path / "ran").exists()


def test_the_table_says_where_a_promise_does_not_hold() -> None:
    rows = [
        Row(name="a", unit="ms", ours=3.0, floor=1.0, most_ratio=1.5),
        Row(name="b", unit="ms", ours=3.0, floor=None, most=5.0),
        Row(name="c", unit="us", ours=3.0, floor=2.0),
    ]

    told = table(rows)

    assert [row.holds for row in rows] == [False, True, None]
    assert told[1].endswith("3.00  1.5 x: not here")
    assert told[2].endswith("5 ms")
    assert max(map(len, told)) <= 80


@pytest.mark.parametrize(
    ("share", "drawn"),
    [(0, "[....]"), (0.01, "[#...]"), (0.5, "[##..]"), (0.99, "[###.]"), (1, "[####]"), (9, "[####]")],
)
def test_a_bar_is_full_only_when_all_is_used(share: float, drawn: str) -> None:
    assert bar(share, width=4) == drawn


@pytest.mark.parametrize(
    ("count", "unit", "told"),
    [
        (999, "tokens", "999"),
        (400_000, "tokens", "400k"),
        (1536, "bytes", "1.5 KiB"),
        (450_000, "millionths of a US dollar", "$0.45"),
        (1800, "seconds", "30m 0s"),
        (7260, "seconds", "2h 1m"),
    ],
)
def test_amounts_are_told_in_the_units_that_people_read(count: int, unit: str, told: str) -> None:
    assert amount(count, unit) == told
