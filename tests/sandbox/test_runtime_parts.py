"""What the runtime volume and the starter image are made of, without an engine."""

from __future__ import annotations

import contextlib
import json
import marshal
import os
import platform
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.runtime.elf import read_elf, without_search_paths
from sandbox.runtime.errors import LibraryMissingError, NotAnElfError, RuntimeBuildError
from sandbox.runtime.interpreter import Interpreter, own_interpreter
from sandbox.runtime.libraries import Libraries
from sandbox.runtime.packages import installed
from sandbox.runtime.programs import everyday_programs
from sandbox.runtime.record import Built, EngineRecord, RecordFile, Sources, fingerprint
from sandbox.runtime.sealing import seal_interpreter, seal_library, seal_loader
from sandbox.runtime.starter import starter_tree
from sandbox.runtime.tree import Compiled, Folder, Link, Plain, Tree, compiled, walk
from sandbox.runtime.volume import GUEST, runtime_tree, start_line


def silent(_message: str, /, *, done: int, total: int) -> None:
    """Take no note of the progress."""


def walk_all(folder: Path) -> list[Path]:
    """Return every file below a folder."""
    return [path for _, path in walk(folder, skip=frozenset())]


@pytest.fixture(scope="module")
def interpreter() -> Interpreter:
    return own_interpreter()


