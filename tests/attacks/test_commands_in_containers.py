"""Commands, attacked in whole sessions in real containers: from a model's proposal to the workspace."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cli_tools.repositories import commit, new_repository, run_git
from tests.promises.conftest import Lab

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.engine
RUNTIMES = ["runc", pytest.param("runsc", marks=pytest.mark.gvisor)]
REVIEW = """version: 1
name: review
grant: [files]
files: {access: read}
commands: {allow: ["files *", "git *"]}
"""
RUNS = """version: 1
name: runs
grant: [files, exec]
exec: {programs: any}
commands: {allow: ["files *", run]}
"""


@pytest.fixture
def lab(new_state: Callable[[], Path], tmp_path: Path) -> Lab:
    """Return a place to run sessions in."""
    return Lab(new_state=new_state, folder=tmp_path)


def repository(lab: Lab) -> Path:
    folder = new_repository(lab.workspace())
    commit(folder, "first", _env="TOKEN=canary-value\n", app_py="print(1)\n")
    commit(folder, "second", _env="TOKEN=other-canary\n", app_py="print(2)\n")
    (folder / "app.py").write_text("print(3)\n")
    return folder


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_git_is_read_in_an_empty_image_without_exec_and_shows_nothing_hidden(lab: Lab, runtime: str) -> None:
    """History tells nothing of what the policy hides; the twin, a file that is not hidden, is shown."""
    folder = repository(lab)
    actions = ["git status", "git diff", "git log --oneline", "git show HEAD", "git blame app.py",
               "git show HEAD~1 --file app.py", "git show HEAD --file .env"]  # fmt: skip

    ran = lab.run(REVIEW + f"isolation: {{runtime: {runtime}}}\n", actions, workspace=folder)

    status, diff, log, show, blame, file, hidden = ran.seen[:7]
    assert [seen.kind for seen in ran.seen[:7]] == ["done"] * 6 + ["denied"]
    assert status.text.splitlines() == ["## main", " M app.py", "note: 1 hidden paths are left out"]
    assert "-print(2)\n+print(3)" in diff.text
    assert [line.partition(" ")[2] for line in log.text.splitlines()] == ["second", "first"]
    assert "-print(1)\n+print(2)" in show.text
    assert "note: 1 hidden paths are left out" in show.text
    assert blame.text.endswith("Ada 2023-11-14     1 print(2)")
    assert file.text == "print(1)"
    assert [reason.code for reason in hidden.reasons] == ["hidden"]
    assert "canary" not in "".join(seen.text for seen in ran.seen)


def test_hostile_configuration_of_a_repository_starts_nothing(lab: Lab) -> None:
    """Even in an image with a shell and a session that may run it, reading history runs nothing (B23)."""
    folder = repository(lab)
    (folder / "evil.sh").write_text("#!/bin/sh\ntouch /workspace/ran\n")
    (folder / "evil.sh").chmod(0o755)
    run_git(folder, "config", "core.fsmonitor", "/workspace/evil.sh")
    run_git(folder, "config", "diff.external", "/workspace/evil.sh")
    run_git(folder, "config", "alias.log", "!/workspace/evil.sh")

    ran = lab.run(
        RUNS.replace("run]", 'run, "git *"]'),
        ["git status", "git diff", "git log", "files list", "run ./evil.sh", "files list"],
        workspace=folder,
    )

    before, after = ran.seen[3], ran.seen[5]
    assert [seen.kind for seen in ran.seen[:6]] == ["done"] * 6
    assert "ran " not in before.text
    assert "ran  0" in after.text


SIGNS = [
    "'",
    '"',
    "\\",
    "$HOME",
    "$(id)",
    "`id`",
    "; id",
    "&& id",
    "| id",
    "> x",
    "*",
    "?",
    "~",
    "{a,b}",
    "%s",
    "!!",
]
DASHES = ["--", "-x", "--cwd=/", "--stdin", "@file", "a=b", "#"]
UNSEEN = ["", " ", "a b", "\n", "\r\n", "\t", "\x01", "\x7f", "\u202e", "\u00e9", "\U0001f600"]
ARGV = ["plain", *SIGNS, *DASHES, *UNSEEN]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_program_in_the_container_gets_the_argv_that_was_proposed_byte_for_byte(
    lab: Lab, runtime: str
) -> None:
    """A program that prints its argv prints exactly what the tool call named (B49 to B54, B56)."""
    import json

    printer = "import os, sys; print([os.fsencode(word).hex() for word in sys.argv[1:]])"
    call = {"tool": "run", "arguments": json.dumps({"argv": ["python", "-c", printer, *ARGV]})}

    ran = lab.run(RUNS + f"isolation: {{runtime: {runtime}}}\n", [call], workspace=lab.workspace())

    assert ran.seen[0].text == str([word.encode().hex() for word in ARGV])


DECLARED = """version: 1
commands:
  - name: show argv
    summary: Print the argv that arrived.
    program: python
    needs: [files, exec]
    sinks: {}
    arguments:
      text: {type: pattern, pattern: '(?s).*', literal: true}
      path: {type: path, access: read, literal: true}
    argv: [-c, PRINTER, "--text={text}", "{path}"]
    examples: [{line: show argv a b}]
"""


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_declared_command_in_the_container_gets_its_argv_byte_for_byte_and_starts_nothing_else(
    lab: Lab, runtime: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Allowed by a policy that lists no program; a program of the agent's own choosing is denied."""
    import json

    printer = "import os, sys; print([os.fsencode(word).hex() for word in sys.argv[1:]])"
    folder = lab.folder / "config" / "pairlock" / "commands"
    folder.mkdir(parents=True)
    (folder / "show.yaml").write_text(DECLARED.replace("PRINTER", json.dumps(printer)))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(lab.folder / "config"))
    texts = ["plain", "a b", "$(id)", "`id`", "'\"\\", "*", "-x", "--", "; id", "\u202e", "\U0001f600"]
    calls = [
        {"tool": "show_argv", "arguments": json.dumps({"text": text, "path": text})}
        for text in [*texts, "a=b", "a\nb", "../x"]
    ]
    policy = RUNS.replace("programs: any", "programs: []").replace("run]", "run, show argv]")

    ran = lab.run(
        policy + f"isolation: {{runtime: {runtime}}}\n",
        [*calls, "run python -c pass"],
        workspace=lab.workspace(),
    )

    for text, seen in zip(texts, ran.seen, strict=False):
        arrived = [f"--text={text}", f"./{text}"]
        assert seen.text == str([word.encode().hex() for word in arrived])
    assert [seen.text[:13] for seen in ran.seen[len(texts) :][:3]] == ["error (usage)"] * 3
    assert [reason.code for reason in ran.seen[len(texts) + 3].reasons] == ["argument"]
    assert [entry["argv"][0] for entry in ran.entries("process.started")] == ["python"] * len(texts)
