"""A session's entries as rows of a table and as JSON lines, for the simple exports."""

import csv
import io
from collections.abc import Iterable, Iterator

from audit.chain import Entry
from audit.escape import escape
from audit.jsonlines import json_line
from audit.reader import BrokenEntry
from audit.summary import summary

COLUMNS = ("seq", "at", "type", "action", "verdict", "outcome", "summary", "leaf")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_LONGEST_CELL = 32_000


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
        yield json_line(fields)


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
    shown = escape(text[: _LONGEST_CELL + 1])  # what is cut off anyway is not spelled out first
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