@pytest.fixture(scope="module")
def unpacked(interpreter: Interpreter, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runtime volume's files, on this machine's disk."""
    folder = tmp_path_factory.mktemp("runtime")
    tree, _ = runtime_tree(interpreter)
    tree.write(folder / "runtime.tar", progress=silent, message="")
    (folder / "rt").mkdir()
    subprocess.run(["/usr/bin/tar", "-xf", folder / "runtime.tar", "-C", folder / "rt"], check=True)
    return folder / "rt"


def test_the_interpreter_is_the_one_that_runs_pairlock(interpreter: Interpreter) -> None:
    elf = read_elf(interpreter.executable)

    assert elf.interpreter == str(interpreter.loader)
    assert interpreter.executable == Path(sys._base_executable).resolve()
    assert (interpreter.standard / "os.py").is_file()


@pytest.mark.parametrize(
    "content", [b"", b"#!/bin/sh\n", b"\x7fELF\x02\x01", b"\x7fELF\x01\x01" + b"\0" * 100]
)
def test_what_is_no_64_bit_elf_file_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "program"
    path.write_bytes(content)

    with pytest.raises(NotAnElfError) as caught:
        read_elf(path)

    assert caught.value.path == path


@given(st.binary(max_size=400))
def test_no_bytes_after_an_elf_header_break_the_reader_but_by_its_own_error(content: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"\x7fELF\x02\x01" + content)
        file.flush()

        with contextlib.suppress(NotAnElfError):
            assert read_elf(Path(file.name)).needed is not None


def test_a_copy_names_no_folder_where_its_libraries_would_be_looked_for(unpacked: Path) -> None:
    """DT_RPATH wins over `--library-path`: an image could fill the host's folders."""
    files = [path for _, path in walk(unpacked, skip=frozenset()) if path.read_bytes()[:4] == b"\x7fELF"]

    assert len(files) > 20
    assert [path for path in files if read_elf(path).search] == []


def test_taking_the_search_paths_away_keeps_everything_else(interpreter: Interpreter, tmp_path: Path) -> None:
    candidates = [
        interpreter.executable,
        *(path for _, path in walk(Path(sys.prefix) / "lib", skip=frozenset())),
    ]
    with_search = [p for p in candidates if p.read_bytes()[:6] == b"\x7fELF\x02\x01" and read_elf(p).search]
    for path in with_search[:5]:
        copy = tmp_path / "copy"
        copy.write_bytes(without_search_paths(path.read_bytes()))

        before, after = read_elf(path), read_elf(copy)

        assert after.search == ()
        assert (after.needed, after.soname, after.interpreter) == (
            before.needed,
            before.soname,
            before.interpreter,
        )


def test_every_system_folder_of_the_sealed_loader_is_below_the_volume(
    unpacked: Path, interpreter: Interpreter
) -> None:
    """The loader itself says where it would look; unsealed, it names the image's folders."""
    sealed = _system_folders(unpacked / "lib" / interpreter.loader.name)
    unsealed = _system_folders(interpreter.loader)

    assert all(folder.startswith("/rt/0") for folder in sealed)
    assert len(sealed) == len(unsealed) > 0
    assert not any(folder.startswith("/rt") for folder in unsealed)


def _system_folders(loader: Path) -> list[str]:
    done = subprocess.run([str(loader), "--list-diagnostics"], capture_output=True, text=True, check=True)
    lines = (line.partition("=") for line in done.stdout.splitlines())
    return [value.strip('"') for name, _, value in lines if name.startswith("path.system_dirs")]


@pytest.mark.parametrize(
    ("path", "astray"),
    [
        (b"/etc/ld.so.preload", b"/rt/0ld.so.preload"),
        (b"/usr/lib/ssl/openssl.cnf", b"/rt/0lib/ssl/openssl.cnf"),
        (b"/lib64/", b"/rt/000"),
        (b"/opt/ssl/openssl.cnf", b"/rt/0ssl/openssl.cnf"),
        (b"/root/.pyenv/versions/x/ssl", b"/rt/00.pyenv/versions/x/ssl"),
    ],
)
@pytest.mark.parametrize("before", [b"\0", b"\x80\x01", b"\xff"])
def test_a_path_of_the_image_is_led_astray_at_the_same_length(
    path: bytes, astray: bytes, before: bytes
) -> None:
    content = b"code" + before + path + b"\0more"

    assert seal_library(content) == b"code" + before + astray + b"\0more"


@pytest.mark.parametrize(
    "kept",
    [
        b"/proc/self/exe",
        b"/dev/urandom",
        b"/bin/sh",
        b"/sys/devices/system/cpu",
        b"/rt/lib/",
        b"%s/etc/x",
        b"/lib",
    ],
)
def test_paths_of_the_kernel_and_parts_of_texts_stay(kept: bytes) -> None:
    content = b"\0" + kept + b"\0"

    assert seal_library(content) == content


def test_the_pieces_from_which_python_builds_its_own_paths_stay() -> None:
    content = b"\0/lib/python\0/etc/ssl\0"

    assert seal_interpreter(content) == b"\0/lib/python\0/rt/0ssl\0"


def test_a_loader_that_cannot_be_sealed_is_not_used() -> None:
    with pytest.raises(RuntimeBuildError, match=r"`/etc/ld\.so\.preload`"):
        seal_loader(b"\0/etc/ld-musl-x86_64.path\0")


def test_a_library_that_this_machine_lacks_is_named(interpreter: Interpreter, tmp_path: Path) -> None:
    source = interpreter.executable
    libraries = Libraries(interpreter.loader)
    name = read_elf(source).needed[0].encode()
    broken = tmp_path / "broken"
    broken.write_bytes(source.read_bytes().replace(name + b"\0", b"lib-none".ljust(len(name), b"z") + b"\0"))

    with pytest.raises(LibraryMissingError) as caught:
        libraries.add(broken)

    assert caught.value.path == broken
    assert caught.value.library.startswith("lib-none")
    assert libraries.found == {}


def test_the_volume_holds_what_the_guest_and_pure_python_commands_need_and_no_more(
    unpacked: Path, interpreter: Interpreter
) -> None:
    library = unpacked / interpreter.library
    present = [
        "ctypes/__init__.pyc",
        "json/__init__.pyc",
        "hashlib.pyc",
        "encodings/utf_8.pyc",
        "asyncio/__init__.pyc",
    ]
    absent = [
        "test",
        "idlelib",
        "tkinter",
        "ensurepip",
        "lib2to3",
        "site-packages",
        "pydoc_data",
        "turtledemo",
    ]

    assert [name for name in present if not (library / name).is_file()] == []
    assert [name for name in absent if (library / name).exists()] == []
    assert list(unpacked.rglob("*.py")) == []
    assert list(library.glob("config-*")) == []
    start = {"__init__", "__main__", "packed"}
    here = {path.name for path in (unpacked / "guest").iterdir()}
    assert here == {*(f"{n}.pyc" for n in start), "modules", "stub"}
    modules = marshal.loads((unpacked / "guest" / "modules").read_bytes())  # noqa: S302 - just made here
    assert set(modules) | start == {path.stem for path in GUEST.rglob("*.py")}


def test_what_becomes_a_program_can_be_run_by_all_and_read_by_none(unpacked: Path) -> None:
    """So that the kernel keeps it from programs of the uid until its limits hold; gVisor wants another."""
    found = {path.name: path.stat().st_mode & 0o777 for path in (unpacked / "guest" / "stub").iterdir()}

    assert found == {f"start-{platform.machine()}": 0o711, f"readable-start-{platform.machine()}": 0o755}
    assert (unpacked / "bin" / "command").stat().st_mode & 0o777 == 0o755


def test_the_volume_starts_the_interpreter_and_imports_its_compiled_modules(
    unpacked: Path, interpreter: Interpreter
) -> None:
    """Outside a container the paths of the start line are moved, the files are the same."""
    line = [part.replace("/rt/", f"{unpacked}/") for part in start_line(interpreter)[:-1]]
    code = (
        "import ctypes, hashlib, json, ssl, zlib, sys;"
        "print(json.dumps([sys.prefix, hashlib.sha256(b'').hexdigest()[:8]]))"
    )

    done = subprocess.run(
        [*line, "-c", code], capture_output=True, text=True, check=True, env={"LC_ALL": "C"}
    )

    assert json.loads(done.stdout) == [str(unpacked), "e3b0c442"]
    assert done.stderr == ""


def test_a_compiled_module_is_never_held_against_its_source() -> None:
    """PEP 552: flags 1 is hash-based and unchecked; 3 would be checked, 0 by date."""
    content = compiled(b"x = 1\n", shown_as="/rt/x.py")

    assert int.from_bytes(content[4:8], "little") == 1
    assert marshal.loads(content[16:]).co_filename == "/rt/x.py"  # noqa: S302  we made it a line above


def test_nothing_compiled_says_where_this_machine_keeps_its_files(unpacked: Path) -> None:
    root = f"{GUEST.parent}/".encode()

    assert [path for path in unpacked.rglob("*.pyc") if root in path.read_bytes()] == []


def test_the_digest_is_the_same_for_the_same_sources_and_another_for_any_change(tmp_path: Path) -> None:
    source = tmp_path / "a.py"
    source.write_text("x = 1\n")

    def tree(*, mode: int = 0o644, target: str = "b", folder: int = 0o755) -> Tree:
        made = Tree()
        made.add("lib/a.pyc", Compiled(source=source, shown_as="/rt/a.py"))
        made.add("lib/b", Plain(content=b"b", mode=mode))
        made.add("link", Link(target=target))
        made.add("tmp", Folder(mode=folder))
        return made

    first = tree().digest(salt="1")

    assert tree().digest(salt="1") == first
    others = {tree(mode=0o755), tree(target="c"), tree(folder=0o1777)}
    digests = {made.digest(salt="1") for made in others} | {tree().digest(salt="2"), first}
    assert len(digests) == 5
    source.write_text("x = 2\n")
    assert tree().digest(salt="1") not in digests


def test_files_in_a_tar_belong_to_root_and_are_never_setuid(tmp_path: Path) -> None:
    tree = Tree()
    tree.add("usr/bin/program", Plain(content=b"x", mode=0o6755))
    tree.write(tmp_path / "x.tar", progress=silent, message="")

    with tarfile.open(tmp_path / "x.tar") as tar:
        members = [(m.name, oct(m.mode), m.uid, m.gid, m.mtime) for m in tar.getmembers()]

    assert members == [
        ("usr", "0o755", 0, 0, 0),
        ("usr/bin", "0o755", 0, 0, 0),
        ("usr/bin/program", "0o755", 0, 0, 0),
    ]


def test_a_source_that_cannot_be_compiled_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("def (:\n")
    tree = Tree()
    tree.add("lib/a.pyc", Compiled(source=tmp_path / "a.py", shown_as="/rt/a.py"))

    with pytest.raises(RuntimeBuildError, match=r"`lib/a\.pyc` cannot be made"):
        tree.write(tmp_path / "x.tar", progress=silent, message="")


def test_an_upgrade_of_any_source_changes_the_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "a.py").write_text("1")
    (tmp_path / "tree" / "skipped").write_text("1")
    (tmp_path / "program").write_text("1")
    sources = Sources(
        files=(str(tmp_path / "program"),), folders=(str(tmp_path / "tree"),), skip=("skipped",)
    )
    first = fingerprint(sources, salt="1")

    assert fingerprint(sources, salt="1") == first
    assert fingerprint(sources, salt="2") != first
    (tmp_path / "tree" / "skipped").write_text("other")
    assert fingerprint(sources, salt="1") == first
    (tmp_path / "tree" / "b.py").write_text("1")
    second = fingerprint(sources, salt="1")
    (tmp_path / "program").unlink()
    assert len({first, second, fingerprint(sources, salt="1")}) == 3


