"""A second verifier, as docs/audit-format.md describes it: nothing of ours, and only `cryptography`."""

import base64
import json
import re
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

KINDS = [("seq", int), ("prev", str), ("at", str), ("mono", int), ("type", str), ("v", int), ("body", dict)]


def small(value: object, levels: int = 200) -> bool:
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return levels > 0 and all(small(item, levels - 1) for item in inner)
    return not isinstance(value, int | float) or (isinstance(value, int) and abs(value) < 2**53)


def note_body(note: str, vkey: str) -> str | None:
    name, _, packed = vkey.strip().split("+", 2)
    raw = base64.b64decode(packed)
    key_id = sha256(name.encode() + b"\n" + raw).digest()[:4]
    body, _, signatures = note.rpartition("\n\n")
    if not signatures.endswith("\n"):
        return None
    rows = [line.split(" ") for line in signatures[:-1].split("\n")]
    for dash, signer, blob in [
        (dash, signer, blob) for dash, signer, blob in rows
    ]:  # all are looked at first
        try:
            signature = base64.b64decode(blob, validate=True)
        except ValueError:
            return None
        if base64.b64encode(signature).decode() != blob:
            return None
        if (dash, signer, signature[:4]) != ("\u2014", name, key_id):
            continue
        try:
            Ed25519PublicKey.from_public_bytes(raw[1:]).verify(signature[4:], f"{body}\n".encode())
        except InvalidSignature:
            return None
        return f"{body}\n"
    return None


def root(leaves: list[bytes]) -> bytes:
    if len(leaves) < 2:
        return leaves[0] if leaves else sha256(b"").digest()
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\1" + root(leaves[:half]) + root(leaves[half:])).digest()


def sealed(origin: str, leaves: list[bytes]) -> str:
    return f"{origin}\n{len(leaves)}\n{base64.b64encode(root(leaves)).decode()}\nhead {leaves[-1].hex()}\n"


def chained(raw: bytes, origin: str, problems: list[str]) -> tuple[list[dict], list[bytes]]:
    lines, leaves, prev = raw.split(b"\n")[:-1], [], sha256(b"pairlock ledger 1\n" + origin.encode()).digest()
    entries = []
    for seq, line in enumerate(lines):
        entry = json.loads(line, parse_constant=int)  # int("NaN") raises, and so does a NaN
        spelled = json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode()
        formed = len(line) <= 32768 and [(key, type(entry[key])) for key in entry] == KINDS and small(entry)
        if not formed or (entry["seq"], entry["prev"]) != (seq, prev.hex()) or spelled != line:
            problems.append(f"{origin}: entry {seq} does not hold")
            break
        prev = sha256(b"\0" + line).digest()
        leaves.append(prev)
        entries.append(entry)
    return entries, leaves


def host_part(state: Path, key: str, anchor: str | None, problems: list[str]) -> dict[str, list[dict]]:
    raw = (state / "ledger.jsonl").read_bytes()
    first = json.loads(raw.split(b"\n")[0])["body"]
    origin, keys = f"pairlock/host/{first['name']}", [first["vkey"]]
    entries, leaves = chained(raw, origin, problems)
    told: dict[str, list[dict]] = {}
    for seq, entry in enumerate(entries):
        body = entry["body"]
        if entry["type"] == "key.rotated":
            wanted = sealed(origin, leaves[:seq]) + f"next {body['new_vkey']}\n"
            if note_body(body["note"], keys[-1]) != wanted:
                problems.append("the new key is not vouched for")
            keys.append(body["new_vkey"])
        if entry["type"].startswith("session."):
            told.setdefault(body["session"], []).append(entry)
    if note_body((state / "checkpoint").read_bytes().decode(), keys[-1]) != sealed(origin, leaves):
        problems.append("the checkpoint does not hold")
    if key.strip() not in keys:
        problems.append("another key signs")
    if anchor is not None:
        bodies = [body for body in (note_body(anchor, known) for known in keys) if body]
        told_size = bodies[0].split("\n")[1] if bodies else ""
        size = int(told_size) if re.fullmatch("[0-9]{1,16}", told_size) else len(leaves) + 1
        if size > len(leaves) or sealed(origin, leaves[:size]) != bodies[0]:
            problems.append("the checkpoint kept elsewhere does not fit")
    return told


def end_of(told: list[dict]) -> int:
    ends = [entry["body"] for entry in told if entry["type"] in ("session.sealed", "session.reopened")]
    return ends[-1]["size"] if ends and ends[-1].get("closed") else 0


def session_part(state: Path, session: str, told: list[dict], problems: list[str]) -> None:
    path, origin = state / "sessions" / session / "events.jsonl", f"pairlock/session/{session}"
    if not path.exists():
        problems.append(f"{session} is gone")
        return
    if sum(entry["type"] == "session.registered" for entry in told) > 1:
        problems.append(f"{session} is registered twice")
    registered = {entry["body"]["epoch"]: entry["body"]["vkey"] for entry in told if "vkey" in entry["body"]}
    entries, leaves = chained(raw := path.read_bytes(), origin, problems)
    epoch, key = 0, ""
    for seq, entry in enumerate(entries):
        body = entry["body"]
        if entry["type"] in ("log.opened", "session.recovered"):
            epoch, key = epoch + 1, body["vkey"]
            twice = entry["type"] == "log.opened" and seq
            if twice or body["epoch"] != epoch or registered.get(epoch) != key or body["session"] != session:
                problems.append(
                    f"{session}: entry {seq} is out of place, or has a key that is not registered"
                )
        seals = entry["type"] == "log.sealed"
        if seals and (body["epoch"] != epoch or note_body(body["note"], key) != sealed(origin, leaves[:seq])):
            problems.append(f"{session}: the seal at {seq} does not hold")
    for entry in told:
        size = entry["body"].get("size", 0)
        bytes.fromhex(entry["body"].get("head", ""))  # raises where it is none
        if size > len(leaves) or (size and root(leaves[:size]).hex() != entry["body"]["root"]):
            problems.append(f"{session}: not what the host's log knows at {size}")
    if len(leaves) + (not raw.endswith(b"\n")) > (end_of(told) or len(leaves) + 1):
        problems.append(f"{session}: there are entries behind the sealed end")


def faults(state: Path, key: str, anchor: str | None = None) -> list[str]:
    problems: list[str] = []
    told = host_part(state, key, anchor, problems)
    there = {path.parent.name for path in (state / "sessions").glob("*/events.jsonl")}
    folders = {name for name in there if re.fullmatch("[0-9a-hjkmnp-tv-z]{12}", name)}
    for session in sorted(folders | set(told)):
        session_part(state, session, told.get(session, []), problems)
    return problems
