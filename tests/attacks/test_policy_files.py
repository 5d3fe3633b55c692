# ruff: noqa: E501 - a table of malformed files, one on each line
"""Files that are malformed, hostile or somebody else's: one line for each fault, an exit code, never a traceback."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from agent_runner.ceiling import read_ceiling
from agent_runner.errors import InvalidInputError, RefusedError
from agent_runner.policy_file import load_policy, parse_file
from policies.errors import PolicyError, PolicyFileError
from policies.library import library_policy
from policies.source import parse_policy
from tests.agent_runner.policy_stand import pairlock

HEAD = "version: 1\nname: p\n"
GOOD = HEAD + "grant: [files]\ncommands: {allow: [files read]}\n"


def _first(text: str) -> str:
    with pytest.raises(PolicyFileError) as refused:
        parse_policy(text, origin="p.yaml")
    return str(refused.value.problems[0])


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("\tversion: 1\n", "p.yaml:1:1: not valid YAML"),
        ("version: 1\n\tname: p\n", "p.yaml:2:1: not valid YAML"),
        (HEAD + "grant: [files\nfiles: {}\n", "p.yaml:4:6: not valid YAML"),
        (HEAD + "x: \0\n", "p.yaml:3:4: the invisible character `U+0000`"),
        (HEAD + "# note\rgrant: [files, exec]\n", "p.yaml:3:7: the invisible character `U+000D`"),
        (HEAD + "# a\x85grant: [files]\n", "p.yaml:3:4: the invisible character `U+0085`"),
        (HEAD + "# a\u2028grant: [files]\n", "p.yaml:3:4: the invisible character `U+2028`"),
        (HEAD + "na\u00adme: q\n", "p.yaml:3:3: the invisible character `U+00AD`"),
        (HEAD + "a: \ufeffb\n", "p.yaml:3:4: the invisible character `U+FEFF`"),
        (HEAD + "x: \ud800\n", "p.yaml:3:4: the invisible character `U+D800`"),
        (HEAD + "<<: {grant: [files]}\n", "p.yaml:3:1: key `<<` is not known"),
        (HEAD + "a: &x {}\n<<: *x\n", "p.yaml:3:4: anchors and aliases are not read"),
        (HEAD + "? [a]\n: b\n", "p.yaml:3:3: key `[a]` is not text"),
        (HEAD + "1: b\n", "p.yaml:3:1: key `1` is not text"),
        (HEAD + "null: b\n", "p.yaml:3:1: key `null` is not text"),
        (HEAD + "name: q\n", "p.yaml:3:1: key `name` stands twice; hint: the first is on line 2"),
        (HEAD + '"name": q\n', "p.yaml:3:1: key `name` stands twice"),
        (HEAD + "budget: {turns: 0o17}\n", "p.yaml:3:17: `0o17` is not a count"),
        (HEAD + "budget: {turns: 017}\n", "p.yaml:3:17: `017` is not a count"),
        (HEAD + "budget: {turns: 0x1F}\n", "p.yaml:3:17: `0x1F` is not a count"),
        (HEAD + "budget: {turns: 1_000}\n", "p.yaml:3:17: `1_000` is not a count"),
        (HEAD + "budget: {turns: 1e3}\n", "p.yaml:3:17: `1e3` is not a count"),
        (HEAD + "budget: {turns: -1}\n", "p.yaml:3:17: `-1` is out of range; expected 0 to 9007199254740991"),
        (HEAD + "budget: {turns: 0}\n", "p.yaml:3:10: `budget.turns` is `0`; expected 1 to 100000"),
        (HEAD + "budget: {turns: 99999999999999999999999999}\n", "p.yaml:3:17: `99999999999999999999999999` is not a count"),
        (HEAD + "budget: {turns: 9999999999999999}\n", "p.yaml:3:17: `9999999999999999` is out of range"),
        (HEAD + "budget: {turns: 1.5}\n", "p.yaml:3:17: `1.5` is not a count"),
        (HEAD + "budget: {turns: true}\n", "p.yaml:3:17: `true` is not a count"),
        (HEAD + "budget: {cost_usd: .inf}\n", "p.yaml:3:20: `.inf` is not a number"),
        (HEAD + "budget: {cost_usd: .nan}\n", "p.yaml:3:20: `.nan` is not a number"),
        (HEAD + "budget: {cost_usd: -1}\n", "p.yaml:3:10: `budget.cost_usd` is `-1.0`; expected 0 to 100000"),
        (HEAD + "budget: {wall_time: 30}\n", "p.yaml:3:21: `30` is not a duration"),
        (HEAD + "budget: {wall_time: 1:30}\n", "p.yaml:3:21: `1:30` is not a duration"),
        (HEAD + "name: 2024-01-01\n", "p.yaml:3:1: key `name` stands twice"),
        ("version: 2024-01-01\nname: p\n", "p.yaml:1:10: version `2024-01-01` is not known"),
        ("version: '1'\nname: p\n", "p.yaml:1:10: version `1` is not known"),
        ("version: 2\nname: p\n", "p.yaml:1:10: version `2` is not known; hint: write `version: 1`"),
        (HEAD + "grant: [FILES]\n", "p.yaml:3:9: `FILES` is not a capability; hint: did you mean `files`?"),
        (HEAD + "grant: {files: true}\n", "p.yaml:3:8: `{files: …}` is no list of capabilities"),
        (HEAD + "sinks: Strict\n", "p.yaml:3:8: `Strict` is none of `default`, `strict`"),
        (HEAD + "grant: [files]\nfiles: {access: [read]}\n", "p.yaml:4:17: `[read]` is none of"),
        (HEAD + "grant: [files]\nfiles: {hide: [{a: b}]}\n", "p.yaml:4:16: `{a: …}` is not a glob"),
        (HEAD + "--- \nname: q\n", "p.yaml:3:1: a second document begins here"),
        ("%YAML 1.1\n---\n" + HEAD, "p.yaml:1:1: a `%` directive stands here"),
        ("# c\n\n%TAG ! tag:evil,2000:\n---\n" + HEAD, "p.yaml:3:1: a `%` directive stands here"),
        ("%UNKNOWN x\n---\n" + HEAD, "p.yaml:1:1: a `%` directive stands here"),
        (HEAD + "x: !!binary aGk=\n", "p.yaml:3:4: the tag `tag:yaml.org,2002:binary` is not read"),
        (HEAD + "a: " + "[" * 20 + "]" * 20 + "\n", "p.yaml:3:16: this is nested deeper than 12"),
        (HEAD + "a: " + "{b: " * 20 + "}" * 20 + "\n", "p.yaml:3:"),
    ],
    ids=lambda value: repr(value)[:48],
)  # fmt: skip
def test_each_malformed_file_is_told_with_its_place(text: str, start: str) -> None:
    assert _first(text).startswith(start)


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        GOOD.replace("\n", "\r\n"),
        "\ufeff" + GOOD,
        "\ufeff" + GOOD.replace("\n", "\r\n"),
        GOOD.rstrip("\n"),
        "# a comment with ünïcödé, 中文 and 🎈\n" + GOOD,
        "---\n" + GOOD + "...\n",
    ],
    ids=["plain", "CRLF", "BOM", "BOM and CRLF", "no last newline", "letters", "markers"],
)
def test_twin_what_editors_write_is_read_the_same(text: str) -> None:
    assert parse_policy(text, origin="p.yaml") == parse_policy(GOOD, origin="p.yaml")


def test_places_are_the_same_with_carriage_returns_and_a_byte_order_mark() -> None:
    wrong = HEAD + "grant: [files]\nfiles: {hidee: [x]}\n"

    for text in (wrong, wrong.replace("\n", "\r\n"), "\ufeff" + wrong):
        assert _first(text).startswith("p.yaml:4:9: key `hidee` is not known in `files`")


def _spoilt(raw: bytes, chance: random.Random) -> bytes:
    pieces = [b"[", b"]", b"{", b"}", b": ", b"\n", b"  ", b"\t", b"&a ", b"*a ", b"!!x ", b"|\n", b">\n", b"'", b'"', b"%", b"@", b"\0", b"\xff", b"\xc3", b"\xe2\x80\xae", b"\xef\xbb\xbf", b"\r", b"<<: ", b"? ", b"--- ", b"1e999", b"0o7", b"~", b"- " * 40]  # fmt: skip
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(raw))
        match chance.randrange(4):
            case 0:
                raw = raw[:at] + chance.choice(pieces) + raw[at:]
            case 1:
                raw = raw[:at] + raw[at + chance.randint(1, 30) :]
            case 2:
                other = chance.randrange(len(raw))
                raw = raw[:at] + raw[other : other + 60] + raw[at:]
            case _:
                raw = raw[:at] + bytes([chance.randrange(256)]) + raw[at + 1 :]
    return raw


def _error_of(path: Path) -> str | None:
    try:
        load_policy(str(path))
    except (InvalidInputError, PolicyError) as error:
        return str(error)
    return None


def test_two_hundred_spoilt_files_of_bytes_are_policies_or_told_with_a_place(tmp_path: Path) -> None:
    chance = random.Random(20261122)  # noqa: S311 - a repeatable fuzz, not a secret
    sources = [
        source.text.encode() for name in ("fix-tests", "release-notes") if (source := library_policy(name))
    ]
    told = 0
    for number in range(200):
        path = tmp_path / f"{number}.yaml"
        path.write_bytes(_spoilt(sources[number % 2], chance))
        error = _error_of(path)
        told += error is not None
        assert error is None or error.startswith(f"{path}:")
    assert told > 100, "most of what is spoilt is noticed"


HOSTILE = {
    "10 MB": (b"a: 1\n" * 2_000_000, ":1:1: the file is larger than 64 KiB"),
    "not UTF-8": (b"version: 1\nname: \xff\n", ":2:7: not UTF-8"),
    "escape": (b"version: 1\nna\x1b]0;x\x07me: p\n", ":2:3: the invisible character"),
    "bomb": (b"a: &a [x]\nb: &b [*a,*a,*a]\nc: [*b,*b,*b]\n", ":1:4: anchors and aliases are not read"),
    "empty": (b"", ":1:1: the file holds no block"),
}


def _hostile(folder: Path, name: str) -> Path:
    path = folder / f"{name}\nhint: run evil\x1b[2K.yaml"
    path.write_bytes(HOSTILE[name][0])
    return path


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_exit_2_with_its_place(tmp_path: Path, name: str) -> None:
    result = pairlock("check", _hostile(tmp_path, name))

    assert result.exit_code == 2
    assert HOSTILE[name][1] in result.stdout
    assert "\x1b" not in result.output


def test_hostile_files_with_hostile_names_are_told_by_the_program_without_a_traceback(tmp_path: Path) -> None:
    files = [str(_hostile(tmp_path, name)) for name in HOSTILE]
    done = subprocess.run(
        [sys.executable, "-m", "agent_runner", "policy", "check", *files],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True, text=True, timeout=120, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip

    assert done.returncode == 2
    assert [said for _, said in HOSTILE.values() if said not in done.stdout] == []
    assert done.stderr.count(": not valid\n") == len(HOSTILE)
    assert not any(line.startswith("hint: run evil") for line in (done.stdout + done.stderr).splitlines())
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stdout + done.stderr


def test_a_fifo_a_folder_and_a_missing_file_are_told_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.yaml")
    for name in ("fifo.yaml", ".", "missing.yaml"):
        with pytest.raises(InvalidInputError):
            parse_file(tmp_path / name)


# -- the operator's ceiling (B47) ------------------------------------------------------------------------------

CEILING = "version: 1\nbudget: {turns: 5}\n"
as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can write what is root's alone")


def _ceiling(
    folder: Path, text: str | bytes = CEILING, *, mode: int = 0o644, folder_mode: int = 0o755
) -> Path:
    folder.mkdir()
    path = folder / "ceiling.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)
    folder.chmod(folder_mode)
    return path


@as_root
def test_twin_a_ceiling_that_is_roots_alone_is_read(tmp_path: Path) -> None:
    ceiling = read_ceiling(_ceiling(tmp_path / "etc"))

    assert ceiling is not None
    assert ceiling.budget.turns == 5


@as_root
def test_a_folder_that_is_roots_alone_and_holds_no_ceiling_is_none(tmp_path: Path) -> None:
    assert read_ceiling(tmp_path / "ceiling.yaml") is None


def test_a_missing_folder_is_no_ceiling_for_everyone(tmp_path: Path) -> None:
    assert read_ceiling(tmp_path / "nowhere" / "ceiling.yaml") is None


@as_root
@pytest.mark.parametrize(
    ("mode", "folder_mode", "owner"),
    [(0o664, 0o755, 0), (0o646, 0o755, 0), (0o644, 0o755, 65534), (0o644, 0o775, 0), (0o644, 0o757, 0)],
    ids=["group", "all", "another's", "folder: group", "folder: all"],
)
def test_a_ceiling_that_others_could_write_or_replace_stops_everything(
    tmp_path: Path, mode: int, folder_mode: int, owner: int
) -> None:
    path = _ceiling(tmp_path / "etc", mode=mode, folder_mode=folder_mode)
    os.chown(path, owner, owner)

    with pytest.raises(RefusedError):
        read_ceiling(path)


@as_root
def test_a_folder_that_others_can_write_is_refused_even_when_the_ceiling_is_gone(tmp_path: Path) -> None:
    path = _ceiling(tmp_path / "etc", folder_mode=0o777)
    path.unlink()

    with pytest.raises(RefusedError):
        read_ceiling(path)


@as_root
def test_a_link_a_fifo_and_a_folder_are_no_ceiling(tmp_path: Path) -> None:
    real = _ceiling(tmp_path / "etc")
    (tmp_path / "link").symlink_to(real)
    os.mkfifo(tmp_path / "fifo", 0o600)
    (tmp_path / "dir").mkdir()
    tmp_path.chmod(0o755)

    for name in ("link", "fifo", "dir"):
        with pytest.raises(RefusedError):
            read_ceiling(tmp_path / name)


@as_root
@pytest.mark.parametrize(
    "text", [b"version: 1\nfiles: {hide: ['\xff']}\n", b"versoin: 1\n", b"", b"x" * 70_000]
)
def test_a_ceiling_that_cannot_be_read_is_never_no_ceiling(tmp_path: Path, text: bytes) -> None:
    with pytest.raises((RefusedError, PolicyError)):
        read_ceiling(_ceiling(tmp_path / "etc", text))
