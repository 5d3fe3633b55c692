"""The wheel: built, installed where nothing of the checkout is importable, and a session run from there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("policies", "audit", "sandbox", "cli_tools", "agent_runner")
NO_PART = {"__pycache__", ".mypy_cache", ".ruff_cache"}


@dataclass(frozen=True, slots=True)
class Installation:
    """pairlock, installed from its wheel."""

    wheel: Path
    folder: Path
    """Of the virtual environment."""

    def run(self, *command: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment, with nothing of this one's but PATH and the engine."""
        kept = {name: os.environ[name] for name in ("PATH", "DOCKER_HOST", "TMPDIR") if name in os.environ}
        program = str(self.folder / "bin" / command[0])
        return subprocess.run(
            [program, *command[1:]],
            cwd=cwd,
            env=kept | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """Build the wheel from a copy of the checkout, and install it into a fresh environment.

    The dependencies are those of the environment that runs this, which the locks made: its folder is put on
    the path of the fresh one, without the link that leads from there to the checkout.
    """
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns(*NO_PART))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    build = [
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--wheel-dir",
        str(folder),
        str(source),
    ]
    subprocess.run([*pip, *build], check=True, capture_output=True, text=True)
    wheel = next(folder.glob("pairlock-*.whl"))
    environment = folder / "environment"
    venv.create(environment, with_pip=False, symlinks=True)
    install = ["--python", str(environment), "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([*pip, *install], check=True, capture_output=True, text=True)
    site = next((environment / "lib").glob("python*/site-packages"))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return Installation(wheel=wheel, folder=environment)


def test_everything_in_the_packages_is_in_the_wheel(installation: Installation) -> None:
    """Policies, the guest, the starter's Dockerfile: data files are parts of the product."""
    here = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and not NO_PART & set(path.parts)
    }

    with zipfile.ZipFile(installation.wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}

    assert inside == here
    assert "sandbox/runtime/starter.Dockerfile" in inside
    assert "policies/library/fix-tests.yaml" in inside
    assert "sandbox/guest/__main__.py" in inside


def test_what_is_imported_is_the_wheel_and_not_the_checkout(
    installation: Installation, tmp_path: Path
) -> None:
    code = (
        "import policies, audit, sandbox, cli_tools, agent_runner as a; print(policies.__file__, a.__file__)"
    )

    done = installation.run("python", "-c", code, cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert [path.startswith(str(installation.folder)) for path in done.stdout.split()] == [True, True]


def test_the_installed_command_helps(installation: Installation, tmp_path: Path) -> None:
    done = installation.run("pairlock", "--help", cwd=tmp_path, HOME=str(tmp_path))

    assert (done.returncode, done.stderr) == (0, "")
    assert "run" in done.stdout


@pytest.mark.long
def test_programs_that_use_the_wheel_are_typed_through_and_through(
    installation: Installation, tmp_path: Path
) -> None:
    """Under mypy's strictest, as their authors see it, without the checkout or its settings."""
    programs = [*(ROOT / "examples" / "api").glob("*.py"), ROOT / "tests/agent_runner/program_of_a_user.py"]
    copies = [shutil.copy(program, tmp_path) for program in programs]
    (tmp_path / "wrong.py").write_text("from agent_runner import run_session\n\nrun_session(7).nothing\n")
    python = installation.folder / "bin" / "python"
    mypy = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--python-executable", str(python)]

    done, wrong = (
        subprocess.run([*mypy, *files], cwd=tmp_path, capture_output=True, text=True, check=False)
        for files in (copies, ["wrong.py"])
    )

    assert (done.returncode, len(copies)) == (0, 5), done.stdout + done.stderr
    assert 'has incompatible type "int"; expected "SessionRequest"' in wrong.stdout
    assert '"SessionResult" has no attribute "nothing"' in wrong.stdout


@pytest.mark.engine
@pytest.mark.long
def test_a_session_runs_from_the_wheel_and_mends_the_example(
    installation: Installation, tmp_path: Path
) -> None:
    """The main job, as somebody who installed pairlock does it: run, diff, apply, verify."""
    workspace = Path(shutil.copytree(ROOT / "examples" / "fix-tests" / "package", tmp_path / "freetime"))
    script = shutil.copy(ROOT / "examples" / "fix-tests" / "script.yaml", tmp_path / "script.yaml")
    settings = {"HOME": str(tmp_path), "PAIRLOCK_STATE": str(tmp_path / "state")}

    def pairlock(*arguments: str) -> subprocess.CompletedProcess[str]:
        return installation.run("pairlock", *arguments, cwd=tmp_path, **settings)

    try:
        ran = pairlock(
            "run", "Make the tests pass.", "--policy", "fix-tests", "--workspace", str(workspace),
            "--model", f"scripted:{script}",
        )  # fmt: skip
        assert ran.returncode == 0, ran.stdout + ran.stderr
        before = (workspace / "freetime" / "interval.py").read_text()
        diff = pairlock("diff", "last")
        applied = pairlock("apply", "last", "--yes")
        verified = pairlock("audit", "verify", "last")
    finally:
        _remove_built(tmp_path / "state")

    _compare_with_readme(f"{ran.stderr}\n{ran.stdout}\n{diff.stdout}\n{verified.stdout}".splitlines())
    assert "max(result[-1].end" not in before
    assert (
        "+            result[-1] = Interval(result[-1].start, max(result[-1].end, interval.end))"
        in diff.stdout
    )
    assert "__pycache__" not in diff.stdout
    assert applied.returncode == 0, applied.stderr
    assert "max(result[-1].end" in (workspace / "freetime" / "interval.py").read_text()
    assert verified.returncode == 0, verified.stdout + verified.stderr


def _compare_with_readme(output: list[str]) -> None:
    """Find every line of the README's transcript in the output, in order; commands are passed over."""
    readme = (ROOT / "README.md").read_text()
    transcript = readme.split("<!-- transcript", 1)[1].split("```", 2)[1]
    rest = iter(output)
    for line in transcript.splitlines():
        if line and line != "[…]" and not line.startswith(("$ ", "      --")):
            assert line in rest, f"not in the output, or not in this order: {line}"


def _remove_built(state: Path) -> None:
    import asyncio

    from sandbox.docker_engine import DockerEngine
    from sandbox.runtime.cleaning import remove_built

    async def remove() -> None:
        engine = await DockerEngine.connect()
        try:
            await remove_built(engine, state=state, current=True)
        finally:
            await engine.close()

    asyncio.run(remove())