async def test_a_record_is_private_and_comes_back_as_it_was_written(tmp_path: Path) -> None:
    file = RecordFile(tmp_path / "state", "ABCD:EF01")
    built = Built(
        name="v", digest="d", fingerprint="f", sources=Sources(files=("/a",), folders=("/b",), skip=("c",))
    )
    record = EngineRecord(runtime=built, outdated_volumes=("old",))

    async with file.locked():
        file.write(record)

    path = tmp_path / "state" / "engines" / "ABCD-EF01.json"
    assert file.read() == record
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": 1, "runtime": "name"}', '{"unknown": 1}'])
async def test_a_record_that_cannot_be_read_is_as_good_as_none(content: str, tmp_path: Path) -> None:
    file = RecordFile(tmp_path, "A")
    async with file.locked():
        (tmp_path / "engines" / "A.json").write_text(content)

    assert file.read() == EngineRecord()


@pytest.mark.parametrize("engine", ["../../x", "a/b", "", "x" * 200, "a\nb"])
async def test_an_engine_cannot_choose_where_its_record_lies(engine: str, tmp_path: Path) -> None:
    file = RecordFile(tmp_path, engine)

    async with file.locked():
        file.write(EngineRecord(empty="sha256:1"))

    assert [path.parent for path in walk_all(tmp_path) if path.suffix == ".json"] == [tmp_path / "engines"]
    assert file.read().empty == "sha256:1"


