"""attacks.md, "Persistence": what the host would run later is refused or marked, at every depth."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from policies.files_block import FilesBlock
from sandbox.stage import Concern, HiddenBy, ProtectedBy, apply_changes, compute_changes, open_stage
from sandbox.stage.later import DefaultLater
from sandbox.stage.summary import headline

_SPEC = importlib.util.spec_from_file_location(
    "stage_yard", Path(__file__).parents[1] / "sandbox" / "stage" / "conftest.py"
)
assert _SPEC is not None
assert _SPEC.loader is not None
stage_yard = importlib.util.module_from_spec(_SPEC)
sys.modules["stage_yard"] = stage_yard
_SPEC.loader.exec_module(stage_yard)
Yard = Any

PROTECTED = [
    ("B22", ".git/hooks/pre-commit"),
    ("B22", "vendor/lib/.git/hooks/post-checkout"),
    ("B23", ".git/config"),
    ("B24", ".git/config.worktree"),
    ("B24", ".git/info/attributes"),
    ("B24", ".git/modules/sub/hooks/pre-push"),
    ("B24", ".gitattributes"),
    ("B24", "deep/er/.gitattributes"),
    ("B24", ".gitmodules"),
    ("B25", ".vscode/tasks.json"),
    ("B25", "app/.vscode/settings.json"),
    ("B25", ".idea/runConfigurations/x.xml"),
    ("B26", ".claude/settings.json"),
    ("B26", ".mcp.json"),
    ("B26", ".codex/config.toml"),
    ("B26", ".gemini/settings.json"),
    ("B26", ".agents/x"),
    ("B26", ".cursor/rules/x.mdc"),
    ("B26", "AGENTS.md"),
    ("B27", ".npmrc"),
    ("B27", ".envrc"),
    ("B27", "src/sitecustomize.py"),
    ("B27", "lib/evil.pth"),
    ("B27", ".github/workflows/ci.yml"),
    ("B28", ".bashrc"),
    ("B28", ".profile"),
    ("B29", "pairlock.yaml"),
]
MARKED = [
    ("B27", "Makefile"),
    ("B27", "sub/Makefile"),
    ("B27", "package.json"),
    ("B27", "conftest.py"),
    ("B27", "setup.py"),
    ("B28", "node_modules/.bin/tsc"),
]


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    made = stage_yard.Yard(tmp_path / "yard")
    made.workspace.mkdir(parents=True)
    made.session.mkdir(parents=True)
    return made


@pytest.mark.parametrize("existing", [False, True])
def test_b22_to_b29_what_the_host_obeys_is_never_applied_unnamed(yard: Yard, *, existing: bool) -> None:
    """Existing or not; marked, counted first, refused with code `protected`; named, it is applied."""
    paths = [path for _, path in PROTECTED]
    if existing:
        yard.fill(dict.fromkeys(paths, "the user's"))
    with yard.mounted(yard.plan()) as inside:
        yard.fill(dict.fromkeys([*paths, "src/app.py"], "the agent's"), below=inside)

    with open_stage(yard.session) as stage:
        found = compute_changes(stage, protect=ProtectedBy(FilesBlock()))
        result = apply_changes(stage, found.changes)

        refused = {item.path for item in result.not_applied if item.code.value == "protected"}
        marked = {change.path for change in found.changes if Concern.RUNS_LATER in change.concerns}
        assert refused >= set(paths)
        assert marked >= set(paths)
        assert "src/app.py" in result.applied
        files = {path for path in marked if not (yard.session / "stage/upper" / path).is_dir()}
        assert headline(found).startswith(f"{len(files)} changes run on your machine later: ")
        for path in paths:
            target = yard.workspace / path
            assert (target.read_text() == "the user's") if existing else not target.exists()

        again = compute_changes(stage, protect=ProtectedBy(FilesBlock()))
        named = apply_changes(stage, again.changes, include=yard.patterns("**/*"))

    assert named.not_applied == ()
    assert all((yard.workspace / path).read_text() == "the agent's" for path in paths)


def test_b27_b28_what_people_run_by_habit_is_applied_and_marked(yard: Yard) -> None:
    """A Makefile is an ordinary part of many tasks: told first, not refused."""
    with yard.mounted(yard.plan()) as inside:
        yard.fill({path: "x" for _, path in MARKED} | {"README.md": "x"}, below=inside)

    with open_stage(yard.session) as stage:
        found = compute_changes(stage, protect=ProtectedBy(FilesBlock()))
        result = apply_changes(stage, found.changes)

    marked = {change.path for change in found.runs_later}
    assert {path for _, path in MARKED} <= marked
    assert "README.md" not in marked
    assert result.not_applied == ()


@pytest.mark.parametrize("folder", ["mirror.git", "deep/er/store", ""])
def test_b22_b23_a_bare_repository_of_any_name_is_judged_as_git_s_own_folder(yard: Yard, folder: str) -> None:
    """Whose HEAD is there already: its hooks and config are refused and marked; a twin without is not."""
    prefix = f"{folder}/" if folder else ""
    yard.fill({f"{prefix}HEAD": "ref: refs/heads/main", f"{prefix}objects/x": "", f"{prefix}refs/x": ""})
    yard.fill({"other/objects/x": "", "other/refs/x": ""})
    bad = [f"{prefix}config", f"{prefix}hooks/post-update"]
    with yard.mounted(yard.plan()) as inside:
        yard.fill(dict.fromkeys([*bad, "other/config"], "the agent's"), below=inside)

    with open_stage(yard.session) as stage:
        found = compute_changes(stage, protect=ProtectedBy(FilesBlock()))
        result = apply_changes(stage, found.changes)

    refused = {item.path for item in result.not_applied if item.code.value == "protected"}
    assert refused >= set(bad)
    assert {change.path for change in found.runs_later} >= set(bad)
    assert ("other/config" in result.applied) is bool(folder)


@pytest.mark.parametrize("place", ["made", "src/deep/made"])
def test_b14_a_bare_repository_made_by_the_agent_is_refused_whole(yard: Yard, place: str) -> None:
    """Nested and new: not even its harmless-looking parts are applied unnamed."""
    files = [f"{place}/{name}" for name in ("HEAD", "config", "objects/x", "refs/x", "hooks/pre-push")]
    with yard.mounted(yard.plan()) as inside:
        yard.fill(dict.fromkeys(files, "the agent's"), below=inside)

    with open_stage(yard.session) as stage:
        found = compute_changes(stage, protect=ProtectedBy(FilesBlock()))
        result = apply_changes(stage, found.changes)

    assert {item.path for item in result.not_applied} >= set(files)
    assert not any((yard.workspace / path).exists() for path in files)


def test_a_symlink_to_what_is_protected_or_hidden_is_judged_as_its_target(yard: Yard) -> None:
    """A second name for the hooks folder or a secret; a symlink to an ordinary file is applied."""
    yard.fill({".git/hooks/x": "", ".env": "secret", "src/a": ""})

    def agent(inside: Path) -> None:
        (inside / "src/build").symlink_to("../.git/hooks")
        (inside / "notes").symlink_to("./.env")
        (inside / "plain").symlink_to("src/a")

    files = FilesBlock()
    with yard.mounted(yard.plan(".env")) as inside:
        agent(inside)
    with open_stage(yard.session) as stage:
        found = compute_changes(stage, protect=ProtectedBy(files), hide=HiddenBy(files))
        result = apply_changes(stage, found.changes)

    assert {item.path: item.code.value for item in result.not_applied} == {
        "src/build": "protected",
        "notes": "hidden",
    }
    assert result.applied == ("plain",)


NEWER_AGENTS = (
    ".mise.local.toml", "a/mise.dev.toml", ".config/mise/config.toml", ".yarn/releases/yarn-4.cjs",
    "web/.pnpmfile.cjs", ".kiro/hooks/x.json", ".roo/rules/a.md", ".opencode/agent/a.md", "opencode.json",
    ".goosehints", "rules/a.mdc", "AGENT.md", ".lefthook.yml", ".pdbrc", "cloudbuild.yaml",
)  # fmt: skip
BY_HABIT = (
    "Cargo.toml", "composer.json", "web/deno.json", "requirements-dev.txt", "uv.toml", "deps.edn",
    "gradle/wrapper/gradle-wrapper.jar", "app/gradle/wrapper/gradle-wrapper.properties", "Package.swift",
    ".venv/bin/activate", "web/node_modules/.bin/tsc", "pylintrc", ".prettierrc.cjs",
)  # fmt: skip


@pytest.mark.parametrize("path", NEWER_AGENTS)
def test_b26_b27_what_tools_obey_unasked_is_protected(path: str) -> None:
    assert ProtectedBy(FilesBlock()).matches(path)


@pytest.mark.parametrize("path", BY_HABIT)
def test_b27_b28_what_people_run_by_habit_is_marked_and_not_protected(path: str) -> None:
    assert DefaultLater().label(path)
    assert not ProtectedBy(FilesBlock()).matches(path)


@pytest.mark.parametrize("path", ["mise/a.toml", "src/cargo.py", "venv.md", "docs/requirements.md", "roo/a"])
def test_an_ordinary_name_beside_them_is_neither(path: str) -> None:
    """The twin: what only looks like one of them is an ordinary file."""
    assert not DefaultLater().label(path)
    assert not ProtectedBy(FilesBlock()).matches(path)
