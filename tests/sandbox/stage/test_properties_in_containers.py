"""The property of the stage, with the operations done by a program in a real container's mount."""

from __future__ import annotations

import contextlib
import inspect
import os
import random
import shutil
from typing import TYPE_CHECKING

import pytest

from agent_runner.container import NOBODY
from agent_runner.review import Choice, apply_stage, opened
from audit.state import StateFiles
from tests.promises.conftest import lab
from tests.sandbox.stage.test_properties import Operations, apart, explained, look, move, operate, rest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.promises.conftest import Lab

__all__ = ["lab"]
pytestmark = [pytest.mark.engine, pytest.mark.long]
POLICY = """\
version: 1
name: p
grant: [files, exec]
files: {hide: [.env], protect: [guarded]}
exec: {programs: any}
commands: {allow: [run]}
"""
NAMES = ("a", "b", "c", "d", ".env", "guarded", "\u00e9 \n", "new")
VERBS = ("write", "append", "mkdir", "remove", "move", "chmod", "symlink", "link")
SEED = int(os.environ.get("PAIRLOCK_SEED", "1"))


def path_of(chance: random.Random) -> str:
    return "/".join(chance.choice(NAMES) for _ in range(chance.randint(1, 3)))


def operations_of(chance: random.Random, number: int) -> Operations:
    """Return what a program does, one after the other."""
    arguments = {
        "write": lambda: chance.choice(("", "one", "three\n" * 9)),
        "append": lambda: "more",
        "move": lambda: path_of(chance),
        "link": lambda: path_of(chance),
        "chmod": lambda: chance.choice((0o644, 0o755, 0o600)),
        "symlink": lambda: chance.choice(("a", "b/c", "./a")),
    }
    found: Operations = []
    for _ in range(number):
        verb = chance.choice(VERBS)
        found.append((verb, path_of(chance), arguments.get(verb, lambda: None)()))
    return found


def fill(workspace: Path, chance: random.Random) -> None:
    for _ in range(60):
        target = workspace / path_of(chance)
        with contextlib.suppress(OSError):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(chance.choice(("1", "22", "")))


def program(operations: Operations) -> str:
    """Return a program that does the operations in its own folder: the very code that this test runs."""
    code = (inspect.getsource(operate), inspect.getsource(move))
    head = "from __future__ import annotations\nimport os, shutil\nfrom contextlib import suppress\n"
    loop = f"from pathlib import Path\nfor each in {operations!r}:\n    operate(Path('/workspace'), *each)\n"
    return head + "\n".join(code) + loop + "print('done')\n"


@pytest.mark.parametrize(("folder", "strategy"), [("workspace", "overlay"), ("by,comma", "copy")])
def test_what_a_program_did_in_its_mount_is_applied_as_on_a_copy(
    lab: Lab, folder: str, strategy: str
) -> None:
    """Save for what is hidden or protected, which stays as it was."""
    chance = random.Random(SEED)  # noqa: S311 - a test's own dice
    workspace = lab.folder / folder
    workspace.mkdir()
    fill(workspace, chance)
    operations = operations_of(chance, 300)
    (workspace / "program.py").write_text(program(operations))
    model = lab.folder / "model"
    shutil.copytree(workspace, model, symlinks=True, ignore=shutil.ignore_patterns(".env"))
    if os.getuid() == 0:
        for path in (workspace, *workspace.rglob("*")):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    before = look(workspace)

    ran = lab.run(POLICY, ["run python3 program.py"], workspace=workspace)
    for operation in operations:
        operate(model, *operation)
    files = StateFiles(ran.state).session(ran.result.session)
    with opened(files.folder) as (_, changes):
        shown = changes
    result = apply_stage(files, ran.state, Choice(shown=shown))

    assert "done" in ran.seen[0].text
    assert ran.entries("sandbox.created")[0]["stage_strategy"] == strategy
    assert shown.troubles == ()
    after, wanted = look(workspace), look(model)
    kept = {path: what for path, what in before.items() if apart(path)}
    assert {path: what for path, what in after.items() if apart(path)} == kept
    refused = {item.path for item in result.not_applied}
    assert all(explained(path, kept) for path in refused)
    skip = {path for path in refused if not apart(path)}
    assert rest(after, skip, kept) == rest(wanted, skip, kept)
    assert len(result.applied) > 5
