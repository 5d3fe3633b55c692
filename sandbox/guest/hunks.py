"""Read a unified diff of one file and apply it. Every line must be there; only a hunk's place may be off.

The form is GNU diff's and git's: https://www.gnu.org/software/diffutils/manual/html_node/Detailed-Unified.html
"""

from __future__ import annotations

from .beneath import shown
from .refusal import RefusedError
from .text import lines_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .objects import Object, Value

MAX_HUNKS = 2000
SHOWN_HUNKS = 64
_NOTHING = b"/dev/null"
_MODES = (b"old mode ", b"new mode ", b"new file mode ", b"deleted file mode ")
_MODE_DIGITS = 6


class Hunk:
    """One hunk.

    Args:
        number: which one, from 1.
        start: the old file's line, from 1, at which it says it begins; 0 for an empty file.
    """

    def __init__(self, number: int, start: int) -> None:
        self.number = number
        self.start = start
        self.old: list[bytes] = []
        self.new: list[bytes] = []

    def add(self, line: bytes) -> None:
        """Take a line of the diff with its mark; an empty one stands for an empty line of context."""
        mark, text = line[:1] or b" ", line[1:]
        if mark not in (b" ", b"-", b"+"):
            raise _wrong(f"hunk {self.number}: line `{shown(line)}` begins with none of ` `, `-`, `+`")
        if mark != b"+":
            self.old.append(text + b"\n")
        if mark != b"-":
            self.new.append(text + b"\n")

    def without_end(self, mark: bytes) -> None:
        """Take that the last line, of the side that its mark names, has no newline."""
        if mark not in (b" ", b"-", b"+"):
            raise _wrong(f"hunk {self.number}: `\\ No newline at end of file` stands below no line")
        for side, marks in ((self.old, b" -"), (self.new, b" +")):
            if mark in marks and side:
                side[-1] = side[-1].removesuffix(b"\n")


class Diff:
    """A unified diff of one file."""

    def __init__(self) -> None:
        self.hunks: list[Hunk] = []
        self.names: tuple[bytes, bytes] = (b"", b"")

    @property
    def creates(self) -> bool:
        """Tell whether there was no file before."""
        return self.names[0] == _NOTHING

    def end_lines_as_in(self, file_has_returns: bool) -> None:  # noqa: FBT001 (what it is about)
        """Take lines written with LF to mean CR LF, where the file has nothing else and the diff no CR LF."""
        sides = [side for hunk in self.hunks for side in (hunk.old, hunk.new)]
        if file_has_returns and not any(line.endswith(b"\r\n") for side in sides for line in side):
            for side in sides:
                side[:] = [with_returns(line) for line in side]


def parse(text: bytes) -> Diff:
    """Read a diff.

    Raises:
        RefusedError: code `diff`, when it is none, is of several files, or a hunk is not as its header says.
    """
    diff = Diff()
    # Where every line of the diff ends with CR LF, the diff was carried so; else a CR belongs to its line.
    lines = (text.replace(b"\r\n", b"\n") if ends_with_returns(text) else text).split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    files = place = 0
    while place < len(lines):
        line = lines[place]
        place += 1
        if line.startswith(b"@@"):
            place = _hunk(diff, line, lines, place)
        elif line.startswith(b"--- ") and place < len(lines) and lines[place].startswith(b"+++ "):
            files += 1
            diff.names = (_name(line), _name(lines[place]))
            place += 1
        elif line == b"-- ":  # git writes its version below
            _require_no_more(lines[place:])
            break
        else:
            _require_harmless(diff, line)
    if files > 1:
        raise _wrong(f"the diff is of {files} files; expected one")
    if diff.names[1] == _NOTHING:
        raise _wrong("the diff removes the file; `files remove` does that")
    if not diff.hunks:
        raise _wrong("the diff has no hunk; expected `@@ -1,3 +1,4 @@` and the lines below it")
    return diff


