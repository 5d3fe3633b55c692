"""Replace known secrets once, in what both the ledger and the model are about to see of an action."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from audit.redact import Redactor
    from cli_tools.command import Outcome
    from cli_tools.observation import Observation


def redacted(outcome: Outcome, redactor: Redactor) -> Outcome:
    """Return an outcome with known secrets replaced.

    Args:
        outcome: What an action came to.
        redactor: The session's.
    """
    if not redactor.knows:
        return outcome
    return replace(
        outcome,
        output=redactor.at_end(redactor.raw(outcome.output)),
        errors=redactor.at_end(redactor.raw(outcome.errors)),
        text=redactor.at_cuts(redactor.text(outcome.text)),
        note=redactor.at_cuts(redactor.text(outcome.note)),
    )


def redacted_error(seen: Observation, redactor: Redactor) -> Observation:
    """Return what the model is shown of an error, with known secrets replaced.

    Args:
        seen: What it would be shown.
        redactor: The session's.
    """
    return replace(seen, text=redactor.at_cuts(redactor.text(seen.text)))
