"""Name what can go wrong in a run, split by who must act."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent_runner.backends.backend import Tried
    from policies.errors import Problem


class RunnerError(Exception):
    """Raised when a session cannot go on; every other error here is one of these.

    Args:
        message: One line: what failed, lower case, no full stop.
        hint: What the reader can do about it; empty when there is nothing.
        detail: What somebody else wrote, in as many lines as it has; shown apart from our own words.
    """

    def __init__(self, message: str, *, hint: str = "", detail: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.detail = detail


class InvalidInputError(RunnerError):
    """Raised when a file, a name or an option that a person gave is not valid."""


class InvalidFileError(InvalidInputError):
    """Raised when a file that a person wrote is not valid.

    Attributes:
        problems: Every problem that was found, in the order of the file; never empty.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda found: (found.at.line, found.at.column)))
        super().__init__("\n".join(str(problem) for problem in self.problems))


class RefusedError(RunnerError):
    """Raised when policy, lineage or trust says no before a session starts."""


class BackendError(RunnerError):
    """Raised when a model backend did not answer, or answered with what is no reply."""

    tried: tuple[Tried, ...] = ()
    """The models that were asked, where a backend asks one of several."""


class NoFactsError(RunnerError):
    """Raised when the facts beside a session's ledger are missing or damaged."""


class NoRunnerError(InvalidInputError):
    """Raised when nobody listens where a session's runner would: it may have ended, or listen elsewhere.

    Args:
        session: The session's id.
    """

    def __init__(self, session: str) -> None:
        super().__init__(f"no runner of session `{session}` listens")
        self.session = session


class MuteRunnerError(RunnerError):
    """Raised when a session's runner listens and does not answer: it is stopped, or hangs.

    Args:
        session: The session's id.
    """

    def __init__(self, session: str) -> None:
        super().__init__(
            f"the runner of session `{session}` did not answer", hint="`pairlock stop` kills it in the end"
        )
        self.session = session