def _require_harmless(diff: Diff, line: bytes) -> None:
    """Refuse a line outside of hunks that means something which is not done here, or a hunk that goes on."""
    if line.startswith((b"--- ", b"+++ ")):
        raise _wrong(f"`{shown(line)}` stands alone; expected `--- name` and, directly below, `+++ name`")
    if line.startswith((b"GIT binary patch", b"rename ", b"copy ", b"Binary files ")):
        raise _wrong(f"`{shown(line)}` is no change of a file's lines")
    if _is_mode(line) and line != b"new file mode 100644":
        raise _wrong(f"`{shown(line)}`: modes and kinds of files are not changed; leave the line out")
    if diff.hunks and line.strip() and not line.startswith((b"diff ", b"index ")):
        raise _wrong(f"`{shown(line)}` belongs to no hunk: the header above counts fewer lines")
    if not diff.hunks and any(diff.names) and line.strip():
        raise _wrong(f"`{shown(line)}` belongs to no hunk: expected `@@ -1,3 +1,4 @@` below the names")


def _require_no_more(lines: list[bytes]) -> None:
    """Refuse hunks and files behind the end of a mail: they would be passed over."""
    for line in lines:
        if line.startswith((b"@@ ", b"--- ")):
            raise _wrong(f"`{shown(line)}` stands below `-- `, which ends the diff")


def _is_mode(line: bytes) -> bool:
    """Tell git's words for a mode from a sentence of a mail that begins like them."""
    digits = line.rpartition(b" ")[2]
    return line.startswith(_MODES) and len(digits) == _MODE_DIGITS and digits.isdigit()


def _name(line: bytes) -> bytes:
    return line[4:].split(b"\t")[0].strip()


def require_about(diff: Diff, path: bytes) -> None:
    """Refuse a diff whose header names another file than the action does.

    Raises:
        RefusedError: code `diff`.
    """
    mine = [name for name in path.split(b"/") if name not in (b"", b".")]
    for name in diff.names:
        theirs = [part for part in name.split(b"/") if part not in (b"", b".")]
        if name and name != _NOTHING and mine not in (theirs, theirs[1:], theirs[-len(mine) :]):
            raise _wrong(f"the diff is of `{shown(name)}`, the action of `{shown(path)}`")


def _hunk(diff: Diff, header: bytes, lines: list[bytes], place: int) -> int:
    number = len(diff.hunks) + 1
    if number > MAX_HUNKS:
        raise _wrong(f"more than {MAX_HUNKS} hunks")
    start, old, new = _counts(header, number)
    hunk = Hunk(number, start)
    while place < len(lines) and (len(hunk.old) < old or len(hunk.new) < new):
        line = lines[place]
        if line.startswith(b"@@") or (line.startswith(b"--- ") and len(hunk.old) >= old):
            break
        if line.startswith(b"\\"):
            hunk.without_end(lines[place - 1][:1] or b" ")
        else:
            hunk.add(line)
        place += 1
    if (len(hunk.old), len(hunk.new)) != (old, new):
        raise _wrong(
            f"hunk {number} says {old} old and {new} new lines and has {len(hunk.old)} and {len(hunk.new)}; "
            f"expected `@@ -{start},{len(hunk.old)} +{start},{len(hunk.new)} @@`"
        )
    if place < len(lines) and lines[place].startswith(b"\\"):
        hunk.without_end(lines[place - 1][:1] or b" ")
        place += 1
    if hunk.old == hunk.new:
        raise _wrong(f"hunk {number} changes nothing")
    diff.hunks.append(hunk)
    return place


def _counts(header: bytes, number: int) -> tuple[int, int, int]:
    """Return a header's first old line and both counts, from `@@ -a,b +c,d @@`."""
    words = header.split(b" ")
    if len(words) < 4 or words[0] != b"@@" or words[3] != b"@@" or words[1][:1] + words[2][:1] != b"-+":
        raise _wrong(f"hunk {number}: `{shown(header)}` is no header; expected `@@ -10,3 +10,4 @@`")
    start, old = _range(words[1][1:], header)
    _, new = _range(words[2][1:], header)
    return start, old, new


