"""A uv.lock becomes requirements with hashes, markers and all, as uv itself would export it."""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from agent_runner.errors import InvalidInputError
from agent_runner.images.uv_lock import requirements_of

REGISTRY = 'source = { registry = "https://pypi.org/simple" }'


def package(
    name: str, needs: str = "", *, version: str = "1", source: str = REGISTRY, files: bool = True
) -> str:
    """Write one package of a lock."""
    wheels = (
        f'wheels = [{{ url = "https://x/{name}-{version}-py3-none-any.whl", hash = "sha256:{name * 4}" }}]\n'
        if files
        else ""
    )
    return f'[[package]]\nname = "{name}"\nversion = "{version}"\n{source}\n{needs}\n{wheels}\n'


def own(needs: str) -> str:
    """Write the project's own package."""
    return package("own", needs, source='source = { virtual = "." }', files=False)


def test_markers_are_those_of_the_ways_that_lead_to_a_package() -> None:
    """One way without a marker, and the package is always wanted; a circle ends."""
    lock = (
        "version = 1\n"
        + own(
            'dependencies = [{ name = "a" }, { name = "b", marker = "m1" }]\n'
            '[package.dev-dependencies]\ndev = [{ name = "e" }]'
        )
        + package("a", 'dependencies = [{ name = "c", marker = "m2" }]')
        + package("b", 'dependencies = [{ name = "c", marker = "m3" }, { name = "d" }]')
        + package("c", 'dependencies = [{ name = "b", marker = "m4" }]')
        + package("d", 'dependencies = [{ name = "a" }]')
        + package("e")
        + package("unused")
    )

    assert requirements_of(lock).splitlines() == [
        "a==1 --hash=sha256:aaaa",
        "b==1 ; (m1) or (m2) and (m4) --hash=sha256:bbbb",
        "c==1 ; (m1) and (m3) or (m2) --hash=sha256:cccc",
        "d==1 ; (m1) or (m2) and (m4) --hash=sha256:dddd",
        "e==1 --hash=sha256:eeee",
    ]


def test_extras_that_somebody_asked_for_are_taken_along() -> None:
    """No others are written down."""
    lock = (
        "version = 1\n"
        + own('dependencies = [{ name = "a", extra = ["x"] }]')
        + package("a", '[package.optional-dependencies]\nx = [{ name = "b" }]')
        + package("b")
    ).replace('x = [{ name = "b" }]\nwheels', 'x = [{ name = "b" }]\n[unused]\nwheels')

    with pytest.raises(InvalidInputError, match="no hash for `a`"):
        requirements_of(lock)

    lock = lock.replace(
        '[[package]]\nname = "a"\nversion = "1"\n',
        '[[package]]\nname = "a"\nversion = "1"\nsdist = { hash = "sha256:00" }\n',
    )
    assert requirements_of(lock).splitlines() == ["a==1 --hash=sha256:00", "b==1 --hash=sha256:bbbb"]


@pytest.mark.parametrize(
    ("lock", "message"),
    [
        ("=", "is not TOML"),
        ("version = 1", "names no project"),
        (own('dependencies = [{ name = "a" }]'), "holds it 0 times"),
        (own('dependencies = [{ name = "a" }]') + package("a", files=False), "no hash for `a`"),
        (
            own('dependencies = [{ name = "a" }]')
            + package("a", source='source = { git = "https://evil/x" }'),
            "from elsewhere than a registry",
        ),
        (
            own('dependencies = [{ name = "a" }]') + package("a", source='source = { directory = "../x" }'),
            "from elsewhere than a registry",
        ),
        (
            own('dependencies = [{ name = "a" }]') + package("a", version="1") + package("a", version="2"),
            "holds it 2 times",
        ),
    ],
)
def test_a_lock_that_cannot_be_held_to_is_refused(lock: str, message: str) -> None:
    """One line, with what is wrong."""
    with pytest.raises(InvalidInputError, match=message):
        requirements_of(lock)


def test_a_lock_with_too_many_ways_is_refused_in_time() -> None:
    """Hostile text: each package is reached over every set of markers."""
    names = [f"p{number}" for number in range(40)]
    lock = own(f'dependencies = [{{ name = "{names[0]}" }}]')
    for name, following in pairwise(names):
        ways = ", ".join(f'{{ name = "{following}", marker = "{name}-{way}" }}' for way in range(4))
        lock += package(name, f"dependencies = [{ways}]")
    lock += package(names[-1])

    with pytest.raises(InvalidInputError, match="more ways"):
        requirements_of(lock)


def test_the_repositorys_own_kind_of_lock_is_exported_as_uv_exports_it(tmp_path: Path) -> None:
    """The same packages under the same versions and hashes as `uv export` gives."""
    lock = (
        'version = 1\nrequires-python = ">=3.11"\n'
        + package(
            "own",
            'dependencies = [{ name = "a" }, { name = "b", marker = "sys_platform == \'win32\'" }]',
            source='source = { virtual = "." }',
            files=False,
        )
        + package("a", 'dependencies = [{ name = "b", marker = "python_full_version < \'3.12\'" }]')
        + package("b")
    )
    hashed = re.sub(r"sha256:(\w)\w*", lambda m: f"sha256:{m[1] * 64}", lock)
    (tmp_path / "uv.lock").write_text(hashed)
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "own"\nversion = "1"\nrequires-python = ">=3.11"\n'
        'dependencies = ["a", "b; sys_platform == \'win32\'"]\n'
    )

    exported = subprocess.run(
        [Path(sys.prefix) / "bin" / "uv", "export", "--frozen", "--no-emit-project", "--offline"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert exported.returncode == 0, exported.stderr
    theirs = re.sub(r"\s*#.*|\\\n", "", exported.stdout)
    names = re.compile(r"^(\S+==\S+)|--hash=(\S+)", re.MULTILINE)
    assert names.findall(theirs) == names.findall(requirements_of(hashed))
