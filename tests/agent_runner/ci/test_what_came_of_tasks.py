"""Exit codes, summaries and checks as values: what agents wrote in them is data wherever they are shown."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from markdown_it import MarkdownIt

from agent_runner.ci.all import jobs_for
from agent_runner.ci.declared_checks import Found, declared_checks
from agent_runner.ci.filters import filtered
from agent_runner.ci.outcome import CheckResult, TaskResult, code_of_all, code_of_task
from agent_runner.ci.placing import Bench, place_of
from agent_runner.ci.plan import begun
from agent_runner.ci.reading import read_task
from agent_runner.ci.summary import as_plain, junit_xml, markdown, result_lines
from agent_runner.ci.task import ChangeLimits, Checks, FileCheck
from agent_runner.cli.talk import SilentWatcher
from agent_runner.errors import InvalidInputError
from policies.globs import Glob
from policies.units import Bytes, Count
from sandbox.stage import Change, ChangeKind, ChangeSet, Diff
from sandbox.stage.upper import Trouble
from tests.agent_runner.stand import quiet

if TYPE_CHECKING:
    from pathlib import Path

    from tests.agent_runner.ci.task_stand import Project

NOTHING = Found(tree=None, changes=None, patch=None, denials=0, crossings=0)
RESULT = TaskResult(
    name="t", origin="t.yaml", policy="p", grant="files", model="m", session="s" * 12, status="done"
)
HOSTILE = "\x1b]0;x\x07 <b>&\u202e | [x](http://a) @all\n## forged"


@pytest.mark.parametrize(
    ("agent", "checks", "faults", "code"),
    [
        (0, (), (), 0), (0, (1,), (), 1), (5, (1,), (), 5),
        (0, (0, 4), (), 4), (5, (1,), ("bad",), 6), (0, (), ("bad",), 6),
    ],
)  # fmt: skip
def test_a_task_passes_only_if_agent_checks_and_ledger_hold(
    agent: int, checks: tuple[int, ...], faults: tuple[str, ...], code: int
) -> None:
    made = [CheckResult(name="c", code=each) for each in checks]

    assert code_of_task(agent, made, faults) == code


@pytest.mark.parametrize(
    ("codes", "code"),
    [
        ((), 0),
        ((0, 0), 0),
        ((0, 1), 1),
        ((3, 3), 3),
        ((3, 5), 1),
        ((1, 6), 6),
        ((6, 130), 6),
        ((1, 130), 130),
    ],
)
def test_a_run_ends_with_what_its_failures_have_in_common(codes: tuple[int, ...], code: int) -> None:
    assert code_of_all([replace(RESULT, code=each) for each in codes]) == code


@pytest.mark.parametrize(("codes", "code"), [((0,), 130), ((1,), 1), ((130, 0), 130), ((), 130)])
def test_a_run_that_left_tasks_out_did_not_succeed(codes: tuple[int, ...], code: int) -> None:
    """It was interrupted before it started its last task; where `--fail-fast` left it out, another failed."""
    results = [replace(RESULT, code=each) for each in codes]

    assert code_of_all([*results, replace(RESULT, is_skipped=True)]) == code


def test_what_an_agent_wrote_is_data_in_every_summary() -> None:
    check = CheckResult(name=f"c {HOSTILE}", code=1, why=HOSTILE, output=HOSTILE)
    result = replace(RESULT, code=1, reason=HOSTILE, checks=(check,), faults=(HOSTILE,))

    xml, page, lines = junit_xml([result]), markdown([result]), [*result_lines([result])]

    suite = ET.fromstring(xml)[0]  # noqa: S314 - written here
    assert [suite.get(key) for key in ("tests", "failures", "skipped")] == ["3", "2", "0"]
    for text in (xml, page, *lines):
        assert not {"\x1b", "\x07", "\u202e"} & set(text)
    assert "\n## forged" not in page
    assert "<b>" not in page
    assert "](http" not in page
    assert all("\n" not in line for line in lines)
    assert as_plain([result])["exit_code"] == 1


def test_a_summary_stays_below_its_bound_and_says_what_is_left_out() -> None:
    checks = tuple(CheckResult(name=f"c{n}", code=1, why="w" * 400) for n in range(100))

    page = markdown([replace(RESULT, code=1, checks=checks)], largest_bytes=10_000)

    assert len(page.encode()) <= 10_000
    assert "parts left out: the whole is in results.json" in page


def test_files_are_looked_for_beneath_the_result_and_through_no_link(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tmp_path / "secret").write_text("key")
    (tree / "link").symlink_to(tmp_path / "secret")
    (tree / "long").write_bytes(b"x" * (1024 * 1024 - 2) + b"wanted")
    files = (
        FileCheck(path="link", contains="key"), FileCheck(path="long", contains="wanted"),
        FileCheck(path="long", contains="absent"), FileCheck(path="missing"), FileCheck(path="long"),
    )  # fmt: skip

    found = [*declared_checks(Checks(files=files), replace(NOTHING, tree=tree))]

    assert [check.code for check in found] == [1, 0, 1, 1, 0]
    assert [check.why for check in found if check.code] == [
        "a symlink is in the way", "the text is not in it", "it does not exist",
    ]  # fmt: skip


def test_changes_are_bounded_and_what_nobody_could_read_counts_as_changed() -> None:
    change = Change(path="tests/a", kind=ChangeKind.ADDED, before=None, after=None)
    patch = Diff(text=b"x" * 100, left_out=())
    checks = Checks(
        unchanged=(Glob.parse("tests/**"), Glob.parse("src/**")),
        changes=ChangeLimits(files=Count(1), patch=Bytes(99)),
    )

    def whys(changes: ChangeSet, patch: Diff) -> list[str]:
        found = replace(NOTHING, changes=changes, patch=patch)
        return [check.why for check in declared_checks(checks, found)]

    few = whys(ChangeSet(changes=(), troubles=()), Diff(text=b"", left_out=()))
    many = whys(ChangeSet(changes=(change,), troubles=()), patch)
    unread = whys(ChangeSet(changes=(), troubles=(Trouble("src/b", "no"),)), Diff(text=b"", left_out=()))

    assert few == ["", "", ""]
    assert many == ["changed: tests/a", "", "the patch has 100 bytes; at most 99B may be"]
    assert unread == ["not readable: src/b", "not readable: src/b", "not in the patch: src/b"]


@pytest.mark.parametrize(("denials", "crossings", "codes"), [(2, 0, [0, 0]), (3, 0, [1, 0]), (0, 1, [0, 1])])
def test_denials_and_egress_are_counted(denials: int, crossings: int, codes: list[int]) -> None:
    checks = Checks(max_denials=Count(2), no_egress=True)

    found = declared_checks(checks, replace(NOTHING, denials=denials, crossings=crossings))

    assert [check.code for check in found] == codes


def test_a_filter_means_names_and_tags_and_one_that_means_nothing_is_refused(project: Project) -> None:
    tasks = [read_task(project.task("tags: [quick]\n")), read_task(project.task(name="other"))]

    assert [task.name for task in filtered(tasks, ["quick"])] == ["mend"]
    assert [task.name for task in filtered(tasks, ["o*", "mend"])] == ["mend", "other"]
    assert filtered(tasks, []) == tasks
    with pytest.raises(InvalidInputError) as refused:
        filtered(tasks, ["mend", "none"])
    assert refused.value.message == "filter `none` means no task"


def test_results_are_kept_in_an_empty_folder_outside_of_every_workspace(
    project: Project, tmp_path: Path
) -> None:
    tasks = [read_task(project.task())]

    with begun(tmp_path / "new/results", tasks, state=tmp_path / "state", resume=False) as made:
        mode = made.kept.folder.stat().st_mode & 0o777
    for folder, said in (
        (project.workspace / "results", "lies in the workspace of task `mend`"),
        (project.folder, "is not empty"),
    ):
        with (
            pytest.raises(InvalidInputError, match=said),
            begun(folder, tasks, state=tmp_path / "state", resume=False),
        ):
            pass

    assert mode == 0o700
    assert not (project.workspace / "results").exists()


def test_no_more_tasks_run_at_once_than_the_memory_holds(project: Project) -> None:
    large = "isolation: {memory: 512GiB}\n"
    policy = project.folder / "policies/mend.yaml"
    policy.write_text(policy.read_text() + large)
    base = "version: 1\nname: mend\npolicy: fix-tests\nworkspace: ../project\nprompt: x\n"
    small = [read_task(project.task(base=base))]
    tasks = [read_task(project.task(name=f"t{n}")) for n in range(3)]

    assert jobs_for(tasks, 3) == 1
    assert jobs_for(small * 2, 2) == 2
    assert jobs_for(small, 9) == 1


def test_a_workspace_behind_a_link_is_refused_and_the_folder_itself_taken(
    project: Project, tmp_path: Path
) -> None:
    """A change that is looked at may put a link in the place of a folder that a trusted task names."""
    project.script('["finish --status done"]')
    (tmp_path / "state").mkdir(mode=0o700)
    task = read_task(project.task())
    bench = Bench(state=tmp_path / "state", tell=print, progress=quiet, watcher=SilentWatcher(), began=print)

    plain = place_of(task, bench)
    project.workspace.rename(tmp_path / "private")
    project.workspace.symlink_to(tmp_path / "private")
    with pytest.raises(InvalidInputError, match="is reached through a symlink"):
        place_of(task, bench)

    assert plain.workspace is not None
    assert plain.workspace.path == project.workspace


def test_recordings_in_the_workspace_are_hidden_and_a_workspace_in_them_is_refused(
    project: Project, tmp_path: Path
) -> None:
    """No agent reads what an earlier one did, and a replay finds the folder as its recording did."""
    (tmp_path / "state").mkdir(mode=0o700)
    task = read_task(project.task())
    bench = Bench(state=tmp_path / "state", tell=print, progress=quiet, watcher=SilentWatcher(), began=print)
    inside = project.workspace / "tasks/recordings"
    inside.mkdir(parents=True)

    hidden = place_of(task, replace(bench, recordings=(inside,))).loaded.policy.files
    seen = place_of(task, replace(bench, recordings=(tmp_path / "elsewhere",))).loaded.policy.files
    with pytest.raises(InvalidInputError, match="lies in the folder of the recordings"):
        place_of(task, replace(bench, recordings=(project.workspace,)))

    assert hidden is not None
    assert seen is not None
    assert [glob.text for glob in hidden.hide if glob.matches("tasks/recordings")] == ["tasks/recordings"]
    assert not [glob for glob in seen.hide if glob.matches("tasks/recordings")]


def test_a_run_that_a_checkout_brought_along_is_not_gone_on_with(project: Project, tmp_path: Path) -> None:
    """A branch may hold a folder that says that its tasks have passed."""
    task, results = read_task(project.task()), tmp_path / "results"
    with begun(results, [task], state=tmp_path / "state", resume=False):
        pass

    (results / ".run/mend.order.json").touch()  # of a runner that was killed with the run

    with begun(results, [task], state=tmp_path / "state", resume=True) as own:
        assert own.done == {}
        assert [path.name for path in (results / ".run").iterdir()] == ["plan.json"]
    (results / ".run").chmod(0o755)  # as git makes folders
    with (
        pytest.raises(InvalidInputError, match="holds no run of yours"),
        begun(results, [task], state=tmp_path / "state", resume=True),
    ):
        pass


def test_a_log_shows_how_the_output_of_a_failed_check_ends_and_a_page_shows_it_inert() -> None:
    output = "".join(f"line {number}\n" for number in range(50)) + "</pre> \x1b[2J ::error::x"
    check = CheckResult(name="command: pytest", code=1, why="exit code 1", output=output)
    result = replace(RESULT, code=1, checks=(check,))

    lines, page = [*result_lines([result])], markdown([result])

    at = lines.index("           command: pytest: exit code 1")
    assert lines[at + 1] == "             line 41"
    assert lines[at + 10] == "             </pre> \\x1b[2J ::error::x"
    shown = page.partition("<pre>\n")[2].partition("</pre>")[0].splitlines()
    assert (len(shown), shown[0]) == (40, "line 11")
    assert "pre" in shown[-1]
    assert "<" not in shown[-1]


def test_a_page_shows_a_difference_as_it_is() -> None:
    """Its lines begin with `+`, `-` and spaces, which Markdown takes for lists and code."""
    departure = "turn 1, `x`: another answer\n--- recorded\n+++ now\n+     3  X = 1\n-</pre><b>"
    page = markdown([replace(RESULT, code=1, departure=departure)])

    shown = MarkdownIt("commonmark").enable("table").parse(page)

    kinds = [token.type for token in shown]
    assert "bullet_list_open" not in kinds
    assert [token.content.count("\n") for token in shown if token.type == "html_block"] == [7]
    assert "<b>" not in page


@pytest.mark.parametrize(("count", "said"), [(1, "1 action denied"), (2, "2 actions denied")])
def test_what_is_counted_is_counted_in_words(count: int, said: str) -> None:
    checks = Checks(max_denials=Count(0))
    found = Found(tree=None, changes=None, patch=None, denials=count, crossings=0)

    (result,) = declared_checks(checks, found)
    page = markdown([replace(RESULT, turns=count, denials=count, changes=count)])

    assert result.why == f"{said}; at most 0 may be"
    for word in ("turn", "denial", "change"):
        assert f"{count} {word}{'s' if count == 2 else ''}," in page.replace("\n", ",").replace(" |", ",")
