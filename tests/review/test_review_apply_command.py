"""`pairlock apply`: what a person or a program takes of a session's changes, and how it is told."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from contextlib import nullcontext
from typing import TYPE_CHECKING

import pytest

from agent_runner.errors import RefusedError
from agent_runner.lineage import endorse, labels_of, require_lineage
from agent_runner.lineage_places import unreviewed
from agent_runner.report.gather import Pins, gather_report
from audit.event import StageApplied
from audit.host import HostLog, Receipt
from policies.files_block import FilesBlock
from policies.globs import Glob
from policies.grant import Grant
from sandbox.stage import KeptBy, ProtectedBy
from sandbox.stage import branch as branch_module
from sandbox.workspace import open_workspace

if TYPE_CHECKING:
    from pathlib import Path

    from audit.fields import Event
    from tests.review.made import Made

LINES = "".join(f"{number}\n" for number in range(40))
CHANGED = LINES.replace("\n3\n", "\nthree\n").replace("\n20\n", "\ntwenty\n").replace("\n35\n", "\n")


def label(made: Made) -> set[str]:
    identity = open_workspace(made.workspace, state=made.state).identity
    return {capability.value for capability in labels_of(made.state).read(identity).capabilities}


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["/usr/bin/git", "-c", "user.name=u", "-c", "user.email=u@example.com", *words],
        cwd=folder, check=True, capture_output=True, text=True,
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"},
    )  # fmt: skip
    return done.stdout


def test_a_person_takes_everything_and_the_workspace_has_no_label(made: Made) -> None:
    session = made.session(lambda inside: made.fill({"a": "agent\n", "d/b": "new\n"}, below=inside))

    said = made.at_terminal("apply", session, typed="y\n")

    assert said.code == 0, said.out
    assert (made.workspace / "d/b").read_text() == "new\n"
    assert label(made) == set()


def test_hunks_are_chosen_one_by_one_and_the_others_wait(made: Made) -> None:
    """`--patch`: y, n, and d for the rest of a file; what was left is still there to review."""
    made.fill({"a": LINES, "b": "1\n"})

    def act(inside: Path) -> None:
        made.fill({"a": CHANGED, "b": "2\n", "c": "new\n"}, below=inside)

    session = made.session(act)

    said = made.at_terminal("apply", session, "--patch", typed="n\ny\nd\ny\nn\n")
    left = made.pairlock("diff", session, "--name-only")

    assert said.code == 0, said.out
    assert (made.workspace / "a").read_text() == LINES.replace("\n20\n", "\ntwenty\n")
    assert (made.workspace / "b").read_text() == "2\n"
    assert not (made.workspace / "c").exists()
    assert left.out.splitlines() == ["a", "c"]
    assert "applied  a (the chosen hunks)" in said.out


def test_each_change_is_offered_with_what_runs_it_later(made: Made) -> None:
    session = made.session(lambda inside: made.fill({"Makefile": "all:\n", "notes": "n\n"}, below=inside))

    said = made.at_terminal("apply", session, "--patch", typed="n\nn\n", columns=200)

    assert "added: Makefile; on your machine later: run by `make`" in said.out
    assert "added: notes\n" in said.out


def test_leaving_everything_changes_nothing(made: Made) -> None:
    """`q` and the end of the input leave what was not chosen; nothing is written or labelled."""
    made.fill({"a": LINES})
    session = made.session(lambda inside: made.fill({"a": CHANGED, "b": "x\n"}, below=inside))

    said = made.at_terminal("apply", session, "-p", typed="q\n")

    assert (said.code, "nothing was chosen" in said.out) == (0, True)
    assert (made.workspace / "a").read_text() == LINES
    assert made.pairlock("diff", session, "--name-only").out.split() == ["a", "b"]


def test_chosen_hunks_can_be_committed_to_a_branch(made: Made) -> None:
    made.fill({"a": LINES})
    git(made.workspace, "init", "-q", "-b", "main")
    git(made.workspace, "add", "a")
    git(made.workspace, "commit", "-qm", "start")
    session = made.session(lambda inside: (inside / "a").write_text(CHANGED))

    said = made.at_terminal(
        "apply", session, "-p", "--to-branch", "agent", "-m", "Take one", typed="y\nn\nn\n"
    )

    assert said.code == 0, said.out
    assert git(made.workspace, "show", "agent:a") == LINES.replace("\n3\n", "\nthree\n")
    assert git(made.workspace, "log", "-1", "--format=%B", "agent").strip().splitlines() == [
        "Take one",
        "",
        f"Pairlock-Session: {session}",
    ]
    assert (made.workspace / "a").read_text() == LINES
    assert git(made.workspace, "status", "--porcelain") == ""
    assert label(made) == set()


def test_a_branch_that_nobody_looked_at_says_so_and_labels_the_workspace(made: Made) -> None:
    """`apply --yes` in CI keeps the label: in the commit's metadata, and on the repository that holds it."""
    made.fill({"a": "1\n"})
    git(made.workspace, "init", "-q", "-b", "main")
    git(made.workspace, "add", "a")
    git(made.workspace, "commit", "-qm", "start")
    session = made.session(lambda inside: (inside / "a").write_text("2\n"))

    said = made.pairlock("apply", session, "--yes", "--to-branch", "agent", CI="1")

    assert said.code == 0, said.err
    assert "Pairlock-Unreviewed: files+network" in git(made.workspace, "log", "-1", "--format=%B", "agent")
    assert label(made) == {"files", "network"}
    told = [row[3] for row in gather_report(made.state, session, Pins()).host if row[2] == "stage.applied"]
    assert [line.partition(", by ")[0] for line in told] == [
        f"1 committed to branch agent of {made.workspace}"
    ]


