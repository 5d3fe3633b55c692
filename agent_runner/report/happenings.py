"""Tell in one step what one entry alone says: of the sandbox, of people, of limits, of the ledger itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent_runner.report.quantity import number, size
from agent_runner.report.step import Prose, Step, Table, Why
from audit import event
from audit.sandbox_event import STAGE_WORDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent_runner.report.moment import Moment
    from agent_runner.report.step import Kind, Part, Tag
    from audit.fields import Event, Evidence, Reason, Rule

EVIDENCE_HEAD = ("looked at", "demanded", "found", "says who")


def step(moment: Moment, kind: Kind, name: str, title: str, **more: object) -> Step:
    """Return a step at a moment."""
    return Step(
        seq=moment.seq,
        at=moment.at,
        begun_ms=moment.ms,
        kind=kind,
        name=name,
        title=title,
        **more,  # type: ignore[arg-type]  # the fields of a step
    )


def happening(moment: Moment, happened: Event) -> Step | None:
    """Return the step of an entry that stands for itself; None when it belongs to something greater."""
    match happened:
        case event.LogOpened() | event.LogSealed() | event.SessionRecovered():
            return _of_the_ledger(moment, happened)
        case event.SandboxCreated() | event.SandboxAttested() | event.SandboxClosed() | event.SafetyNoted():
            return _of_the_sandbox(moment, happened)
        case event.LimitHit() | event.SessionDelegated() | event.TranscriptCompacted():
            return _of_the_runner(moment, happened)
        case event.StageApplied() | event.StageDiscarded() | event.LabelChanged():
            return _of_a_person(moment, happened)
        case event.SessionClosed():
            return _end(moment, happened)
    return None


def reasons(given: Sequence[Reason]) -> list[Part]:
    """Return why a decision came out as it did: each reason, its mend, and the rule that made it."""
    return [
        Why(code=reason.code, message=reason.message, hint=reason.hint, rule=rule_place(reason.rule))
        for reason in given
    ]


def rule_place(rule: Rule | None) -> str:
    """Return where a rule stands; empty when there is none."""
    if rule is None:
        return ""
    return f"{rule.origin}:{rule.line}:{rule.column}" if rule.line else rule.origin


def evidence_rows(evidence: Sequence[Evidence]) -> list[list[str]]:
    """Return what was looked at before the first action, a row each."""
    return [[item.check, item.expected, item.observed, item.source] for item in evidence]


def _of_the_ledger(
    moment: Moment, happened: event.LogOpened | event.LogSealed | event.SessionRecovered
) -> Step:
    match happened:
        case event.LogOpened():
            told = f"written by pairlock {happened.writer or '(unknown version)'}"
            return step(moment, "ledger", "ledger opened", told, quiet=True)
        case event.LogSealed():
            return step(moment, "ledger", "seal", f"of all before it, key {happened.epoch}", quiet=True)
        case event.SessionRecovered():
            told = "another runner goes on; every entry before was sealed"
            if happened.unsealed_from < moment.seq:
                told = f"its last runner died; entries from {happened.unsealed_from} on were not sealed then"
            torn = (
                [f"{happened.dropped_bytes} bytes of a torn line dropped"] if happened.dropped_bytes else []
            )
            return step(moment, "ledger", "taken up again", told, notes=torn)


def _stage(created: event.SandboxCreated) -> str:
    return STAGE_WORDS.get(created.stage_strategy, created.stage_strategy)


def _of_the_sandbox(
    moment: Moment,
    happened: event.SandboxCreated | event.SandboxAttested | event.SandboxClosed | event.SafetyNoted,
) -> Step:
    match happened:
        case event.SandboxCreated():
            return step(
                moment,
                "sandbox",
                "sandbox made",
                f"{happened.runtime} on engine {happened.engine_version}, stage by {_stage(happened)}",
                parts=[_created(happened)],
            )
        case event.SandboxAttested():
            differs: list[Tag] = ["failed"] if happened.verdict == "differs" else []
            rows = evidence_rows(happened.evidence)
            table = Table(label="evidence", head=EVIDENCE_HEAD, rows=rows, folded=True)
            told = f"{happened.verdict}, {len(rows)} checks"
            return step(moment, "sandbox", "sandbox attested", told, tags=differs, parts=[table])
        case event.SandboxClosed():
            return step(moment, "sandbox", "sandbox gone", happened.why)
        case event.SafetyNoted():
            return step(moment, "sandbox", happened.code, happened.message, tags=["noted"])


def _created(created: event.SandboxCreated) -> Table:
    rows = [
        ["image", created.image_digest],
        ["container", created.container],
        ["specification", created.spec_digest],
        ["why this stage", created.stage_reason],
        ["bounded by", created.quota],
    ]
    return Table(
        label="how it was made", head=("what", "value"), rows=[row for row in rows if row[1]], folded=True
    )


def _of_the_runner(
    moment: Moment, happened: event.LimitHit | event.SessionDelegated | event.TranscriptCompacted
) -> Step:
    match happened:
        case event.LimitHit():
            told = f"{number(happened.observed)} of {number(happened.bound)} {happened.unit}"
            return step(moment, "limit", happened.limit, told, tags=["failed"])
        case event.SessionDelegated():
            return step(moment, "ledger", "delegated", f"to session {happened.child}: {happened.grant}")
        case event.TranscriptCompacted():
            before, after = number(happened.characters_before), number(happened.characters_after)
            told = f"{before} characters became {after}; the last {happened.kept_turns} turns stand whole"
            return step(moment, "ledger", "conversation shortened", told)


def _of_a_person(
    moment: Moment, happened: event.StageApplied | event.StageDiscarded | event.LabelChanged
) -> Step:
    match happened:
        case event.StageApplied():
            whole = "all changes" if happened.whole else "some changes"
            told = f"{whole} written to {happened.workspace} by {happened.by}"
            paths = [
                Prose(label=label, text="\n".join(paths), form="code", folded=True)
                for label, paths in (("written", happened.applied), ("refused", happened.refused))
                if paths
            ]
            return step(moment, "person", "applied", told, parts=paths)
        case event.StageDiscarded():
            return step(moment, "person", "discarded", f"by {happened.by}: {happened.why}")
        case event.LabelChanged():
            label = f"{label_text(happened.before)} -> {label_text(happened.after)}"
            told = f"{happened.workspace}: {label}; {happened.why}"
            return step(moment, "person", "label changed", told)


def label_text(capabilities: Sequence[str]) -> str:
    """Return a workspace's label in words."""
    return "+".join(capabilities) or "nothing"


def _end(moment: Moment, closed: event.SessionClosed) -> Step:
    failed: list[Tag] = [] if closed.status == "done" else ["failed"]
    sent, received = closed.totals.sent_bytes, closed.totals.received_bytes
    crossed = [f"{size(sent)} sent, {size(received)} received"] if sent or received else []
    notes = [f"exit code {closed.exit_code}", *(["unfinished"] if closed.unfinished else []), *crossed]
    status = closed.status.replace("_", " ")
    why = "" if closed.reason == status else closed.reason
    return step(moment, "message", f"session ended: {status}", why, tags=failed, notes=notes)