async def test_a_state_folder_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "engines").write_text("a file in the way")
    file = RecordFile(tmp_path, "A")

    with pytest.raises(RuntimeBuildError, match="cannot be written"):
        async with file.locked():
            pass


def test_pytest_comes_with_what_it_needs_and_without_traces_of_this_machine() -> None:
    packages = {package.name: package for package in installed("pytest")}

    assert {"pytest", "pluggy", "iniconfig", "packaging"} <= packages.keys()
    names = [name for package in packages.values() for name, _ in package.files]
    assert [
        name for name in names if name.endswith((".pyc", "RECORD", "direct_url.json")) or ".." in name
    ] == []
    assert all(package.marker.name == "METADATA" for package in packages.values())


def test_an_unknown_package_brings_nothing() -> None:
    assert installed("no-such-distribution-anywhere") == ()


def test_the_starter_has_a_shell_the_everyday_programs_and_their_libraries(interpreter: Interpreter) -> None:
    tree, _ = starter_tree(interpreter)
    wanted = {
        "sh",
        "bash",
        "ls",
        "cat",
        "cp",
        "mv",
        "rm",
        "mkdir",
        "grep",
        "sed",
        "awk",
        "find",
        "env",
        "pytest",
    }
    here = {name for name, _ in everyday_programs(interpreter.loader)}

    paths = set(tree.paths())

    assert {f"usr/bin/{name}" for name in (wanted & here) | {"pytest", "python3"}} <= paths
    assert "usr/lib64/ld-linux-x86-64.so.2" in paths or os.uname().machine != "x86_64"
    assert f"usr/{interpreter.library}/site-packages/pytest/__init__.py" in paths