def _range(text: bytes, header: bytes) -> tuple[int, int]:
    start, comma, count = text.partition(b",")
    if not start.isdigit() or (comma and not count.isdigit()) or len(text) > 20:
        raise _wrong(f"`{shown(header)}` is no header; expected `@@ -10,3 +10,4 @@`")
    return int(start), int(count) if comma else 1


def apply(content: bytes, diff: Diff) -> tuple[bytes, Object]:
    """Return the changed content, and where each hunk went.

    Raises:
        RefusedError: code `no-match`, when a hunk does not fit, or fits in several other places.
    """
    diff.end_lines_as_in(ends_with_returns(content))
    lines = lines_of(content)
    made: list[bytes] = []
    done = 0
    shift = 0
    places: list[Value] = []
    for hunk in diff.hunks:
        old, new = hunk.old, hunk.new
        named = max(hunk.start - 1, 0) if old else hunk.start  # without old lines it says after which line
        at = _find(lines, old, named + shift, done, hunk)
        shift = at - named
        made += lines[done:at]
        made += new
        done = at + len(old)
        places.append(at + 1)
    made += lines[done:]
    _require_ends(made)
    asked: list[Value] = [hunk.start for hunk in diff.hunks]
    return b"".join(made), {"hunks": len(places), "lines": places[:SHOWN_HUNKS], "asked": asked[:SHOWN_HUNKS]}


def _find(lines: list[bytes], old: list[bytes], wanted: int, done: int, hunk: Hunk) -> int:
    """Return the line, from 0, at which a hunk fits: where it says, or else at the one other place."""
    if not old:
        if not done <= wanted <= len(lines):
            why = f"hunk {hunk.number} adds after line {hunk.start}; the file has {len(lines)} lines"
            raise RefusedError("no-match", why)
        return wanted
    if wanted >= done and lines[wanted : wanted + len(old)] == old:
        return wanted
    first = old[0]
    found = [
        place
        for place in range(done, len(lines) - len(old) + 1)
        if lines[place] == first and lines[place : place + len(old)] == old
    ]
    if len(found) == 1:
        return found[0]
    if found:
        where = ", ".join(str(place + 1) for place in found[:8])
        raise RefusedError(
            "many-matches", f"hunk {hunk.number} does not fit at line {hunk.start}, but at {where}"
        )
    raise RefusedError("no-match", f"hunk {hunk.number} does not fit: {_difference(lines, old, wanted)}")


def _difference(lines: list[bytes], old: list[bytes], wanted: int) -> str:
    for offset, line in enumerate(old):
        place = wanted + offset
        if place >= len(lines):
            want = shown(line.rstrip())
            return f"the file ends at line {len(lines)}, the diff has `{want}` at line {place + 1}"
        if lines[place] != line:
            have = shown(lines[place].rstrip(b"\r\n"))
            want = shown(line.rstrip(b"\r\n"))
            if have == want:
                return f"line {place + 1} is `{have}` with another line end"
            return f"line {place + 1} is `{have}`, the diff has `{want}`"
    return "it stands before an earlier hunk"


def _require_ends(lines: list[bytes]) -> None:
    """Refuse a result in which a line without an end is followed by another: the two would become one."""
    for number, line in enumerate(lines[:-1], start=1):
        if not line.endswith(b"\n"):
            raise RefusedError("no-match", f"line {number} has no newline, and the diff puts lines after it")


def ends_with_returns(content: bytes) -> bool:
    """Say whether every line of a file ends with CR LF."""
    return content.count(b"\r\n") == content.count(b"\n") > 0


def with_returns(text: bytes) -> bytes:
    """Return text with every line end as CR LF."""
    return text.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def _wrong(message: str) -> RefusedError:
    return RefusedError("diff", message)
