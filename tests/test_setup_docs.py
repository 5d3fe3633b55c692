"""README, Makefile, requirements and the scripts of the set-up, held to the code."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()


def section(text: str, title: str) -> str:
    """Return what stands under a heading."""
    return text.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


def test_the_exit_codes_of_the_readme_are_those_of_the_code() -> None:
    from agent_runner.cli.exits import Exit

    documented = [
        int(code) for code in re.findall(r"^\| (\d+) \|", section(README, "Exit codes"), re.MULTILINE)
    ]

    assert documented == sorted(Exit)


def test_every_folder_of_the_readme_is_there_and_every_package_is_in_it() -> None:
    shown = set(re.findall(r"^    (\w+)/ ", section(README, "What is where"), re.MULTILINE))
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}

    assert {folder for folder in shown if not (ROOT / folder).is_dir()} == set()
    assert (packages | {"benchmarks", "docs", "tests"}) - shown == set()


@pytest.mark.parametrize("package", ["policies", "audit", "sandbox", "cli_tools", "agent_runner"])
def test_the_rooms_of_the_architecture_are_there_and_every_folder_is_one(package: str) -> None:
    """What a line of a package's table begins with is a module or folder of it."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    (text,) = re.findall(rf"^## {package}\b.*?\n(.*?)(?=^##)", page, re.MULTILINE | re.DOTALL)
    rows = [
        re.split(r"  +|\(| -> | ->$", line[4:])[0] for line in text.splitlines() if re.match(r"    \w", line)
    ]
    named = {name.partition(".")[0] for row in rows for name in row.split(", ")}
    folders = {path.parent.name for path in (ROOT / package).glob("*/__init__.py")}

    assert len(named) > 3
    assert {
        name for name in named if not any(found.exists() for found in places(ROOT / package, name))
    } == set()
    assert folders - named <= {"files", "run", "slack", "mail"}, "commands, which the catalogue lists"


def places(package: Path, name: str) -> list[Path]:
    """Return where a room of a package may be."""
    return [package / name / "__init__.py", package / f"{name}.py"]


def test_every_goal_of_the_makefile_is_explained_by_make_help() -> None:
    goals = set(re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)[1].split())  # type: ignore[index]

    done = subprocess.run(
        ["/usr/bin/make", "--no-print-directory", "help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert goals - {"help"} == set(re.findall(r"^make ([a-z-]+) ", done.stdout, re.MULTILINE))


def test_no_committed_requirement_names_where_it_comes_from() -> None:
    """A lock with an address would be of use on one machine only."""
    for path in sorted((ROOT / "requirements").iterdir()):
        assert (
            re.findall(r"https?://|--(?:extra-)?index-url|--find-links|--trusted-host", path.read_text())
            == []
        )


@pytest.mark.parametrize("name", ["run.txt", "build.txt", "dev.txt"])
def test_every_locked_requirement_has_its_version_and_hashes(name: str) -> None:
    entries = re.split(r"\n(?=[a-z])", (ROOT / "requirements" / name).read_text().strip())

    assert len(entries) > 5
    assert [
        entry for entry in entries if not re.match(r"[a-z0-9-]+==[^ ]+ .*--hash=sha256:", entry, re.DOTALL)
    ] == []


def declared(text: str) -> set[str]:
    """Return the names in a list of requirements, normalised."""
    names = re.findall(r"^\s*\"?([A-Za-z0-9._-]+)", text, re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower() for name in names}


def locked(name: str) -> set[str]:
    """Return the names that a lock holds."""
    return set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements" / name).read_text(), re.MULTILINE))


def test_everything_declared_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    run = declared("\n".join(project["project"]["dependencies"]))
    dev = declared("\n".join(project["dependency-groups"]["dev"]))
    build = declared("\n".join(project["build-system"]["requires"]))

    assert (run - locked("run.txt"), (run | dev) - locked("dev.txt"), build - locked("build.txt")) == (
        set(),
    ) * 3


def test_everything_imported_is_declared() -> None:
    """What a dependency of ours brings along may go away with its next version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    of_a_dependency = {"pydantic-core"}  # pydantic's own interface names it
    known = declared("\n".join(project["project"]["dependencies"])) | of_a_dependency
    own = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    providers = metadata.packages_distributions()

    modules = {name for package in own for path in (ROOT / package).rglob("*.py") for name in imported(path)}
    of_another_version = {"_sha2", "_sha256"}  # of Python 3.12 and later, and before
    of_a_type_checker = {"_typeshed"}  # it has the standard library's types, and nothing runs it
    foreign = modules - own - sys.stdlib_module_names - of_another_version - of_a_type_checker
    brought = {name: declared("\n".join(providers.get(name, [name]))) for name in foreign}

    assert {name for name, distributions in brought.items() if not distributions & known} == set()


def imported(path: Path) -> set[str]:
    """Return the first parts of the names of all modules that a file imports absolutely."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def test_the_locks_agree_with_each_other() -> None:
    versions: dict[str, set[str]] = {}
    for name in ("run.txt", "build.txt", "dev.txt"):
        for package, version in re.findall(
            r"^([a-z0-9-]+)==(\S+)", (ROOT / "requirements" / name).read_text(), re.MULTILINE
        ):
            versions.setdefault(package, set()).add(version)

    assert {package: found for package, found in versions.items() if len(found) > 1} == {}


@pytest.mark.parametrize(
    ("present", "runsc", "expected"),
    [
        ("", "", {}),
        ('{"debug": true}', "", {"debug": True}),
        (
            "",
            "/usr/bin/runsc",
            {"runtimes": {"runsc": {"path": "/usr/bin/runsc", "runtimeArgs": ["--network=none"]}}},
        ),
        (
            '{"runtimes": {"runsc": {"path": "/own"}}}',
            "/usr/bin/runsc",
            {"runtimes": {"runsc": {"path": "/own"}}},
        ),
    ],
)
def test_an_engines_own_configuration_is_kept_and_gvisor_added(
    present: str, runsc: str, expected: object, tmp_path: Path
) -> None:
    (tmp_path / "daemon.json").write_text(present)

    done = _script("engine_configuration.py", str(tmp_path / "daemon.json"), runsc)

    assert json.loads(done.stdout) == expected


def test_a_broken_configuration_of_an_engine_is_named_and_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "daemon.json").write_text("{")

    done = _script("engine_configuration.py", str(tmp_path / "daemon.json"), "/usr/bin/runsc")

    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"pairlock: {tmp_path / 'daemon.json'} cannot be used: ")
    assert done.stderr.count("\n") == 1


def test_what_failed_beside_others_is_told_in_one_line_before_it_runs_alone(tmp_path: Path) -> None:
    """A second run that passes does not hide that there was a first: the names stay in the log."""
    cache = tmp_path / "v" / "cache"
    cache.mkdir(parents=True)
    (cache / "lastfailed").write_text(json.dumps({"tests/a.py::b": True, "tests/c.py::d[\n\x1b]": True}))

    told = _script("failed_tests.py", str(tmp_path)).stderr
    nothing = _script("failed_tests.py", str(tmp_path / "none")).stderr

    assert told == "failed beside others (2): tests/a.py::b; 'tests/c.py::d[\\n\\x1b]'\n"
    assert nothing == "failed beside others (0): pytest remembers no name\n"
    script = (ROOT / "scripts" / "test.sh").read_text()
    assert 0 < script.index("failed_tests.py .pytest_cache") < script.index("--last-failed")


def test_an_engine_that_does_not_answer_is_absent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")

    assert _script("ask_engine.py", "state").stdout == "absent\n"


def _script(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / name), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)