def tree_of_another_repository(made: Made, kind: str) -> Path:
    """Make the workspace a work tree of a repository beside it, and return that one's folder."""
    seed, main = made.top / "seed", made.top / "main"
    made.fill({"a": "1\n"}, below=seed)
    git(seed, "init", "-q", "-b", "main")
    git(seed, "add", "a")
    git(seed, "commit", "-qm", "start")
    made.workspace.rmdir()
    if kind == "apart":
        git(seed, "clone", "-q", ".", str(made.workspace), "--separate-git-dir", str(main))
        return main
    git(seed, "clone", "-q", *(["--bare"] if kind == "bare" else []), ".", str(main))
    if kind in {"work tree", "bare"}:
        git(main, "worktree", "add", "-q", "-b", "side", str(made.workspace))
    elif kind == "links":  # as git's own git-new-workdir makes them
        (made.workspace / ".git").mkdir(parents=True)
        (made.workspace / ".git/HEAD").write_text("ref: refs/heads/main\n")
        for name in ("objects", "refs", "config"):
            (made.workspace / ".git" / name).symlink_to(main / ".git" / name)
        git(made.workspace, "checkout", "-q", "-f")
    else:
        (main / ".git/modules").mkdir()
        git(main, "clone", "-q", ".", str(made.workspace), "--separate-git-dir", ".git/modules/sub")
    return main


@pytest.mark.parametrize("kind", ["work tree", "submodule", "links", "bare", "apart"])
def test_a_branch_that_lies_in_another_folders_repository_labels_that_one_as_well(
    made: Made, kind: str
) -> None:
    """Who works in that folder finds the commit in its `.git`, as if it had been written there."""
    main = tree_of_another_repository(made, kind)
    session = made.session(lambda inside: (inside / "a").write_text("2\n"))
    there, other = open_workspace(main, state=made.state), made.top / "other"
    other.mkdir()
    require_lineage(made.state, there, Grant.FILES_EXEC)

    said = made.pairlock("apply", session, "--yes", "--to-branch", "agent")

    assert said.code == 0, said.err
    for grant in (Grant.FILES_EXEC, Grant.FILES):
        with nullcontext() if grant is Grant.FILES else pytest.raises(RefusedError, match=session):
            require_lineage(made.state, there, grant)
    require_lineage(made.state, open_workspace(other, state=made.state), Grant.FILES_EXEC)
    assert label(made) == {"files", "network"}
    endorse(made.state, there.identity, unreviewed(labels_of(made.state), there.identity))
    require_lineage(made.state, there, Grant.FILES_EXEC)


def test_a_branch_that_git_could_not_keep_is_refused_before_anything_is_recorded(made: Made) -> None:
    """A branch `main/x` has no place beside `main`; a folder of branches is no branch."""
    made.fill({"a": "1\n"})
    git(made.workspace, "init", "-q", "-b", "main")
    git(made.workspace, "add", "a")
    git(made.workspace, "commit", "-qm", "start")
    git(made.workspace, "branch", "team/one")
    session = made.session(lambda inside: (inside / "a").write_text("2\n"))

    refused = [
        made.pairlock("apply", session, "--yes", "--to-branch", name)
        for name in ("main/x", "main/x/y", "team")
    ]
    none, fine = entries(made), made.pairlock("apply", session, "--yes", "--to-branch", "team/two")

    assert "branch `main` exists, so git keeps none below it" in refused[0].err
    assert (none, fine.code) == ([], 0)
    assert [said.code for said in refused] == [4, 4, 4]


