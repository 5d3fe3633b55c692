"""Verify a pairlock ledger with nothing but Python: this one file, which goes into every bundle.

It shares no code with the rest of the package. `python3 -I verify.py [FOLDER] [--key VKEY] [--against
CHECKPOINT]` reads ledger.jsonl, checkpoint, and sessions/*/events.jsonl*, prints a line for each log, and
exits 0 when all of them hold, 1 when one does not, 2 for wrong usage. With `-I` Python itself takes nothing
from the folder in which it is started. docs/audit-format.md describes the format.
"""

import os
import sys

if __name__ == "__main__" and not sys.flags.isolated:
    # what lies beside this file could pose as a module of Python's own, `pathlib` too
    _own = (os.path.dirname(os.path.realpath(__file__)), ".")  # noqa: PTH120
    _there = [path for path in sys.path if os.path.exists(path or ".")]  # noqa: PTH110
    sys.path[:] = [path for path in _there if not any(os.path.samefile(path or ".", own) for own in _own)]  # noqa: PTH121

import argparse
import base64
import hashlib
import json
import pathlib
import re
import stat
from collections.abc import Iterator
from typing import Any, BinaryIO

# Ed25519 verification (RFC 8032 section 5.1.7), in affine-free extended coordinates.
_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, _P - 2, _P) % _P
_I = pow(2, (_P - 1) // 4, _P)
_Point = tuple[int, int, int, int]
Fields = dict[str, Any]
LONGEST_LINE = 32 * 1024
LONGEST_TORN = 64 * 1024


class BadLogError(Exception):
    """Raised when something does not hold; `place` is the entry, or None."""

    def __init__(self, why: str, place: int | None = None) -> None:
        super().__init__(why)
        self.place = place


def _add(one: _Point, two: _Point) -> _Point:
    a = (one[1] - one[0]) * (two[1] - two[0]) % _P
    b = (one[1] + one[0]) * (two[1] + two[0]) % _P
    c = 2 * one[3] * two[3] * _D % _P
    d = 2 * one[2] * two[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % _P, g * h % _P, f * g % _P, e * h % _P)


def _times(number: int, point: _Point) -> _Point:
    total = (0, 1, 1, 0)
    while number:
        if number & 1:
            total = _add(total, point)
        point = _add(point, point)
        number >>= 1
    return total


def _same(one: _Point, two: _Point) -> bool:
    return not ((one[0] * two[2] - two[0] * one[2]) % _P or (one[1] * two[2] - two[1] * one[2]) % _P)


def _point(raw: bytes) -> _Point:
    number = int.from_bytes(raw, "little")
    sign, y = number >> 255, number & (2**255 - 1)
    square = (y * y - 1) * pow(_D * y * y + 1, _P - 2, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * _I % _P
    if y >= _P or (x * x - square) % _P or (x == 0 and sign):
        raise BadLogError("a point of a signature is not on the curve")
    x = _P - x if x & 1 != sign else x
    return (x, y, 1, x * y % _P)


_BASE = _point(bytes.fromhex("58" + "66" * 31))


def check_signature(key: bytes, message: bytes, signature: bytes) -> None:
    """Check an Ed25519 signature."""
    scalar = int.from_bytes(signature[32:], "little")
    if len(signature) != 64 or len(key) != 32 or scalar >= _L:
        raise BadLogError("a signature is malformed")
    digest = hashlib.sha512(signature[:32] + key + message).digest()
    challenge = int.from_bytes(digest, "little") % _L
    left, right = _times(scalar, _BASE), _add(_point(signature[:32]), _times(challenge, _point(key)))
    if not _same(left, right):
        raise BadLogError("a signature is wrong")


def parse_key(text: str) -> tuple[str, bytes, bytes]:
    """Return a key's name, its id and its 32 bytes."""
    try:
        name, rest = text.strip().split("+", 1)
        key_id, packed = rest.split("+", 1)
        raw = base64.b64decode(packed, validate=True)
    except ValueError:
        raise BadLogError("a key is malformed") from None
    wanted = hashlib.sha256(name.encode() + b"\n" + raw).digest()[:4]
    if len(raw) != 33 or raw[0] != 1 or key_id != wanted.hex():
        raise BadLogError("a key is malformed")
    return name, wanted, raw[1:]


def open_note(note: str, vkey: str) -> list[str]:
    """Return the lines of a signed note's body, its signature by that key having been checked."""
    name, key_id, key = parse_key(vkey)
    body, signatures = split_note(note)
    for signer, raw in signatures:
        if signer == name and raw[:4] == key_id:
            check_signature(key, (body + "\n").encode(), raw[4:])
            return body.split("\n")
    raise BadLogError(f"a note is not signed by {name}")


def signed_by_one(note: str, vkeys: list[str]) -> list[str]:
    """Return the lines of a note's body that one of the keys has signed; none where no key has."""
    for vkey in vkeys:
        try:
            return open_note(note, vkey)
        except BadLogError:
            continue
    return []


def split_note(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    """Return a signed note's body and who signed it with what, nothing of it checked."""
    body, gap, tail = note.rpartition("\n\n")
    if not gap or not tail.endswith("\n"):
        raise BadLogError("the text is not a signed note")
    return body, [_signature(line) for line in tail[:-1].split("\n")]


def _signature(line: str) -> tuple[str, bytes]:
    """Return the name and the packed signature of a note's line."""
    dash, *parts = line.split(" ")
    if dash != "\u2014" or len(parts) != 2:
        raise BadLogError("a signature line is malformed")
    try:
        raw = base64.b64decode(parts[1], validate=True)
    except ValueError:
        raise BadLogError("a signature line is not base64") from None
    if len(raw) < 5 or base64.b64encode(raw).decode() != parts[1]:
        raise BadLogError("a signature line is malformed")
    return parts[0], raw


def small_integer(text: str) -> int:
    """Return an integer that every JSON library reads alike."""
    if abs(number := int(text)) >= 2**53:
        raise ValueError(text)
    return number


def no_number(text: str) -> None:
    """Refuse NaN and the infinities, which are not JSON, and numbers with a fraction or an exponent."""
    raise ValueError(text)


def shallow(value: object, levels: int) -> bool:
    """Tell whether objects and lists are nested in at most so many levels."""
    if not isinstance(value, dict | list):
        return True
    inner = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(shallow(item, levels - 1) for item in inner)


class Tree:
    """The tree of RFC 6962, growing."""

    def __init__(self, size: int = 0, peaks: tuple[bytes, ...] = ()) -> None:
        self.size = size
        self.peaks = list(peaks)

    def append(self, leaf: bytes) -> None:
        """Add a leaf."""
        size = self.size
        while size & 1:
            leaf, size = hashlib.sha256(b"\1" + self.peaks.pop() + leaf).digest(), size >> 1
        self.peaks.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """Return the root."""
        if not self.peaks:
            return hashlib.sha256(b"").digest()
        root = self.peaks[-1]
        for peak in self.peaks[-2::-1]:
            root = hashlib.sha256(b"\1" + peak + root).digest()
        return root


class Log:
    """One log while it is read."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.head = hashlib.sha256(b"pairlock ledger 1\n" + origin.encode()).digest()
        self.tree = Tree()

    def take(self, line: bytes) -> Fields:
        """Check that a line follows, and return its fields; the caller moves on with `advance`."""
        seq = self.tree.size
        if len(line) > LONGEST_LINE:
            raise BadLogError("it is longer than a line can be", seq)
        if not line.startswith(b'{"seq":%d,"prev":"%s",' % (seq, self.head.hex().encode())):
            raise BadLogError("it does not follow the entry before it", seq)
        try:
            fields: Fields = json.loads(
                line, parse_int=small_integer, parse_float=no_number, parse_constant=no_number
            )
            again = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
        except (ValueError, RecursionError):
            raise BadLogError("it is not JSON", seq) from None
        kinds = {"seq": int, "prev": str, "at": str, "mono": int, "type": str, "v": int, "body": dict}
        formed = isinstance(fields, dict) and [(key, type(fields[key])) for key in fields] == [*kinds.items()]
        if again != line or not formed or not shallow(fields, 200):
            raise BadLogError("it is not spelled as a writer spells it", seq)
        return fields

    def advance(self, line: bytes) -> None:
        """Move on past a line."""
        self.head = hashlib.sha256(b"\0" + line).digest()
        self.tree.append(self.head)

    def checkpoint(self) -> list[str]:
        """Return the lines of what a seal here has to sign."""
        root = base64.b64encode(self.tree.root()).decode()
        return [self.origin, str(self.tree.size), root, f"head {self.head.hex()}"]


def opened(path: pathlib.Path) -> BinaryIO:
    """Open a log's file, if it is one: no link, no pipe, nothing that could hang."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    if path.is_symlink():  # where there is no O_NOFOLLOW
        raise BadLogError(f"{path.name} is a symbolic link")
    file = os.fdopen(os.open(path, flags | getattr(os, "O_BINARY", 0)), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise BadLogError(f"{path.name} is not a regular file")
    return file


def note_in(path: pathlib.Path) -> str | None:
    """Return the text of a checkpoint's file, at most 64 KiB of it; None where there is none."""
    try:
        with opened(path) as file:
            return file.read(64 * 1024).decode("utf-8", "replace")
    except FileNotFoundError:
        return None


def claimed_size(note: str) -> int:
    """Return how many entries a checkpoint claims to cover, whoever signed it."""
    _, size, root, *_ = [*split_note(note)[0].split("\n"), "", ""]
    of_32_bytes = "[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]="
    if not re.fullmatch("0|[1-9][0-9]{0,15}", size) or not re.fullmatch(of_32_bytes, root):
        raise BadLogError("the checkpoint does not say what it covers")
    return int(size)


def lines_of(paths: list[pathlib.Path]) -> Iterator[bytes]:
    """Yield whole lines; a torn one at the end of the last file is left out."""
    for number, path in enumerate(paths, 1):
        with opened(path) as file:
            while line := file.readline(LONGEST_TORN + 1):
                if line.endswith(b"\n"):
                    yield line[:-1]
                elif len(line) > LONGEST_TORN:
                    raise BadLogError(f"{path.name} holds a line of more than {LONGEST_TORN} bytes")
                elif number < len(paths):
                    raise BadLogError(f"{path.name} ends in the middle of a line")


_OF_SESSIONS = ("session.registered", "session.reopened", "session.sealed", "session.pruned")


class Host:
    """What the host's log says."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.keys: list[str] = []
        self.sessions: dict[str, Fields] = {}
        self.roots: dict[int, bytes] = {}
        self.origin = ""
        self.size = 0
        self.whole = False
        self.anchored: int | None = None

    def read(self) -> None:
        """Read and verify the host's log."""
        log: Log | None = None
        for line in lines_of([self.folder / "ledger.jsonl"]):
            if log is None:
                body = json.loads(line)["body"]
                self.origin = f"pairlock/host/{body['name']}"
                self.keys, log = [body["vkey"]], Log(self.origin)
            fields = log.take(line)
            self._learn(log, fields["type"], fields["body"])
            log.advance(line)
            self.size = log.tree.size
            self.roots[self.size] = log.tree.root()
        if log is None:
            raise BadLogError("the host's log is empty")
        self._check_end(log.checkpoint(), fields["prev"])
        self.whole = True

    def _check_end(self, end: list[str], prev: str) -> None:
        """Check that the key in force signs the end: in the checkpoint or, after a crash, the one to come."""
        signed, coming = (note_in(self.folder / name) for name in ("checkpoint", "checkpoint.next"))
        size = 0 if signed is None else claimed_size(signed)
        if size > self.size:
            raise BadLogError("the host's log is shorter than its checkpoint says")
        if size == self.size - 1:
            root = base64.b64encode(self.roots.get(size, b"")).decode()
            before = [self.origin, str(size), root, f"head {prev}"]
            if signed is not None and signed_by_one(signed, self.keys) != before:
                raise BadLogError("the checkpoint does not hold")
            signed = coming
        if open_note(signed or "", self.keys[-1]) != end:
            raise BadLogError("no checkpoint covers the end of the host's log")

    def session(self, session: str) -> Fields:
        """Return what is known of a session."""
        fresh: Fields = {
            "keys": {},
            "roots": {},
            "heads": {},
            "size": 0,
            "epoch": 0,
            "pruned": None,
            "end": 0,
            "unread": False,
        }
        return self.sessions.setdefault(session, fresh | {"registered": False})

    def _learn(self, log: Log, kind: str, body: Fields) -> None:
        if kind in _OF_SESSIONS:
            self._of_session(self.session(body["session"]), kind, body, log.tree.size)
        if kind == "key.rotated":
            if open_note(body["note"], self.keys[-1]) != [*log.checkpoint(), f"next {body['new_vkey']}"]:
                raise BadLogError("the old key does not vouch for the new", log.tree.size)
            self.keys.append(body["new_vkey"])

    def _of_session(self, known: Fields, kind: str, body: Fields, place: int) -> None:
        """Take in what is said of a session; nothing that was said is unsaid by a later line."""
        if kind == "session.registered":
            if known["registered"]:
                raise BadLogError("a session is registered a second time", place)
            known["registered"] = True
        if kind == "session.reopened" and body["epoch"] <= known["epoch"]:
            raise BadLogError("an epoch that has sealed gets another key", place)
        if kind == "session.pruned":
            self._prune(known, body, place)
            return
        if kind != "session.sealed":
            known["keys"][body["epoch"]] = body["vkey"]
        if kind != "session.registered":
            if known["roots"].setdefault(body["size"], body["root"]) != body["root"]:
                raise BadLogError("a session is sealed with two roots at one size", place)
            known["size"] = max(known["size"], body["size"])
            known["end"] = body["size"] if body.get("closed") else 0
        if kind == "session.sealed":
            known["epoch"] = max(known["epoch"], body["epoch"])
            bytes.fromhex(body["root"] + body["head"])
            if known["heads"].setdefault(body["size"], body["head"]) != body["head"]:
                raise BadLogError("a session is sealed with two heads at one size", place)

    def _prune(self, known: Fields, body: Fields, place: int) -> None:
        size, head, peaks = body["size"], body["head"], body["peaks"]
        before = known["pruned"]["size"] if known["pruned"] else 1
        formed = len(peaks) == size.bit_count() and body["epoch"] in known["keys"]
        if not formed or not before <= size <= (known["end"] or size):
            raise BadLogError("what is pruned is not what was sealed", place)
        root = Tree(size, tuple(bytes.fromhex(peak) for peak in peaks)).root().hex()
        if (known["roots"].get(size, root), known["heads"].get(size, head)) != (root, head):
            raise BadLogError("what is pruned is not what was sealed", place)
        known["pruned"], known["pruned_at"] = body, place


class Session:
    """One session's log while it is read."""

    def __init__(self, session: str, known: Fields) -> None:
        self.session = session
        self.known = known
        self.log = Log(f"pairlock/session/{session}")
        self.epoch, self.sealed, self.last = 0, 0, ""
        pruned = known["pruned"]
        if pruned:
            self.log.head, self.epoch, self.sealed = (
                bytes.fromhex(pruned["head"]),
                pruned["epoch"],
                pruned["size"],
            )
            self.log.tree = Tree(pruned["size"], tuple(bytes.fromhex(peak) for peak in pruned["peaks"]))
        self.key = known["keys"].get(self.epoch, "")

    def take(self, line: bytes) -> None:
        """Check a line and move on."""
        seq, fields = self.log.tree.size, self.log.take(line)
        if fields["type"] in ("log.opened", "session.recovered"):
            if fields["type"] == "log.opened" and seq:
                raise BadLogError("a second beginning is out of place", seq)
            self._begin(fields["body"], seq)
        if fields["type"] == "log.sealed":
            self._seal(fields["body"], seq)
        else:
            self.last = fields["type"]
        self.log.advance(line)
        wanted = self.known["roots"].get(seq + 1)
        if wanted is not None and wanted != self.log.tree.root().hex():
            raise BadLogError(f"entry {seq} is not what the host's log has sealed", self.sealed)

    def end(self, torn: bool) -> str:  # noqa: FBT001 - a fact about the files
        """Check the end and return what to say of the log; torn: whether bytes stand behind the last line."""
        size, end = self.log.tree.size, self.known["end"]
        if size < self.known["size"]:
            raise BadLogError(f"truncated: {size} entries of at least {self.known['size']}", size)
        if end and end < size + torn:
            raise BadLogError("it stands behind the session's sealed end", end)
        closed = "closed" if end or self.known["unread"] else "closed; the host's log does not know of it"
        ended = self.last == "session.closed" and self.sealed == size and not torn
        state = closed if ended else "no end recorded"
        pruned = self.known["pruned"]
        gone = f", the first {pruned['size']} of them deleted on purpose" if pruned else ""
        return f"ok: {size} entries{gone}, {self.sealed} sealed, {state}"

    def _begin(self, body: Fields, seq: int) -> None:
        if body["session"] != self.session or body["epoch"] != self.epoch + 1:
            raise BadLogError("it belongs to another session or epoch", seq)
        if self.known["keys"] and self.known["keys"].get(body["epoch"]) != body["vkey"]:
            raise BadLogError("its key is not registered", seq)
        self.epoch, self.key = body["epoch"], body["vkey"]

    def _seal(self, body: Fields, seq: int) -> None:
        if body["epoch"] != self.epoch or open_note(body["note"], self.key) != self.log.checkpoint():
            raise BadLogError(f"the seal at entry {seq} does not hold", self.sealed)
        self.sealed = seq + 1


def named_files(folder: pathlib.Path) -> list[pathlib.Path]:
    """Return the files that bear the name of a log's, oldest first."""
    found = [
        folder / name
        for name in os.listdir(folder)  # noqa: PTH208 - glob is silent where a folder cannot be read
        if re.fullmatch(r"events\.jsonl(\.[1-9][0-9]*)?", name)
    ]
    return sorted(found, key=lambda path: int(path.suffix[1:]) if path.suffix != ".jsonl" else 0)


def files_of(folder: pathlib.Path, known: Fields) -> list[pathlib.Path]:
    """Return a session's files, oldest first, but for those that a prune has recorded and not yet deleted."""
    found = named_files(folder)
    while found and known["pruned"] and first_place(found[0]) < known["pruned"]["size"]:
        del found[0]
    return found


def first_place(path: pathlib.Path) -> int:
    """Return the place that a file's first line claims; that of no entry where it claims none."""
    with opened(path) as file:
        claimed = re.match(rb'\{"seq":(\d{1,16}),', file.read(32))
    return int(claimed[1]) if claimed else sys.maxsize


def check_session(files: list[pathlib.Path], session: str, known: Fields) -> str:
    """Verify one session and return what to say of it."""
    reading = Session(session, known)
    for line in lines_of(files):
        reading.take(line)
    return reading.end(_is_torn(files))


def _is_torn(files: list[pathlib.Path]) -> bool:
    """Tell whether the last file ends in the middle of a line."""
    with opened(files[-1]) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        return size > 0 and file.read(1) != b"\n"


def main() -> int:
    """Verify a folder and say what was found."""
    parser = argparse.ArgumentParser(description="Verify a pairlock ledger or bundle.")
    parser.add_argument("folder", nargs="?", default=str(pathlib.Path(__file__).parent), type=pathlib.Path)
    parser.add_argument("--key", help="the host's public key, as it came from elsewhere")
    parser.add_argument("--against", type=pathlib.Path, help="a checkpoint that was kept elsewhere")
    options = parser.parse_args()
    host, bad = Host(options.folder), 0

    def say(name: str, words: str) -> None:
        shown = re.sub(r"[^ -~]", "?", f"{name}: {words}")
        sys.stdout.write(f"{shown}\n")

    try:
        host.read()
        _check_trust(host, options.key, options.against)
        say(
            "host",
            f"ok: {host.size} entries, signed by {'the pinned key' if options.key else 'the key beside it'}",
        )
    except BadLogError as error:
        say("host", f"BROKEN: {error}")
        bad = 1
    except Exception as error:  # noqa: BLE001 - whatever a hostile bundle brings about, it does not hold
        say("host", f"BROKEN: {type(error).__name__}: {error}")
        bad = 1
    there = (path for path in (options.folder / "sessions").glob("*") if path.is_dir())
    folders = {path.name: path for path in there if re.fullmatch("[0-9a-hjkmnp-tv-z]{12}", path.name)}
    stray = sorted(name for name in set(folders) - set(host.sessions) if _may_hold_a_log(folders[name]))
    for session in [*host.sessions, *stray]:
        try:
            words = _session_words(options.folder, session, host, folders, pinned=options.key is not None)
            say(session, words + _since(host, session))
        except BadLogError as error:
            place = "" if error.place is None else f" at entry {error.place}"
            say(session, f"BROKEN{place}: {error}")
            bad = 1
        except Exception as error:  # noqa: BLE001 - a hostile log is broken, and those after it are judged
            say(session, f"BROKEN: {type(error).__name__}")
            bad = 1
    return bad


def _may_hold_a_log(folder: pathlib.Path) -> bool:
    """Tell whether a folder holds a log's files, or cannot be looked into."""
    try:
        return bool(named_files(folder))
    except OSError:
        return True


def check_unknown(files: list[pathlib.Path], session: str, known: Fields, *, pinned: bool) -> str:
    """Verify a session that the host's log does not know: a fault where a key is pinned and it was begun."""
    words = check_session(files, session, known)
    if pinned and sum(1 for _ in lines_of(files)) > 1:
        raise BadLogError("the host's log does not know this session")
    return words


def _session_words(
    folder: pathlib.Path, session: str, host: Host, folders: dict[str, pathlib.Path], *, pinned: bool
) -> str:
    known = host.session(session) | {"unread": not host.whole}
    there = files_of(folders[session], known) if session in folders else []
    if not there and known["pruned"] and known["pruned"]["size"] >= known["size"]:
        return "pruned on purpose"
    if not there and (folder / "left-out").exists():
        return "not in this bundle"
    if not there:
        raise BadLogError("missing: the session's log is gone")
    if not known["keys"]:
        return "unsigned, " + check_unknown(there, session, known, pinned=pinned)
    return check_session(there, session, known)


def _since(host: Host, session: str) -> str:
    """Say whether entries were deleted that were there when the checkpoint kept elsewhere was made."""
    known = host.session(session)
    since = host.anchored is not None and known["pruned"] and known["pruned_at"] >= host.anchored
    return "; pruned after that checkpoint" if since else ""


def _check_trust(host: Host, key: str | None, against: pathlib.Path | None) -> None:
    if key is not None and key.strip() not in host.keys:
        raise BadLogError("the host's log is not signed by the pinned key")
    if against is None:
        return
    lines = signed_by_one(against.read_text(), [*host.keys, *([key] if key else [])])
    if not lines:
        raise BadLogError("the checkpoint that was kept elsewhere is signed by an unknown key")
    origin, size, root, *_ = [*lines, "", ""]
    if not re.fullmatch(r"[0-9]{1,16}", size):
        raise BadLogError("what was kept elsewhere is not a checkpoint")
    found = host.roots.get(int(size))
    if origin != host.origin or found is None or base64.b64encode(found).decode() != root:
        raise BadLogError(f"rolled back or rewritten: it does not contain the checkpoint of {size} entries")
    host.anchored = int(size)


if __name__ == "__main__":
    sys.exit(main())
