"""Tell of each connection: beside the action that it belongs to, or by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent_runner.report.happenings import reasons, step
from agent_runner.report.quantity import duration, size
from agent_runner.report.recent import Recent
from agent_runner.report.step import Table
from audit import event

if TYPE_CHECKING:
    from agent_runner.report.actions import Actions
    from agent_runner.report.moment import Moment
    from agent_runner.report.step import Step, Tag
    from agent_runner.report.steps import Steps

_HEAD: Final = ("connection", "verdict", "to", "sent", "received", "took", "ended")


class Connections:
    """The connections of one session.

    Args:
        steps: Where their steps go.
        actions: The actions that they may belong to.
    """

    def __init__(self, steps: Steps, actions: Actions) -> None:
        self._steps = steps
        self._actions = actions
        self._open: Recent[tuple[Step, Table]] = Recent()

    def take(
        self, moment: Moment, happened: event.EgressOpened | event.EgressRequested | event.EgressClosed
    ) -> None:
        """Take in an entry of the egress gate's."""
        match happened:
            case event.EgressOpened():
                self._opened(moment, happened)
            case event.EgressRequested():
                self._requested(moment, happened)
            case event.EgressClosed():
                self._closed(moment, happened)

    def _opened(self, moment: Moment, opened: event.EgressOpened) -> None:
        found = self._actions.get(opened.action)
        if found is None:
            name = f"{opened.scheme or 'connection'} {destination(opened)}"
            found = self._steps.add(moment, step(moment, "egress", name, "", tags=[opened.verdict]))
        found.tag(opened.verdict)
        if found.kind == "egress" or opened.verdict == "denied":
            found.parts.extend(reasons(opened.reasons))
        table = self._table_of(found)
        address = f" at {opened.address}" if opened.address else ""
        to = f"{opened.scheme}://{destination(opened)}{address}"
        table.rows.append([_short(opened.connection), opened.verdict, to, "", "", "", ""])
        self._open.put(opened.connection, (found, table))
        self._steps.changed(found)

    def _requested(self, moment: Moment, requested: event.EgressRequested) -> None:
        found, table = self._of(moment, requested.connection, requested.verdict)
        found.tag(requested.verdict)
        found.parts.extend(reasons(requested.reasons))
        status = str(requested.status) if requested.status else ""
        to = f"{requested.method} {requested.path}"
        name = requested.request or requested.connection
        table.rows.append([_short(name), requested.verdict, to, "", "", "", status])
        if requested.request:
            self._open.put(requested.request, (found, table))
        self._steps.changed(found)

    def _closed(self, moment: Moment, closed: event.EgressClosed) -> None:
        found, table = self._of(moment, closed.connection)
        told = [
            size(closed.sent_bytes),
            size(closed.received_bytes),
            duration(closed.duration_ms),
            closed.why,
        ]
        name = _short(closed.connection)
        row = next((row for row in reversed(table.rows) if row[0] == name and not row[3]), None)
        if row is None:
            table.rows.append([name, "", "", *told])
        else:
            row[3:] = told
        self._steps.changed(found)

    def _of(self, moment: Moment, connection: str, *tags: Tag) -> tuple[Step, Table]:
        """Return a connection's step, making one where an entry tells of one that was never opened.

        Args:
            moment: The entry's.
            connection: Its name.
            tags: What a step that is made says of itself: whether it finds room may depend on them.
        """
        known = self._open.get(connection)
        if known is None:
            unknown = step(moment, "egress", "unknown connection", connection, tags=["failed", *tags])
            known = self._steps.add(moment, unknown), self._table_of(unknown)
            self._open.put(connection, known)
        return known

    def _table_of(self, found: Step) -> Table:
        table = next((part for part in found.parts if isinstance(part, Table) and part.head == _HEAD), None)
        if table is None:
            table = Table(label="egress", head=_HEAD)
            found.parts.append(table)
        return table


def destination(opened: event.EgressOpened) -> str:
    """Return where a connection was to lead; what named no host says so."""
    host = opened.host or "(no host)"
    return f"{host}:{opened.port}" if opened.port else host


def _short(connection: str) -> str:
    return connection.rpartition("/")[2] or connection