def test_what_nobody_looked_at_labels_the_workspace(made: Made) -> None:
    """Without a terminal only `--yes` applies, and the label stays; refused, nothing is labelled."""
    session = made.session(lambda inside: (inside / "a").write_text("agent\n"))

    refused = made.pairlock("apply", session)
    before = label(made)
    taken = made.pairlock("apply", session, "--yes")

    assert (refused.code, before) == (2, set())
    assert "nobody is there to say yes" in refused.err
    assert (taken.code, taken.out) == (0, "applied  a\n")
    assert label(made) == {"files", "network"}


def test_paths_are_names_before_they_are_patterns(made: Made) -> None:
    """A name with a pattern's characters names itself; a look-alike in another case is not taken."""
    names = ["a[1].txt", "d/x", "d/y", "README", "readme"]
    session = made.session(lambda inside: made.fill(dict.fromkeys(names, "new\n"), below=inside))

    said = made.pairlock("apply", session, "a[1].txt", "./d/", "README", "--yes")

    assert said.code == 0, said.err
    assert sorted(p.name for p in made.workspace.rglob("*") if p.is_file()) == [
        "README",
        "a[1].txt",
        "x",
        "y",
    ]


def test_a_name_that_names_nothing_is_told_and_nothing_is_labelled(made: Made) -> None:
    session = made.session(lambda inside: (inside / "a").write_text("new\n"))

    said = made.pairlock("apply", session, "a", "b.txt", "--yes")

    assert said.code == 2
    assert said.err.splitlines() == [
        "pairlock: `b.txt` names no change",
        "hint: paths are relative to the workspace's root",
    ]
    assert (list(made.workspace.iterdir()), label(made)) == ([], set())


def test_a_protected_path_is_applied_only_when_named(made: Made) -> None:
    def act(inside: Path) -> None:
        made.fill({".vscode/tasks.json": "{}", "src/app.py": "x\n"}, below=inside)

    session = made.session(act)

    refused = made.pairlock("apply", session, "--yes")
    named = made.pairlock("apply", session, "--include", ".vscode", "--yes")

    assert refused.code == 1
    assert "refused  .vscode/tasks.json: the policy protects it" in refused.out
    assert f"pairlock apply {session} --include PATH" in refused.err
    assert named.code == 0, named.err + named.out
    assert (made.workspace / ".vscode/tasks.json").read_text() == "{}"


def test_a_package_that_has_been_run_is_removed_with_its_compiled_code(made: Made) -> None:
    """Python writes `__pycache__` wherever it runs: nothing runs for want of it, so it may go."""
    made.fill({"pkg/m.py": "x\n", "pkg/__pycache__/m.cpython-311.pyc": "c", "old.pyo": "c", "a": "1\n"})

    def act(inside: Path) -> None:
        shutil.rmtree(inside / "pkg")
        (inside / "old.pyo").unlink()

    said = made.pairlock("apply", made.session(act), "--yes")

    assert said.code == 0, said.out + said.err
    assert [path.name for path in made.workspace.iterdir()] == ["a"]


def test_compiled_code_that_an_agent_wrote_replaced_or_moved_is_refused_and_the_rest_told(made: Made) -> None:
    """It runs in place of the source that was reviewed; where nothing else is left, that is no loss."""
    made.fill({"old/m.py": "x\n", "old/__pycache__/m.pyc": "c", "b.pyc": "c", "__pycache__/t.pyc": "c"})

    def act(inside: Path) -> None:
        shutil.move(inside / "old", inside / "new")
        made.fill({"b.pyc": "agent", "c.pyc": "agent"}, below=inside)
        (inside / "__pycache__/t.pyc").unlink()
        (inside / "__pycache__").rmdir()
        (inside / "__pycache__").symlink_to("elsewhere")

    session = made.session(act)
    refused = made.pairlock("apply", session, "--yes")

    assert refused.code == 1
    assert [line for line in refused.out.splitlines() if line.startswith("refused")] == [
        f"refused  {path}: the policy protects it"
        for path in ("__pycache__", "b.pyc", "c.pyc", "new/__pycache__", "new/__pycache__/m.pyc")
    ]
    assert refused.err.splitlines()[-1] == (
        "hint: Python makes compiled code again by itself; "
        f"`pairlock discard {session}` drops it, with whatever else is left"
    )
    assert {
        str(path.relative_to(made.workspace)) for path in made.workspace.rglob("*") if path.is_file()
    } == {
        "b.pyc",
        "new/m.py",
    }
    assert (made.workspace / "b.pyc").read_text() == "c"


