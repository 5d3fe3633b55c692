"""Name the files that programs on the user's machine run, or obey, without being asked."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final, Protocol

from sandbox.stage.folding import fold


class LaterLabels(Protocol):
    """Says why a path may run on the user's machine later."""

    def label(self, path: str) -> str:
        """Return the reason; an empty text for a path that nothing runs."""
        ...


RUNS_LATER: Final = (
    (".git/hooks/*", "git runs it"),
    ("hooks/pre-*", "git runs it where core.hooksPath names the folder"),
    (".git/config*", "git obeys it: hooksPath, fsmonitor, sshCommand, aliases, filters"),
    (".git/info/attributes", "git runs the filters it names"),
    (".git/modules/*", "git runs hooks and obeys configs in it"),
    (".git/worktrees/*", "git obeys it"),
    (".git", "git goes where it points"),
    (".gitmodules", "git fetches and updates what it names"),
    (".gitattributes", "git runs the filters it names"),
    (".gitconfig", "git obeys it"),
    (".husky/*", "git runs it through husky"),
    (".githooks/*", "git runs it where core.hooksPath names the folder"),
    (".pre-commit-config.yaml", "pre-commit runs what it names"),
    ("lefthook*.y*ml", "lefthook runs what it names"),
    (".hg/hgrc", "mercurial runs its hooks"),
    (".vscode/*", "the editor runs its tasks and obeys its settings"),
    ("*.code-workspace", "the editor runs its tasks and obeys its settings"),
    (".idea/*", "the editor runs its configurations"),
    (".devcontainer/*", "the editor builds and starts it"),
    (".devcontainer.json", "the editor builds and starts it"),
    (".vim/*", "the editor runs it"),
    (".exrc", "the editor runs it"),
    (".nvimrc", "the editor runs it"),
    (".nvim.lua", "the editor runs it"),
    (".dir-locals.el", "the editor evaluates it"),
    (".claude/*", "an agent obeys it and runs its hooks"),
    (".claude.json", "an agent obeys it"),
    (".codex/*", "an agent obeys it"),
    (".gemini/*", "an agent obeys it"),
    (".agents/*", "an agent obeys it"),
    (".cursor/*", "an agent obeys it"),
    (".cursorrules", "an agent obeys it"),
    (".windsurfrules", "an agent obeys it"),
    (".aider*", "an agent obeys it"),
    (".continue/*", "an agent obeys it"),
    (".mcp.json", "an agent starts the servers it names"),
    ("agents.md", "an agent obeys it"),
    ("claude.md", "an agent obeys it"),
    ("gemini.md", "an agent obeys it"),
    ("pairlock.yaml", "pairlock takes it as a policy, once trusted"),
    (".github/*", "the forge runs its workflows and actions"),
    (".gitlab-ci.yml", "the forge runs it"),
    (".gitlab/*", "the forge runs it"),
    (".circleci/*", "the forge runs it"),
    (".buildkite/*", "the forge runs it"),
    ("azure-pipelines.yml", "the forge runs it"),
    ("jenkinsfile", "the forge runs it"),
    (".travis.yml", "the forge runs it"),
    (".drone.yml", "the forge runs it"),
    ("makefile", "make runs it"),
    ("gnumakefile", "make runs it"),
    ("*.mk", "make runs it where a makefile includes it"),
    ("justfile", "just runs it"),
    ("taskfile.y*ml", "task runs it"),
    ("rakefile", "rake runs it"),
    ("cmakelists.txt", "cmake runs it"),
    ("meson.build", "meson runs it"),
    ("build.rs", "cargo runs it"),
    (".cargo/*", "cargo obeys it"),
    ("build.gradle*", "gradle runs it"),
    ("settings.gradle*", "gradle runs it"),
    ("gradlew*", "people run it"),
    ("gradle/wrapper/*", "gradlew runs it"),
    (".mvn/*", "maven obeys it"),
    ("mvnw*", "people run it"),
    ("pom.xml", "maven runs its plugins"),
    ("package.json", "npm runs its scripts"),
    (".npmrc", "npm obeys it"),
    (".yarnrc*", "yarn obeys it and runs what it names"),
    (".yarn/*", "yarn runs it"),
    (".pnpmfile.cjs", "pnpm runs it"),
    ("node_modules/.bin/*", "npm puts it on PATH"),
    ("bunfig.toml", "bun obeys it"),
    ("conftest.py", "pytest runs it"),
    ("pytest.ini", "pytest obeys it"),
    ("tox.ini", "tox runs what it names"),
    ("noxfile.py", "nox runs it"),
    ("setup.py", "pip runs it"),
    ("setup.cfg", "pip and pytest obey it"),
    ("pyproject.toml", "pip, pytest and others obey it"),
    ("sitecustomize.py", "python runs it at every start"),
    ("usercustomize.py", "python runs it at every start"),
    ("*.pth", "python runs it at every start"),
    (".pdbrc", "pdb runs it"),
    (".pythonrc*", "python runs it"),
    ("pip.conf", "pip obeys it"),
    (".envrc", "direnv runs it"),
    (".mise.toml", "mise runs it"),
    ("mise.toml", "mise runs it"),
    (".tool-versions", "asdf obeys it"),
    (".bashrc", "the shell runs it"),
    (".bash_profile", "the shell runs it"),
    (".profile", "the shell runs it"),
    (".zshrc", "the shell runs it"),
    (".zshenv", "the shell runs it"),
    (".gdbinit", "gdb runs it"),
    (".lldbinit", "lldb runs it"),
    ("dockerfile*", "docker builds it"),
    ("containerfile*", "podman builds it"),
    ("docker-compose*.y*ml", "docker compose starts it"),
    ("compose.y*ml", "docker compose starts it"),
    ("vagrantfile", "vagrant runs it"),
    ("flake.nix", "nix evaluates it"),
    ("shell.nix", "nix evaluates it"),
    (".ssh/*", "ssh obeys it"),
)
"""Pattern and reason. A pattern is tried, without regard to case, at every depth: nested ones count."""


@dataclass(frozen=True, slots=True)
class DefaultLater:
    """The list above."""

    def label(self, path: str) -> str:
        """Return why `path` may run later; an empty text when nothing in the list fits."""
        parts = fold(path).split("/")
        tails = ["/".join(parts[n:]) for n in range(len(parts))]
        for pattern, reason in RUNS_LATER:
            if any(fnmatchcase(tail, pattern) for tail in tails):
                return reason
        return ""
