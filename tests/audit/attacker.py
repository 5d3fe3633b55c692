"""What someone can do who edits the ledger's files afterwards, with and without a key."""

import json
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from audit.chain import Chain, genesis, leaf_hash
from audit.errors import AuditError
from audit.recover import session_origin
from tests.audit.samples import SESSION

Lines = list[bytes]


def read_lines(path: Path) -> Lines:
    return path.read_bytes().splitlines()


def write_lines(path: Path, lines: Lines) -> None:
    path.write_bytes(b"".join(line + b"\n" for line in lines))


def recompute(lines: Lines, origin: str) -> Lines:
    """Return the lines with place and predecessor made to fit: all that the chain alone asks for."""
    prev, fitted = genesis(origin), []
    for seq, line in enumerate(lines):
        fields = json.loads(line) | {"seq": seq, "prev": prev.hex()}
        fitted.append(json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode())
        prev = leaf_hash(fitted[-1])
    return fitted


def edited(line: bytes) -> bytes:
    """Return a line that tells another story, of the same length."""
    return line.replace(b"src/app.py", b"src/lie.py")


def edit(lines: Lines) -> Lines:
    return [*lines[:40], edited(lines[40]), *lines[41:]]


def delete(lines: Lines) -> Lines:
    return [*lines[:40], *lines[41:]]


def reorder(lines: Lines) -> Lines:
    return [*lines[:40], lines[41], lines[40], *lines[42:]]


def insert(lines: Lines) -> Lines:
    return [*lines[:40], lines[38], *lines[40:]]


def cut(lines: Lines) -> Lines:
    return lines[:150]


def cut_at_a_seal(lines: Lines) -> Lines:
    seals = [place for place, line in enumerate(lines) if b'"type":"log.sealed"' in line]
    return lines[: seals[1] + 1]


def cut_and_forge_the_close(lines: Lines) -> Lines:
    close = next(line for line in lines if b'"type":"session.closed"' in line)
    return [*cut_at_a_seal(lines), close]


def change_session(state: Path, change: Callable[[Lines], Lines], *, recomputed: bool) -> None:
    """Change a session's file."""
    path = state / "sessions" / SESSION / "events.jsonl"
    lines = change(read_lines(path))
    write_lines(path, recompute(lines, session_origin(SESSION)) if recomputed else lines)


def put_another_in_its_place(state: Path, other: str) -> None:
    """Let another session's lines stand under this session's name, made to fit."""
    source = state / "sessions" / other / "events.jsonl"
    lines = [line.replace(other.encode(), SESSION.encode()) for line in read_lines(source)]
    write_lines(state / "sessions" / SESSION / "events.jsonl", recompute(lines, session_origin(SESSION)))


def delete_session(state: Path) -> None:
    shutil.rmtree(state / "sessions" / SESSION)


def delete_session_and_its_host_lines(state: Path) -> None:
    delete_session(state)
    path = state / "ledger.jsonl"
    lines = read_lines(path)
    name = json.loads(lines[0])["body"]["name"]
    kept = [line for line in lines if SESSION.encode() not in line]
    write_lines(path, recompute(kept, f"pairlock/host/{name}"))


def chain_only_finds(state: Path) -> bool:
    """Verify as a plain hash chain would: every file that is there, each line against the one before."""
    for path in sorted((state / "sessions").glob("*/events.jsonl")):
        chain = Chain.start(session_origin(path.parent.name))
        try:
            for line in read_lines(path):
                chain.take(line)
        except AuditError:
            return True
    return False


def chain_and_close_finds(state: Path) -> bool:
    """Verify as a hash chain would whose last entry has to be a closing one."""
    if chain_only_finds(state):
        return True
    for path in (state / "sessions").glob("*/events.jsonl"):
        kinds = [json.loads(line)["type"] for line in read_lines(path)]
        if [kind for kind in kinds if kind != "log.sealed"][-1] != "session.closed":
            return True
    return False


def fingerprint(folder: Path) -> str:
    """Return a digest over every file of a folder, names included."""
    total = sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            total.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return total.hexdigest()
