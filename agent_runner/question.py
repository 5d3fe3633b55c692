"""Say what a person is asked, and show it: exactly what will run, escaped, nothing cut. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from audit.escape import escape, escape_line
from audit.summary import spelled_argv

if TYPE_CHECKING:
    from collections.abc import Sequence

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


def question_lines(question: Question) -> list[str]:
    """Return the question for a person at a terminal.

    The content comes first and the command line last: however long the content is, what the answer is about
    stands right above it. Arguments that could be taken for two, or for none, are quoted.
    """
    lines = [""]
    if question.body is not None:
        shown = _lines(question.body)
        lines += [f"content, {len(question.body)} bytes:", *(f"    | {line}" for line in shown)]
    lines.append(f"approve?  {escape_line(spelled_argv(question.argv))}")
    if question.body is not None:
        lines.append(f"          with the {len(question.body)} bytes of content above")
    lines += [f"          {escape_line(reason.message)}" for reason in question.reasons]
    return lines


def question_fields(question: Question) -> dict[str, object]:
    """Return the question for another program, as JSON: what its reader shows needs no more care."""
    return {
        "action": question.action,
        "digest": question.digest,
        "argv": [escape_line(word) for word in question.argv],
        "body": None if question.body is None else escape_line(_text(question.body)),
        "reasons": [escape_line(reason.message) for reason in question.reasons],
    }


def _text(body: bytes) -> str:
    r"""Return content as text; a byte that is none becomes `\udcXX`, which no text can be mistaken for."""
    return body.decode("utf-8", "surrogateescape")


def _lines(body: bytes) -> list[str]:
    """Return content a line each; the last one says where it does not end with a newline."""
    *whole, rest = _text(body).split("\n")
    shown = [escape(line) for line in whole]
    return [*shown, f"{escape(rest)}  [no newline at the end]"] if rest else shown
