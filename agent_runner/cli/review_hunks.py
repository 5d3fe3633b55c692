"""Let a person choose changes one by one, and text hunk by hunk; nothing is written here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from agent_runner.cli.review_shown import patch_lines
from sandbox.stage import MatchNothing
from sandbox.stage.changes import ChangeKind
from sandbox.stage.diff import render_diff
from sandbox.stage.hunks import reviewed_contents, split_hunks, take_hunks
from sandbox.stage.summary import terminal_safe
from sandbox.stage.verdict import decide

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sandbox.stage import Named
    from sandbox.stage.changes import Change
    from sandbox.stage.opened import OpenStage

HELP: Final = (
    "y  take it          n  leave it\n"
    "a  take it and all that is left of this file\n"
    "d  leave it and all that is left of this file\n"
    "q  leave it and everything that comes after"
)


@dataclass(slots=True)
class Picked:
    """What was chosen so far."""

    paths: list[str] = field(default_factory=list)
    contents: dict[str, bytes] = field(default_factory=dict)
    """For files of which only some hunks were chosen: the content to write."""


@dataclass(slots=True)
class Picker:
    """One walk through a session's changes."""

    stage: OpenStage
    ask: Callable[[str], str]
    """Asks one question and returns the answer; an empty text when nobody is there any more."""
    tell: Callable[[str], None]
    picked: Picked = field(default_factory=Picked)

    def walk(self, changes: Sequence[Change], include: Named | None) -> Picked:
        """Offer each change that may be applied, and return what was chosen."""
        for change in changes:
            if change.renamed_to:
                continue  # it goes with the file that it became
            refusal = decide(change, include or MatchNothing())
            if refusal is not None:
                self.tell(f"not offered: {terminal_safe(change.path)}: {refusal.reason}")
                continue
            if not self._offer(change):
                break
        return self.picked

    def _offer(self, change: Change) -> bool:
        """Offer one change; return whether to go on."""
        sides = reviewed_contents(self.stage, change) if change.kind is ChangeKind.MODIFIED else None
        hunks = split_hunks(*sides) if sides is not None else ()
        if sides is None or len(hunks) < 2:
            return self._offer_whole(change)
        self.tell(f"changed: {terminal_safe(change.path)}, {len(hunks)} hunks{_later(change)}")
        taken: set[int] = set()
        rest, go_on = "", True
        for hunk in hunks:
            if not rest:
                self._show(hunk.text)
                answer = self._answer(f"take hunk {hunk.number} of {len(hunks)}", "ynadq")
                rest, go_on = (answer if answer in "adq" else ""), answer != "q"
                if answer == "y":
                    taken.add(hunk.number)
            if rest == "a":
                taken.add(hunk.number)
        if taken:
            self.picked.paths.append(change.path)
        if taken and len(taken) < len(hunks):
            self.picked.contents[change.path] = take_hunks(sides[0], hunks, taken)
        return go_on

    def _offer_whole(self, change: Change) -> bool:
        patch = render_diff(self.stage, [change])
        was = f" (was {terminal_safe(change.renamed_from)})" if change.renamed_from else ""
        self.tell(f"{change.kind.value}: {terminal_safe(change.path)}{was}{_later(change)}")
        self._show(patch.text)
        for left in patch.left_out:
            self.tell(f"not shown: {left.reason}")
        answer = self._answer("take this change", "ynq")
        if answer == "y":
            self.picked.paths += [path for path in (change.renamed_from, change.path) if path]
        return answer != "q"

    def _show(self, patch: bytes) -> None:
        for line in patch_lines(patch):
            self.tell(line)

    def _answer(self, question: str, letters: str) -> str:
        """Ask until the answer is one of the letters; no answer is `q`."""
        while True:
            given = self.ask(f"{question} [{','.join(letters)},?]").strip().lower()[:1] or "q"
            if given in letters:
                return given
            for line in HELP.split("\n"):
                self.tell(line)


def _later(change: Change) -> str:
    return f"; on your machine later: {change.later}" if change.later else ""
