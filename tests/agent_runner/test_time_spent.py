"""What a session's time went on follows from its ledger, however its runners ended."""

from __future__ import annotations

from agent_runner.report.moment import Moment
from agent_runner.report.times import Times
from agent_runner.time_spent import TimeSpent
from audit import event
from audit.fields import Event, Totals

ACTED = event.ActionFinished(
    action="0123456789ab/0", outcome="ok", exit_code=0, duration_ms=500, output_bytes=0, body=None
)
OTHER = ACTED.model_copy(update={"action": "0123456789ab/1"})
APPROVED = event.ApprovalAnswered(
    action="0123456789ab/0", digest="0" * 64, answer="approved", by="me", via="terminal", waited_ms=400
)
TOTALS = Totals(model_ms=9, sandbox_ms=2100, ledger_ms=30, waiting_ms=400)
CLOSED = event.SessionClosed(
    status="model_failed", exit_code=5, reason="gone", unfinished=False, totals=TOTALS
)
TAKEN_UP = event.SessionRecovered(
    session="0123456789ab",
    epoch=2,
    vkey="",
    writer="",
    unsealed_from=0,
    dropped_bytes=0,
    dropped_sha256="0" * 64,
)


def spent(*happened: Event) -> tuple[int, int, int]:
    """Return the time of the sandbox, the ledger and people, after some entries."""
    time = TimeSpent()
    for one in happened:
        time.take(one)
    return time.sandbox_ms, time.ledger_ms, time.waited_ms


def test_without_an_account_an_actions_time_is_the_sandboxs_but_for_the_wait_for_its_answer() -> None:
    assert spent(APPROVED, ACTED) == (100, 0, 400)


def test_what_a_runner_did_after_an_account_is_added_to_it() -> None:
    assert spent(APPROVED, ACTED, CLOSED) == (2100, 30, 400)
    assert spent(APPROVED, ACTED, CLOSED, TAKEN_UP, APPROVED, ACTED) == (2200, 30, 800)


def test_a_wait_is_taken_off_the_action_that_holds_it_and_off_nothing_before() -> None:
    """A runner that was killed between an answer and its action's end leaves a wait in no duration."""
    assert spent(CLOSED, TAKEN_UP, APPROVED) == (2100, 30, 400)
    assert spent(CLOSED, TAKEN_UP, APPROVED, OTHER) == (2600, 30, 400)
    assert spent(APPROVED, APPROVED, ACTED) == (0, 0, 800)


def test_a_report_on_a_session_that_goes_on_does_not_tell_the_account_of_the_runner_before() -> None:
    times = Times()

    times.take(Moment(0, "", 0), CLOSED)
    closed = times.spent_ms("ledger")
    times.take(Moment(1, "", 10), TAKEN_UP)

    assert closed == 30
    assert times.spent_ms("ledger") is None
