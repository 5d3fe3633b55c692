"""Say what a person is asked, and show it: exactly what will run, escaped, nothing cut. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson

from agent_runner.columns import rows
from audit.escape import escape_line
from audit.summary import spelled_argv

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from policies.request import Reason

_MOST_LETTERS: Final = 12
"""So many letters beyond ASCII of a command line are named."""


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


def question_lines(question: Question, *, columns: int = 0) -> list[str]:
    """Return the question for a person at a terminal.

    The content comes first and the command line last: however long the content is, what the answer is about
    stands right above it. Arguments that could be taken for two, or for none, are quoted.

    Args:
        question: What is asked.
        columns: How wide the terminal is; 0 where there is none.
    """
    return ["", *asked_lines(question_fields(question), columns=columns)]


def asked_lines(fields: Mapping[str, object], *, columns: int = 0) -> list[str]:
    """Return the question for a person from its fields, as `question_fields` gave them.

    A line that does not fit goes on in rows that begin with a colon: none is a line of its own.
    """
    body, shown = fields.get("body"), []
    if isinstance(body, str):
        content = [f"    | {line}" for line in _spelled_lines(body)]
        shown.append(f"content, {len(content)} line{'' if len(content) == 1 else 's'}:")
        shown += [row for line in content for row in rows(line, columns=columns, lead="    : ")]
    command = spelled_argv(fields.get("argv"))
    lines = [f"approve?  {command}", *_look_alikes(command)]
    if isinstance(body, str):
        lines.append("          with the content above")
    reasons = fields.get("reasons")
    lines += [f"          {reason}" for reason in reasons] if isinstance(reasons, list | tuple) else ()
    return shown + [row for line in lines for row in rows(line, columns=columns, lead="        : ")]


def question_fields(question: Question) -> dict[str, object]:
    """Return the question for another program, as JSON: what its reader shows needs no more care."""
    return {
        "action": question.action,
        "digest": question.digest,
        "argv": [escape_line(word) for word in question.argv],
        "body": None if question.body is None else escape_line(_text(question.body)),
        "reasons": [escape_line(reason.message) for reason in question.reasons],
    }


def _look_alikes(command: str) -> list[str]:
    """Return a line with the letters beyond ASCII by their numbers: some look like others."""
    letters = [f"{letter} U+{ord(letter):04X}" for letter in sorted(set(command)) if not letter.isascii()]
    more = f" and {len(letters) - _MOST_LETTERS} more" if len(letters) > _MOST_LETTERS else ""
    return [f"          beyond ASCII: {', '.join(letters[:_MOST_LETTERS])}{more}"] if letters else []


def _text(body: bytes) -> str:
    r"""Return content as text; a byte that is none becomes `\udcXX`, which no text can be mistaken for."""
    return body.decode("utf-8", "surrogateescape")


def _spelled_lines(spelled: str) -> list[str]:
    """Return content that was escaped as one line a line each; blanks at the end of one are spelled out.

    The last one says where it does not end with a newline.
    """
    backslash = "\0"  # stands nowhere in what was escaped
    *whole, rest = spelled.replace("\\\\", backslash).split("\\n")
    shown = [_with_end(line) for line in whole]
    shown += [f"{_with_end(rest)}  [no newline at the end]"] if rest else []
    return [line.replace(backslash, "\\\\") for line in shown]


def _with_end(line: str) -> str:
    kept = line.rstrip(" ")
    return kept + "\\x20" * (len(line) - len(kept))
