"""Say where in its file a task names something, so that what is wrong with that is told with its place."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent_runner.errors import InvalidInputError, RefusedError
from sandbox.workspace import WorkspaceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from policies.document import Document


@dataclass(frozen=True, slots=True)
class Places:
    """Where the keys of a task file stand."""

    document: Document

    def at(self, *path: str | int) -> str:
        """Return where what a key says stands, or the nearest that would hold it: `file:line:column`.

        Args:
            path: Keys and indices from the top.
        """
        return str(self.document.at(path))

    @contextmanager
    def told_at(self, *path: str | int) -> Iterator[None]:
        """Put the place of a key before what is wrong with that which it names.

        Args:
            path: Keys and indices from the top.

        Raises:
            InvalidInputError: When what it names is not to be had.
            RefusedError: When what it names is refused.
        """
        try:
            yield
        except (InvalidInputError, WorkspaceError) as error:
            detail = getattr(error, "detail", "")
            raise InvalidInputError(
                f"{self.at(*path)}: {error.message}", hint=error.hint, detail=detail
            ) from error
        except RefusedError as error:
            raise RefusedError(
                f"{self.at(*path)}: {error.message}", hint=error.hint, detail=error.detail
            ) from error
