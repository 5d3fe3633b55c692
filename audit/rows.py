"""A session's entries as rows of a table and as JSON lines: the ground of the simple exports."""

import csv
import io
from collections.abc import Iterable, Iterator

import orjson

from audit.chain import Entry
from audit.escape import escape
from audit.hostile import unmark
from audit.reader import BrokenEntry

COLUMNS = ("seq", "at", "type", "action", "verdict", "outcome", "summary", "leaf")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_LONGEST_CELL = 32_000


def summary(entry: Entry) -> str:  # noqa: PLR0911 - one return for each kind of entry
    """Return one line that says what the entry is about: the whole command line where there is one.

    The text is not escaped: whoever prints it does that.
    """
    body = unmark(entry.body)
    if not isinstance(body, dict):
        return ""
    match entry.type:
        case "action.intended" | "process.started":
            return spelled_argv(body.get("argv", ()))
        case "action.finished":
            code = body.get("exit_code")
            return str(body.get("outcome", "")) + ("" if code is None else f", exit code {code}")
        case "egress.opened":
            return f"{body.get('scheme')}://{body.get('host')}:{body.get('port')}"
        case "egress.requested":
            return f"{body.get('method')} {body.get('path')}"
        case "model.asked" | "model.answered" | "model.failed":
            return f"{body.get('backend')} {body.get('model')}, turn {body.get('turn')}"
        case "approval.answered":
            return f"{body.get('answer')} by {body.get('by')} via {body.get('via')}"
        case "session.closed":
            return f"{body.get('status')}: {body.get('reason')}"
        case "limit.hit":
            return f"{body.get('limit')}: {body.get('observed')} of {body.get('bound')} {body.get('unit')}"
    return next((str(body[key]) for key in ("why", "message", "grant", "note") if body.get(key)), "")


def spelled_argv(argv: object) -> str:
    """Return a command line as one text, each argument quoted that needs it, nothing cut."""
    if not isinstance(argv, tuple | list):
        return ""
    return " ".join(_quoted(str(argument)) for argument in argv)


def json_lines(entries: Iterable[Entry | BrokenEntry]) -> Iterator[bytes]:
    """Yield each entry as a line of JSON, its marks kept, so that nothing is lost."""
    for entry in entries:
        if isinstance(entry, BrokenEntry):
            fields: dict[str, object] = {"broken": entry.why, "seq": entry.seq}
        else:
            fields = {
                "seq": entry.seq,
                "leaf": entry.leaf.hex(),
                "at": entry.at,
                "mono": entry.mono_us,
                "type": entry.type,
                "v": entry.version,
                "body": entry.body,
            }
        yield orjson.dumps(fields) + b"\n"


def csv_lines(entries: Iterable[Entry | BrokenEntry]) -> Iterator[str]:
    """Yield a header and a line for each entry; no cell can act as a formula in a spreadsheet (CWE-1236)."""
    yield _csv_line(COLUMNS)
    for entry in entries:
        yield _csv_line([_cell(value) for value in _row(entry)])


def _row(entry: Entry | BrokenEntry) -> list[str]:
    if isinstance(entry, BrokenEntry):
        return [str(entry.seq), "", "BROKEN", "", "", "", entry.why, ""]
    action, verdict, outcome = (entry.body.get(key) for key in ("action", "verdict", "outcome"))
    told = [str(value) if isinstance(value, str) else "" for value in (action, verdict, outcome)]
    return [str(entry.seq), entry.at, entry.type, *told, summary(entry), entry.leaf.hex()]


def _cell(text: str) -> str:
    shown = escape(text)
    shown = (
        shown
        if len(shown) <= _LONGEST_CELL
        else f"{shown[:_LONGEST_CELL]}... (cut; whole in the JSON export)"
    )
    return f"'{shown}" if shown.lstrip().startswith(_FORMULA) else shown


def _csv_line(cells: Iterable[str]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerow(cells)
    return out.getvalue()


def _quoted(argument: str) -> str:
    plain = argument and all(char.isalnum() or char in "-_./:=,@%+" for char in argument)
    return argument if plain else "'" + argument.replace("'", "'\\''") + "'"
