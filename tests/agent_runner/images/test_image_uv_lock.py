"""A uv.lock becomes requirements with hashes, markers and all, as uv itself would export it."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from agent_runner.errors import InvalidInputError
from agent_runner.images.uv_lock import MOST_LOCK_CHARACTERS, requirements_of

HASHES = {name: f"sha256:{hashlib.sha256(name.encode()).hexdigest()}" for name in "abcde"}
REGISTRY = 'source = { registry = "https://pypi.org/simple" }'


def package(
    name: str, needs: str = "", *, version: str = "1", source: str = REGISTRY, files: bool = True
) -> str:
    """Write one package of a lock."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    wheels = (
        f'wheels = [{{ url = "https://x/{name}-{version}-py3-none-any.whl", hash = "sha256:{digest}" }}]\n'
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
        f"a==1 --hash={HASHES['a']}",
        f"b==1 ; (m1) or (m2) and (m4) --hash={HASHES['b']}",
        f"c==1 ; (m1) and (m3) or (m2) --hash={HASHES['c']}",
        f"d==1 ; (m1) or (m2) and (m4) --hash={HASHES['d']}",
        f"e==1 --hash={HASHES['e']}",
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
        '[[package]]\nname = "a"\nversion = "1"\nsdist = { hash = "sha256:' + "0" * 64 + '" }\n',
    )
    assert requirements_of(lock).splitlines() == [
        f"a==1 --hash=sha256:{'0' * 64}",
        f"b==1 --hash={HASHES['b']}",
    ]


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


NEEDS_A = own('dependencies = [{ name = "a" }]')


@pytest.mark.parametrize(
    ("lock", "message"),
    [
        (NEEDS_A.replace('"a"', '"a\\n-r .env"'), "whose name is none"),
        (NEEDS_A.replace('"a"', '"--pre"'), "whose name is none"),
        (NEEDS_A.replace('"a"', "7"), "whose name is none"),
        (NEEDS_A + package("a", version="1 --pre"), "whose version is none"),
        (NEEDS_A + package("a", version="1\\n--index-url=https://evil/"), "whose version is none"),
        (
            NEEDS_A + package("a").replace('version = "1"', f"version = 0x{'f' * 5000}"),
            "whose version is none",
        ),
        (
            NEEDS_A + package("a").replace('version = "1"', f"version{'.x' * 90} = 1"),
            "whose version is none",
        ),
        (NEEDS_A + package("a").replace('version = "1"\n', ""), "no version for `a`"),
        (NEEDS_A + package("a").replace("sha256:", "sha256:0\\n--pre "), "no hash for `a`"),
        (NEEDS_A + package("a").replace("sha256:", "md5:"), "no hash for `a`"),
        *(
            (NEEDS_A.replace('"a"', f'"a", marker = {marker}') + package("a"), "a marker that is none")
            for marker in (
                '"m --pre"',
                '"--pre"',
                '"m -i https"',
                '"m\\n-r x"',
                '"m # x"',
                '"m $HOME"',
                "7",
                "[]",
                f'"{"m" * 4097}"',
            )
        ),
    ],
)
def test_nothing_but_packages_is_written_for_pip(lock: str, message: str) -> None:
    """Name, version, hash and marker are each of their form: no line of another kind, no option."""
    with pytest.raises(InvalidInputError, match=message):
        requirements_of(lock)


def test_a_marker_as_uv_writes_them_is_kept() -> None:
    """The twin of what is refused."""
    marker = "(python_full_version >= '3.11' and platform_machine != 'x86-64') or extra == 'group-3-app-dev'"
    lock = own(f'dependencies = [{{ name = "a", marker = "{marker}" }}]') + package("a")

    assert requirements_of(lock) == f"a==1 ; ({marker}) --hash={HASHES['a']}\n"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("1" * 5000, "a value that no lock has"),
        ("[" * 5000 + "]" * 3000, "a value that no lock has"),
        (f"{{ a{'.a' * 100_000} = 1 }}", "a line with more than 100 dots"),
        ("1 #" + "x" * MOST_LOCK_CHARACTERS, "is longer than 8388608 characters"),
    ],
)
def test_a_value_that_breaks_the_reader_is_one_clear_line(value: str, message: str) -> None:
    """Python refuses such numbers, and its stack ends."""
    with pytest.raises(InvalidInputError, match=message):
        requirements_of(f"x = {value}\n{NEEDS_A}")


def test_a_lock_with_too_many_packages_is_refused() -> None:
    """Counted before they are looked at."""
    with pytest.raises(InvalidInputError, match="has 20001 packages"):
        requirements_of("[[package]]\n" * 20_001)


def test_a_lock_with_too_many_steps_is_refused() -> None:
    """Many ways to a package with many needs."""
    ways = ", ".join(f'\n{{ name = "a", marker = "m{way}" }}' for way in range(25))
    needs = ", ".join(f"\n{{ name = 'p{number}' }}" for number in range(4100))
    lock = own(f"dependencies = [{ways}]") + package("a", f"dependencies = [{needs}]")
    lock += "".join(f'[[package]]\nname = "p{number}"\n' for number in range(4100))

    with pytest.raises(InvalidInputError, match="more than 100000 steps"):
        requirements_of(lock)


def test_a_way_with_too_many_markers_is_refused() -> None:
    """A chain of packages, each under a marker of its own."""
    names = [f"p{number}" for number in range(40)]
    lock = own('dependencies = [{ name = "p0", marker = "m" }]')
    for name, following in pairwise(names):
        lock += package(name, f'dependencies = [{{ name = "{following}", marker = "{name}" }}]')
    lock += package(names[-1])

    with pytest.raises(InvalidInputError, match="more ways"):
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
