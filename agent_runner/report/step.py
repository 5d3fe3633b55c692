"""What a report shows: steps of a session, made of parts that a page knows how to draw; no HTML is here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from agent_runner.report.visible import visible, visible_line

Kind: TypeAlias = Literal["message", "model", "action", "egress", "person", "sandbox", "limit", "ledger"]
Tag: TypeAlias = Literal["allowed", "denied", "asked", "noted", "failed", "broken"]
Form: TypeAlias = Literal["text", "code", "diff"]
Json: TypeAlias = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prose:
    """Text of many lines."""

    label: str
    text: str
    form: Form = "text"
    folded: bool = False
    """Whether it is closed until somebody opens it."""
    left_out: int = 0
    """Bytes of the text that the page does not hold; 0 when it is all there."""

    def as_json(self) -> Json:
        """Return the part as the page reads it."""
        return {
            "form": self.form,
            "label": visible_line(self.label),
            "text": visible(self.text),
            "folded": self.folded,
            "left_out": self.left_out,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """A command line, whole, each of its words apart."""

    label: str
    words: tuple[str, ...]

    def as_json(self) -> Json:
        """Return the part as the page reads it."""
        return {
            "form": "words",
            "label": visible_line(self.label),
            "words": [visible_line(word) for word in self.words],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """Why a decision came out as it did, and what would mend it."""

    code: str
    message: str
    hint: str
    rule: str
    """Where the rule stands that made the decision; empty when none did."""

    def as_json(self) -> Json:
        """Return the part as the page reads it."""
        return {
            "form": "why",
            "code": visible_line(self.code),
            "message": visible_line(self.message),
            "hint": visible_line(self.hint),
            "rule": visible_line(self.rule),
        }


@dataclass(slots=True, kw_only=True)
class Table:
    """Rows under headings; it may grow while its step lasts."""

    label: str
    head: tuple[str, ...]
    rows: list[list[str]] = field(default_factory=list)
    folded: bool = False
    """Whether it is closed until somebody opens it."""

    def as_json(self) -> Json:
        """Return the part as the page reads it."""
        rows = [[visible_line(cell) for cell in row] for row in self.rows]
        return {
            "form": "table",
            "label": visible_line(self.label),
            "head": list(self.head),
            "rows": rows,
            "folded": self.folded,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """Something is not there to be shown, and why."""

    label: str
    why: str
    alarming: bool = False
    """Whether nothing accounts for it."""

    def as_json(self) -> Json:
        """Return the part as the page reads it."""
        return {
            "form": "absent",
            "label": visible_line(self.label),
            "why": visible_line(self.why),
            "alarming": self.alarming,
        }


Part: TypeAlias = Prose | Words | Why | Table | Absent


@dataclass(slots=True, kw_only=True)
class Step:
    """One thing that happened, told by one entry of the ledger or by several; it grows as they come."""

    seq: int
    """The first entry that tells of it."""
    at: str
    """When, by the writer's wall clock."""
    begun_ms: int
    """When, in milliseconds of the session's running time."""
    kind: Kind
    title: str
    name: str = ""
    """What it is called in the list, for example the command."""
    words: tuple[str, ...] = ()
    """The command line, where the title is one."""
    tags: list[Tag] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Short facts: how long, how many bytes."""
    parts: list[Part] = field(default_factory=list)
    quiet: bool = False
    """Whether it is bookkeeping that the page hides until it is asked for."""
    answer: str = ""
    """What a person, or the clock, said to it; empty where nobody was asked."""

    def tag(self, *tags: Tag) -> None:
        """Add tags that it does not have."""
        self.tags.extend(tag for tag in tags if tag not in self.tags)

    @property
    def is_notable(self) -> bool:
        """Whether it is shown even where the page is full."""
        return bool({"denied", "asked", "noted", "broken"} & set(self.tags)) or self.kind in (
            "person",
            "limit",
        )

    def as_json(self) -> Json:
        """Return the step as the page reads it."""
        return {
            "seq": self.seq,
            "at": visible_line(self.at),
            "ms": self.begun_ms,
            "kind": self.kind,
            "title": visible_line(self.title),
            "name": visible_line(self.name),
            "words": [visible_line(word) for word in self.words],
            "tags": self.tags,
            "notes": [visible_line(note) for note in self.notes],
            "parts": [part.as_json() for part in self.parts],
            "quiet": self.quiet,
        }
