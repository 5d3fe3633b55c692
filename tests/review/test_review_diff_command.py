"""`pairlock diff` and `discard`: what a terminal, a program and git are given."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from agent_runner.review import Choice, apply_stage
from audit.state import StateFiles
from sandbox.stage.yard import Yard

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.stage.journal import Step
    from tests.review.made import Made

HOSTILE = "\x1b]0;owned\x07\x1b[2J\u202egpj.exe\u2800\x9b31m"


def test_the_patch_feeds_git_apply_and_carries_its_label(made: Made) -> None:
    """For a program the patch begins with its session and label, which git skips."""
    made.fill({"mod": "1\n", "del": "2\n", "was": "a long enough text\n", "run": "x\n"})
    plain = made.top / "plain"
    shutil.copytree(made.workspace, plain)

    def act(inside: Path) -> None:
        made.fill({"mod": "agent\n", 'odd "name\n\t': "o\n"}, below=inside)
        (inside / "del").unlink()
        (inside / "was").rename(inside / "now")
        (inside / "run").chmod(0o755)
        (inside / "bytes").write_bytes(bytes(range(256)))

    session = made.session(act)

    said = made.pairlock("diff", session)
    subprocess.run(
        ["/usr/bin/git", "apply", "-"],
        cwd=plain,
        input=said.out.encode("utf-8", "surrogateescape"),
        check=True,
    )

    assert said.out.startswith(
        f"Pairlock-Session: {session}\nPairlock-Unreviewed: files+network\n\ndiff --git "
    )
    assert "rename from was\nrename to now\n" in said.out
    assert sorted(path.name for path in plain.iterdir()) == ["bytes", "mod", "now", 'odd "name\n\t', "run"]
    assert (plain / "bytes").read_bytes() == bytes(range(256))
    assert (plain / "run").stat().st_mode & 0o777 == 0o755


def test_a_program_is_fed_nothing_that_apply_would_refuse(made: Made) -> None:
    """What is protected, hidden, leads out, is in conflict or in a `.git` is shown to it as a comment."""
    made.fill({"mod": "1\n", "theirs": "1\n"})
    subprocess.run(["/usr/bin/git", "init", "-q", made.workspace], check=True)

    def act(inside: Path) -> None:
        files = {"mod": "agent\n", "theirs": "agent\n", "n/.git/hooks/x": "evil\n", ".GIT /config": "evil\n"}
        made.fill(
            {**files, ".vscode/tasks.json": "evil\n", "d/.env": "evil\n", "Makefile": "m\n"}, below=inside
        )
        (inside / ".git/config").write_text("[core]\n\tfsmonitor = evil\n")
        (inside / "out").symlink_to("/etc/passwd")

    session = made.session(act)
    made.fill({"theirs": "the user's\n"})
    config = (made.workspace / ".git/config").read_text()

    said = made.pairlock("diff", session)
    subprocess.run(["/usr/bin/git", "apply", "-"], cwd=made.workspace, input=said.out.encode(), check=True)

    there = {str(path.relative_to(made.workspace)) for path in made.workspace.rglob("*")}
    assert {path for path in there if not path.startswith(".git/")} == {".git", "Makefile", "mod", "theirs"}
    assert (made.workspace / "mod").read_text() == "agent\n"
    assert (made.workspace / "theirs").read_text() == "the user's\n"
    assert (made.workspace / ".git/config").read_text() == config
    for shown in ("+evil", "+\tfsmonitor = evil", "+/etc/passwd"):
        assert f"# {shown}\n" in said.out
    on_screen = made.at_terminal("diff", session).out
    assert "# " not in on_screen
    assert "fsmonitor = evil" in on_screen


DOT_GIT = [
    "x\\.git",
    "a\\.git\\hooks\\x",
    "git~1",
    "GIT~1 /a",
    ".git::$INDEX_ALLOCATION/config",
    ".gi\u200ct/a",
]
MODULES = [
    ".gitmodules",
    "d/.GitModules .",
    "gitmod~1",
    "gi7eba~9",
    "gi7e~123",
    "x\\gitmod~4",
    ".gitmodules:x",
]


def test_no_name_that_git_refuses_takes_the_rest_of_the_patch_with_it(made: Made) -> None:
    """Its protection of NTFS holds on every system: one such path, and git applies nothing at all."""
    made.fill({"mod": "1\n", "gi7eba~2": "file\n"})
    (made.workspace / "gitmod~2").symlink_to("nowhere")
    subprocess.run(["/usr/bin/git", "init", "-q", made.workspace], check=True)

    def act(inside: Path) -> None:
        made.fill(
            {"mod": "agent\n", "gi7eba~2": "agent\n", "git~2": "fine\n", "a\\b": "fine\n"}, below=inside
        )
        made.fill(dict.fromkeys(DOT_GIT, "evil\n"), below=inside)
        (inside / "gitmod~2").unlink()
        (inside / "d").mkdir()
        for name in MODULES:
            (inside / name).symlink_to("nowhere")  # what is there would be protected with them
        (inside / "gitmod~5").symlink_to("mod")

    said = made.pairlock("diff", made.session(act))
    subprocess.run(["/usr/bin/git", "apply", "-"], cwd=made.workspace, input=said.out.encode(), check=True)

    there = {path.name for path in made.workspace.iterdir()}
    assert there == {".git", "mod", "gi7eba~2", "gitmod~2", "gitmod~5", "git~2", "a\\b"}
    assert {(made.workspace / name).read_text() for name in ("mod", "gi7eba~2")} == {"agent\n"}


def test_what_is_counted_as_run_later_are_files(made: Made) -> None:
    session = made.session(
        lambda inside: made.fill({".husky/pre-commit": "x", "Makefile": "x"}, below=inside)
    )

    said = made.pairlock("diff", session, "--stat")

    assert said.err == "2 changes run on your machine later: .husky/pre-commit, Makefile\n"
    assert "A  .husky  (folder, protected, runs-later)\n" in said.out


def test_no_changes_print_nothing(made: Made) -> None:
    session = made.session(os.stat)

    said = made.pairlock("diff", session)

    assert (said.code, said.out, said.err) == (0, "", "no changes\n")


def test_a_terminal_is_sent_nothing_that_it_would_obey(made: Made) -> None:
    """Names and content: no escape, no control, nothing that turns or hides text, coloured or not."""

    def act(inside: Path) -> None:
        made.fill({f"n{HOSTILE}": f"c{HOSTILE}\n", "Makefile": f"all: {HOSTILE}\n"}, below=inside)

    session = made.session(act)

    coloured = made.at_terminal("diff", session).out
    plain = made.at_terminal("diff", session, NO_COLOR="1").out
    shown = [made.at_terminal(*words, NO_COLOR="1").out for words in (
        ("diff", session, "--stat"), ("diff", session, "--name-only"), ("apply", session, "-p"),
        ("apply", session), ("ps", "--all"), ("discard", session),
    )]  # fmt: skip

    assert "\x1b[32m+c" in coloured
    bad = {*HOSTILE} - {*"]0;owned[2Jgpj.exe31m"}
    for text in (plain, *shown):
        assert bad & {*text} == set()
    assert "1 change runs on your machine later: Makefile" in plain


def test_a_terminal_is_spared_what_only_a_program_reads(made: Made) -> None:
    """Binary content and whole names of objects; lines of a file that look like them stay as they are."""
    made.fill({"b": "1", "t": "1\n"})
    index = f"index {'a' * 40}..{'b' * 40}"

    def act(inside: Path) -> None:
        (inside / "b").write_bytes(b"\0" * 5000)
        made.fill({"t": f"{index}\nGIT binary patch\n"}, below=inside)

    session = made.session(act)

    person = made.at_terminal("diff", session, columns=200, NO_COLOR="1", PAGER="cat").out
    program = made.pairlock("diff", session).out

    assert "the content is binary, and is not shown" in person
    assert "literal" not in person
    assert f"+{index}" in person
    assert "+GIT binary patch" in person
    assert "+++ b/t" in person
    assert not re.search(r"^index [0-9a-f]{11}", person, re.MULTILINE)
    assert "literal 5000" in program
    assert re.search(r"^index [0-9a-f]{40}\.\.", program, re.MULTILINE)


def test_every_form_tells_the_same_changes(made: Made) -> None:
    made.fill({"a": "1\n"})
    session = made.session(lambda inside: made.fill({"a": "2\n", "Makefile": "all:\n"}, below=inside))

    names = made.pairlock("diff", session, "--name-only")
    stat = made.pairlock("diff", session, "--stat")
    told = json.loads(made.pairlock("diff", session, "--json").out)

    assert names.out.split() == ["Makefile", "a"]
    assert [line[:1] for line in stat.out.splitlines()] == ["A", "M"]
    assert [change["path"] for change in told["changes"]] == ["Makefile", "a"]
    assert told["runs_later"] == ["Makefile"]
    assert names.err == stat.err == "1 change runs on your machine later: Makefile\n"
    assert made.pairlock("diff", session, "--json", "--stat").code == 2


class Killed(BaseException):
    """Stands for SIGKILL."""


@pytest.mark.parametrize("unfinished", [False, True], ids=["whole", "with an unfinished apply"])
def test_a_stage_of_an_earlier_pairlock_is_told_and_can_be_discarded(made: Made, *, unfinished: bool) -> None:
    """Nobody can count or finish what nobody can read; the workspace stays as it is."""
    made.fill({"a": "1"})
    session = made.session(lambda inside: made.fill({"a": "agent"}, below=inside))
    folder = made.state / "sessions" / session / "stage"
    about = json.loads((folder / "stage.json").read_bytes())
    assert about["version"] == 2
    (folder / "stage.json").write_text(json.dumps({**about, "version": 1}))
    if unfinished:
        (folder / "apply.json").write_text('{"phase": "commit", "yard": ".pairlock-apply-1", "steps": []}')

    told = [made.pairlock(command, session) for command in ("diff", "apply")]
    assert (folder / "upper/a").read_text() == "agent"
    gone = made.pairlock("discard", session)

    for said in told:
        assert said.code != 0
        assert "was made by an earlier pairlock" in said.err
        assert f"apply it with that one, or copy what you want of `{folder / 'upper'}`" in said.err
        assert "then `pairlock discard`" in said.err
    assert (gone.code, gone.out) == (0, f"discarded what cannot be read of {session}\n")
    assert not folder.exists()
    assert (made.workspace / "a").read_text() == "1"
    assert made.pairlock("discard", session).code != 0


@pytest.mark.parametrize("command", ["diff", "apply", "discard"])
def test_an_interrupted_apply_is_finished_by_whatever_looks_next(
    made: Made, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """It is told, and recorded in the host's log like any other; the session is over then."""
    session = made.session(lambda inside: made.fill({"a": "1\n", "b": "2\n"}, below=inside))
    files = StateFiles(made.state).session(session)
    real = Yard.carry_out

    def die_at_b(self: Yard, step: Step) -> None:
        if step.path == "b":
            raise Killed
        real(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(Yard, "carry_out", die_at_b)
        with pytest.raises(Killed):
            apply_stage(files, made.state, Choice(shown=None))
    left = sorted(path.name[:15] for path in made.workspace.iterdir())

    said = made.pairlock(command, session)
    log = StateFiles(made.state).log.read_text()

    assert left == [".pairlock-apply", "a"]
    assert said.code == 0, said.err
    assert "an interrupted apply was finished: b" in said.err + said.out
    assert sorted(path.name for path in made.workspace.iterdir()) == ["a", "b"]
    assert '"stage.applied"' in log
    assert '"whole":true' in log
