"""A bundle from an enemy, before the verifier that lies in every bundle: broken, and never a traceback."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from audit import standalone
from audit.chain import Chain, encode_rest, join
from audit.host import host_origin
from tests.audit import attacker
from tests.audit.samples import SESSION, Recorder
from tests.audit.unpacked import key_of, pack, unpack

OTHER = "zzzzzzzzzzzz"


def key_is_a_number(state: Path) -> None:
    """Let the host's log name a number as its key."""
    path = state / "ledger.jsonl"
    lines = attacker.read_lines(path)
    first = json.loads(lines[0])
    first["body"]["vkey"] = 5
    lines[0] = json.dumps(first, ensure_ascii=False, separators=(",", ":")).encode()
    attacker.write_lines(path, attacker.recompute(lines, host_origin(first["body"]["name"])))


def brackets(state: Path) -> None:
    """Let the host's log begin with an endless nesting."""
    path = state / "ledger.jsonl"
    attacker.write_lines(path, [b"[" * 32_000, *attacker.read_lines(path)])


def pruned_to_an_odd_size(state: Path) -> None:
    """Let the host's log say that a session was pruned to 3 entries, whose tree has no peaks."""
    path = state / "ledger.jsonl"
    lines = attacker.read_lines(path)
    chain = Chain.start(host_origin(json.loads(lines[0])["body"]["name"]))
    for line in lines:
        chain.take(line)
    body = {"session": SESSION, "size": 3, "epoch": 1, "head": "00" * 32, "peaks": []}
    pruned = encode_rest(at="", mono_us=1, kind="session.pruned", version=1, body=body)
    attacker.write_lines(path, [*lines, chain.add(pruned)])
    rest = encode_rest(at="", mono_us=1, kind="x", version=1, body={})
    attacker.write_lines(state / "sessions" / SESSION / "events.jsonl", [join(3, bytes(32), rest)])


def verified(state: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-S", standalone.__file__, str(state)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={})


@pytest.fixture
async def bundle(recorder: Recorder, state: Path, tmp_path: Path) -> Path:
    """Return the folder of an unpacked bundle."""
    await recorder.whole(actions=3)
    pack(state, tmp_path / "bundle.tar.gz")
    return unpack(tmp_path / "bundle.tar.gz", tmp_path)


@pytest.mark.parametrize("path", [None, ":", ".", "./sessions/..", "{bundle}"])
@pytest.mark.parametrize("name", ["argparse", "base64", "json", "os", "re", "typing"])
def test_no_module_beside_the_verifier_takes_the_place_of_pythons_own(
    bundle: Path, state: Path, monkeypatch: pytest.MonkeyPatch, name: str, path: str | None
) -> None:
    """Python looks for modules beside the file it is given; whoever packs a bundle puts files there."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    if path is not None:
        monkeypatch.setenv("PYTHONPATH", path.format(bundle=bundle))
    log, command = bundle / "sessions" / SESSION / "events.jsonl", [sys.executable, "verify.py"]
    command += ["--key", str(key_of(state))]

    (bundle / f"{name}.py").write_text("print('all is well'); raise SystemExit(0)")

    honest = subprocess.run(command, cwd=bundle, capture_output=True, text=True, check=False)
    assert (honest.returncode, honest.stderr, "all is well" in honest.stdout) == (0, "", False)
    assert f"{SESSION}: ok: 10 entries, 10 sealed, closed" in honest.stdout
    log.write_bytes(log.read_bytes().replace(b"src/app.py", b"src/lie.py"))
    forged = subprocess.run(command, cwd=bundle, capture_output=True, text=True, check=False)
    assert (forged.returncode, forged.stderr) == (1, "")


def test_started_as_the_readme_says_python_runs_nothing_that_lies_in_the_bundle(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python's own start looks for `sitecustomize` on the path, before any line of the verifier runs."""
    monkeypatch.setenv("PYTHONPATH", ":")
    (bundle / "sitecustomize.py").write_text("print('all is well'); raise SystemExit(0)")
    (words,) = re.findall(r"^ {4}python3 (.+) --key .*$", (bundle / "README").read_text(), re.MULTILINE)

    done = subprocess.run(
        [sys.executable, *words.split()], cwd=bundle, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr, "all is well" in done.stdout) == (0, "", False)
    assert f"{SESSION}: ok: 10 entries, 10 sealed, closed" in done.stdout


def test_the_verifier_runs_through_a_link_and_where_the_current_folder_is_gone(
    bundle: Path, tmp_path: Path
) -> None:
    """Python looks in the folder that a link leads to; of a folder that is gone nobody knows the path."""
    (bundle / "json.py").write_text("print('all is well'); raise SystemExit(0)")
    (tmp_path / "link.py").symlink_to(bundle / "verify.py")
    (tmp_path / "gone").mkdir()
    script = 'cd "$1/gone" && rmdir "$1/gone" && exec "$2" "$1/link.py" "$1/bundle"'

    done = subprocess.run(
        ["sh", "-c", script, "sh", str(tmp_path), sys.executable], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr, "all is well" in done.stdout) == (0, "", False)
    assert f"{SESSION}: ok: 10 entries, 10 sealed, closed" in done.stdout


@pytest.mark.parametrize(
    ("change", "name", "why"),
    [
        (key_is_a_number, "host", "AttributeError"),
        (brackets, "host", "RecursionError"),
        (pruned_to_an_odd_size, "host", "what is pruned is not what was sealed"),
    ],
)
async def test_a_hostile_bundle_is_broken_and_every_session_is_judged(
    recorder: Recorder, state: Path, change: Callable[[Path], None], name: str, why: str
) -> None:
    await recorder.whole(actions=3)
    await recorder.whole(OTHER, actions=3)
    change(state)

    done = verified(state)

    told = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert (done.returncode, done.stderr) == (1, "")
    assert re.match(rf"BROKEN: {why}", told[name])
    assert "ok: " in told[OTHER]