def test_compiled_code_that_something_else_protects_is_kept(made: Made) -> None:
    """The twin: what lies in a protected folder, or what the policy itself protects, does not go with it."""
    made.fill({".vscode/a.pyc": "c", ".pairlock/__pycache__/a.pyc": "c", ".git/hooks/b.pyc": "c"})

    def act(inside: Path) -> None:
        for name in (".vscode", ".pairlock", ".git"):
            shutil.rmtree(inside / name)

    session = made.session(act)
    said = made.pairlock("apply", session, "--yes")

    assert said.code == 1
    assert "applied" not in said.out
    assert "Python makes" not in said.err
    files = FilesBlock(protect=(Glob.parse("vendor"),))
    assert [KeptBy(files).matches(path) for path in ("vendor/a.pyc", "pkg/a.pyc")] == [True, False]
    assert ProtectedBy(files).matches("pkg/a.pyc")


def test_options_that_mean_nothing_together_are_refused(made: Made) -> None:
    session = made.session(lambda inside: (inside / "a").write_text("new\n"))

    codes = {
        words: made.pairlock("apply", session, *words).code
        for words in (("-p", "--yes"), ("-p",), ("-m", "x", "--yes"), ("--to-branch", "x", "--yes"))
    }

    assert codes[("-p", "--yes")] == codes[("-p",)] == codes[("-m", "x", "--yes")] == 2
    assert codes[("--to-branch", "x", "--yes")] != 0
    assert list(made.workspace.iterdir()) == []


def entries(made: Made) -> list[dict[str, object]]:
    lines = map(json.loads, (made.state / "ledger.jsonl").read_text().splitlines())
    return [line for line in lines if line["type"] == "stage.applied"]


def test_an_apply_that_was_killed_before_its_entry_gets_it_from_the_next_command(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No change of the workspace is without an entry of the host's log for longer than that."""
    session = made.session(lambda inside: (inside / "a").write_text("agent\n"))
    real = HostLog.append

    def die(self: HostLog, event: Event) -> Receipt:
        if isinstance(event, StageApplied):
            os.kill(os.getpid(), signal.SIGKILL)
        return real(self, event)

    with monkeypatch.context() as patch:
        patch.setattr(HostLog, "append", die)
        killed = made.pairlock("apply", session, "--yes")
    without = entries(made)
    told = made.pairlock("diff", session)

    assert (killed.code, without) == (-signal.SIGKILL, [])
    assert (made.workspace / "a").read_text() == "agent\n"
    assert "an interrupted apply was finished: a" in told.err
    assert len(entries(made)) == 1


def test_no_branch_is_made_without_its_entry(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed right before the branch, there is an entry and none of it; the same command makes it after."""
    made.fill({"a": "1\n"})
    git = ["/usr/bin/git", "-C", str(made.workspace), "-c", "user.name=u", "-c", "user.email=u@e"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "a"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "first"], check=True)
    session = made.session(lambda inside: (inside / "a").write_text("agent\n"))

    def die(_repository: object, _branch: str, _commit: str) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with monkeypatch.context() as patch:
        patch.setattr(branch_module._Repository, "make_branch", die)
        killed = made.pairlock("apply", session, "--yes", "--to-branch", "agents")
    between = (len(entries(made)), branches(git))
    made_after = made.pairlock("apply", session, "--yes", "--to-branch", "agents")

    assert (killed.code, between) == (-signal.SIGKILL, (1, []))
    assert (made_after.code, branches(git)) == (0, ["agents"])
    assert [line["body"]["branch"] for line in entries(made)] == ["agents", "agents"]
    assert (made.workspace / "a").read_text() == "1\n"


def branches(git: list[str]) -> list[str]:
    """Return the branches beside the one that is checked out."""
    listing = [*git, "for-each-ref", "--format=%(refname:short)", "refs/heads/agents"]
    return subprocess.run(listing, check=True, capture_output=True, text=True).stdout.split()


def test_nothing_is_applied_while_the_hosts_log_cannot_be_written(made: Made) -> None:
    session = made.session(lambda inside: (inside / "a").write_text("agent\n"))
    log = made.state / "ledger.jsonl"
    kept = log.read_bytes()

    log.write_bytes(kept + b"{}\n")
    refused = made.at_terminal("apply", session, typed="y\n")
    applied = (made.workspace / "a").exists()
    log.write_bytes(kept)
    taken = made.at_terminal("apply", session, typed="y\n")

    assert (refused.code, applied) == (6, False)
    assert taken.code == 0
    assert (made.workspace / "a").read_text() == "agent\n"
