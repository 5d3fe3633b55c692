"""Say what a person is asked, and show it: exactly what will run, escaped, nothing cut. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from agent_runner.columns import rows, spelled_for, width_of
from audit.escape import escape_line
from audit.summary import spelled_argv

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TextIO

    from policies.request import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a person is asked."""

    action: str
    """`<session>/<n>`."""
    argv: tuple[str, ...]
    body: bytes | None
    """What comes beside the command line, for example a file's new content."""
    digest: str
    """SHA-256 of the command line and the body; an answer names the same."""
    reasons: tuple[Reason, ...]


def digest_of(argv: Sequence[str], body: bytes | None) -> str:
    """Return the SHA-256 of an action as it would be done, hexadecimal."""
    shown = [word.encode("utf-8", "surrogatepass").hex() for word in argv]
    content = None if body is None else hashlib.sha256(body).hexdigest()
    return hashlib.sha256(orjson.dumps([shown, content])).hexdigest()


def question_lines(question: Question, *, on: TextIO | None = None) -> list[str]:
    """Return the question for a person at a terminal.

    The content comes first and the command line last: however long the content is, what the answer is about
    stands right above it. Arguments that could be taken for two, or for none, are quoted.

    Args:
        question: What is asked.
        on: Where it will be shown; None for lines that are as long as they are.
    """
    return ["", *asked_lines(question_fields(question), on=on)]


def asked_lines(fields: Mapping[str, object], *, on: TextIO | None = None) -> list[str]:
    """Return the question for a person from its fields, as `question_fields` gave them.

    A line that does not fit goes on in rows that begin with a colon: none is a line of its own.
    """
    body, shown = fields.get("body"), []
    if isinstance(body, str):
        content, open_end = _spelled_lines(body)
        shown.append(f"content, {len(content)} line{'' if len(content) == 1 else 's'}{open_end}:")
        shown += [row for line in content for row in _rows(f"    | {line}", on, lead="    : ")]
    command = spelled_argv(fields.get("argv"))
    lines = [f"approve?  {command}"]
    if not command.isascii():  # some letters look like others
        lines.append(f"  ASCII:  {command.encode('ascii', 'backslashreplace').decode('ascii')}")
    if isinstance(body, str):
        lines.append("          with the content above")
    reasons = fields.get("reasons")
    lines += [f"          {reason}" for reason in reasons] if isinstance(reasons, list | tuple) else ()
    return shown + [row for line in lines for row in _rows(line, on, lead="        : ")]


def question_fields(question: Question) -> dict[str, object]:
    """Return the question for another program, as JSON: what its reader shows needs no more care."""
    return {
        "action": question.action,
        "digest": question.digest,
        "argv": [escape_line(word) for word in question.argv],
        "body": None if question.body is None else escape_line(_text(question.body)),
        "reasons": [escape_line(reason.message) for reason in question.reasons],
    }


def _rows(line: str, on: TextIO | None, *, lead: str) -> list[str]:
    return [line] if on is None else rows(spelled_for(on, line), columns=width_of(on), lead=lead)


def _text(body: bytes) -> str:
    r"""Return content as text; a byte that is none becomes `\udcXX`, which no text can be mistaken for."""
    return body.decode("utf-8", "surrogateescape")


def _spelled_lines(spelled: str) -> tuple[list[str], str]:
    """Return content that was escaped as one line a line each, and words for one that ends without a newline.

    Blanks at the end of a line are spelled out.
    """
    backslash = "\0"  # stands nowhere in what was escaped
    *whole, rest = spelled.replace("\\\\", backslash).split("\\n")
    shown = [_with_end(line).replace(backslash, "\\\\") for line in (*whole, *([rest] if rest else []))]
    return shown, ", no newline at the end" if rest else ""


def _with_end(line: str) -> str:
    kept = line.rstrip(" ")
    return kept + "\\x20" * (len(line) - len(kept))
