"""attacks.md, "Persistence": where a host program looks unasked: hidden, protected or marked, by name."""

from __future__ import annotations

import pytest

from policies.files_block import FilesBlock
from sandbox.stage import HiddenBy, ProtectedBy
from sandbox.stage.later import DefaultLater

HIDDEN = (
    ".mysql_history", "app/.node_repl_history", ".s3cfg", "deploy/rclone.conf", "fn/local.settings.json",
    ".dev.vars", "analysis/.Renviron", "kaggle.json", "ci/robot.keytab", "ios/AuthKey.p8",
    "sub/.claude/.credentials.json", "sub/.codex/auth.json", ".m2/settings.xml", "home/.config/hub",
    "home/.config/glab-cli/config.yml", ".sentryclirc", ".databrickscfg",
)  # fmt: skip
GIT = (
    ".lfsconfig", ".git/commondir", ".git/info/exclude", ".git/info/sparse-checkout",
    ".git/worktrees/w/gitdir",
    ".git/modules/m/config", "sub/.git", "a/b/c/.gitmodules",
    ".sl/config", ".pijul/config", "_darcs/prefs/post",
    ".githooks/pre-commit", ".overcommit.yml", "lefthook.toml", ".lefthook.json", ".simple-git-hooks.json",
)  # fmt: skip
CI = (
    ".github/dependabot.yml", "projects/one/.github/workflows/ci.yml", ".github/actions/a/action.yml",
    ".gitlab/ci/build.yml", "azure-pipelines-release.yaml", "Jenkinsfile.release", ".teamcity/settings.kts",
    ".semaphore/semaphore.yml", ".tekton/push.yaml", ".builds/arch.yml", ".zuul.d/jobs.yaml", "buildspec.yml",
    "renovate.json5", ".renovaterc", "netlify.toml", "codemagic.yaml", "bitrise.yml",
)  # fmt: skip
EDITORS = (
    ".run/tests.run.xml", "app/app.iml", "old.ipr", ".vs/tasks.vs.json", ".project", ".settings/x.prefs",
    ".helix/languages.toml", ".ycm_extra_conf.py", ".vimspector.json", "lisp/.dir-locals-2.el",
    ".gitpod.yml", ".replit", ".codesandbox/tasks.json", "web/.vscode/extensions.json", ".idea/workspace.xml",
)  # fmt: skip
AGENTS = (
    ".github/hooks/pre.json", ".github/instructions/a.instructions.md", ".github/chatmodes/x.chatmode.md",
    ".github/copilot-instructions.md", ".trae/rules/a.md", ".augment/rules.md", ".augment-guidelines",
    ".crush.json", "sub/mcp.json", ".factory/droids/x.md", ".rules", ".aiassistant/rules/r.md",
    "skills/x/SKILL.md", ".claude-plugin/plugin.json", ".openhands/setup.sh", ".cline/x",
    ".kilocode/rules/r.md",
    "sub/CLAUDE.md", "sub/AGENTS.md", "sub/GEMINI.md", ".claude/commands/x.md", ".claude/agents/x.md",
)  # fmt: skip
INTERPRETERS = (
    "pkg/__pycache__/m.cpython-311.pyc", "m.pyc", "__pycache__", ".venv/pyvenv.cfg",
    "venv/lib/python3.11/site-packages/a.pth", ".irbrc", ".pryrc", ".Rprofile", ".RData", ".ghci",
    ".ocamlinit",
    ".iex.exs", ".octaverc", ".erlang", ".pnp.cjs", ".jvmopts", ".python-version", "rust-toolchain.toml",
    ".bazeliskrc", ".nvmrc",
)  # fmt: skip
SHELLS = (
    ".pairlock-apply-0123456789abcdef/0",
    ".envrc.local", ".direnv/bin/ls", ".autoenv", ".bash_login", ".bash_aliases", ".zprofile", ".inputrc",
    "home/.config/fish/config.fish", "home/.config/autostart/a.desktop", "share/run me.desktop",
)  # fmt: skip
MARKED = (
    "Makefile.inc", "makefile.local", "build/rules.mak", "linux/Kbuild", "out/build.ninja", "cmake/a.cmake",
    "CMakePresets.json", "configure.ac", "m4/x.m4", "package-lock.json", "web/yarn.lock", "uv.lock", "go.mod",
    "Pipfile", "tsconfig.build.json", ".flake8", ".mypy.ini", "ansible.cfg", "infra/main.tf", "Tiltfile",
    "Dockerfile.dev", "Containerfile", "docker-compose.override.yml", "compose.yml", "devbox.json",
    "nix/a.nix",
    "ios/Podfile", "fastlane/Fastfile", "Dangerfile", "App.csproj", "Directory.Build.props",
    "App.xcodeproj/project.pbxproj", ".babelrc.cjs", ".mocharc.js", "turbo.json", "gradle.properties",
    "tools/x.gradle", "pkg/m.cpython-311-x86_64-linux-gnu.so", "addon.node", "lib/a.jar", "env/bin/activate",
    ".venv/Scripts/python.exe", "CODEOWNERS", ".rspec", "defs.bzl",
)  # fmt: skip
ORDINARY = (
    "github/workflows.md", "src/history.py", "docs/git.md", "pycache/m.py", "src/desktop.py",
    "makefile_parser.py",
    "src/lockfile.py", "kaggle.py", "src/erlang.md", "rules/a.md", "src/tfidf.py", "gomod.py",
    "settings/a.py",
    "direnv.md", "src/node.py", "so.py", "run/a.xml", "src/skill.py", "cargo/lock.rs", "docs/copilot.md",
)  # fmt: skip


@pytest.mark.parametrize("path", HIDDEN)
def test_b01_where_secrets_usually_lie_nothing_is_shown(path: str) -> None:
    assert HiddenBy(FilesBlock()).matches(path)


@pytest.mark.parametrize("path", [*GIT, *CI, *EDITORS, *AGENTS, *INTERPRETERS, *SHELLS])
def test_b22_to_b29_what_a_host_program_obeys_unasked_is_protected_and_marked(path: str) -> None:
    assert ProtectedBy(FilesBlock()).matches(path)
    assert DefaultLater().label(path)


@pytest.mark.parametrize("path", MARKED)
def test_b27_b28_what_people_run_by_habit_is_marked_and_can_be_applied(path: str) -> None:
    assert DefaultLater().label(path)
    assert not ProtectedBy(FilesBlock()).matches(path)


@pytest.mark.parametrize("path", ORDINARY)
def test_what_only_looks_like_one_of_them_is_an_ordinary_file(path: str) -> None:
    assert not DefaultLater().label(path)
    assert not ProtectedBy(FilesBlock()).matches(path)
    assert not HiddenBy(FilesBlock()).matches(path)


@pytest.mark.parametrize("spelling", [str.upper, lambda path: path.replace("r", "r\u200d"), str.title])
def test_b10_other_spellings_are_the_same_places(spelling: object) -> None:
    """On a filesystem that folds case, and to an eye that sees no joiner."""
    assert callable(spelling)
    for path in (".githooks/pre-commit", ".gitpod.yml", "__pycache__/m.pyc", "projects/.github/x"):
        assert ProtectedBy(FilesBlock()).matches(spelling(path))
