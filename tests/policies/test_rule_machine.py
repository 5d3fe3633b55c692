# ruff: noqa: D102 - the machine's transitions are named as what people do
"""The four forms of the rule, as a machine that tries every transition a session can go through."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from policies.capability import Capability
from policies.errors import ForbiddenGrantError
from policies.grant import Grant
from policies.lineage import (
    Label,
    decide_continuation,
    decide_delegation,
    decide_lineage,
    exercised_below,
)
from policies.request import Allowed

ALL = frozenset(Capability)
SETS = st.frozensets(st.sampled_from(Capability))
PLACES = st.sampled_from(["one", "two", "three"])


class Session:
    """A session as the world sees it: what it holds, where it works, whose influence it carries."""

    def __init__(self, name: str, grant: Grant, place: str, inherited: frozenset[Capability]) -> None:
        self.name = name
        self.grant = grant
        self.exercised = grant.capabilities
        self.place = place
        self.influence = grant.capabilities | inherited
        self.is_running = True


class World(RuleBasedStateMachine):
    """Workspaces with labels, and sessions that start, resume, delegate, write, are reviewed, and copy.

    The model keeps, beside the label that the code keeps, the truth: which capabilities were exercised by any
    line of unreviewed influence that reached a place. The truth must never hold all three.
    """

    @initialize()
    def begin(self) -> None:
        self.labels = {place: Label() for place in ("one", "two", "three")}
        self.truth: dict[str, frozenset[Capability]] = {place: frozenset() for place in self.labels}
        self.sessions: list[Session] = []
        self.outside: tuple[Label, frozenset[Capability]] = (Label(), frozenset())

    def _pick(self, index: int) -> Session | None:
        running = [session for session in self.sessions if session.is_running]
        return running[index % len(running)] if running else None

    def _start(self, grant: Grant, place: str) -> None:
        if isinstance(decide_lineage(grant, self.labels[place]), Allowed):
            name = f"s{len(self.sessions)}"
            self.sessions.append(Session(name, grant, place, self.truth[place]))

    @rule(wanted=SETS, place=PLACES)
    def start(self, wanted: frozenset[Capability], place: str) -> None:
        try:
            grant = Grant.of(wanted)
        except ForbiddenGrantError:
            assert wanted == ALL
            return
        self._start(grant, place)

    @rule(index=st.integers(0, 9), wanted=SETS)
    def resume_approve_or_reconfigure(self, index: int, wanted: frozenset[Capability]) -> None:
        session = self._pick(index)
        if session is None or wanted == ALL:
            return
        other = Grant.of(wanted)
        if isinstance(decide_continuation(session.grant, other), Allowed):
            session.influence |= other.capabilities

    @rule(index=st.integers(0, 9))
    def resume_on_a_workspace_that_changed(self, index: int) -> None:
        session = self._pick(index)
        if session is None:
            return
        if isinstance(decide_lineage(session.grant, self.labels[session.place]), Allowed):
            session.influence |= self.truth[session.place]
        else:
            session.is_running = False

    @rule(index=st.integers(0, 9), wanted=SETS)
    def delegate(self, index: int, wanted: frozenset[Capability]) -> None:
        parent = self._pick(index)
        if parent is None or wanted == ALL:
            return
        child = Grant.of(wanted)
        allowed = isinstance(decide_delegation(parent.grant, child), Allowed)
        if allowed and isinstance(decide_lineage(child, self.labels[parent.place]), Allowed):
            name = f"s{len(self.sessions)}"
            made = Session(name, child, parent.place, self.truth[parent.place] | parent.influence)
            made.exercised = exercised_below(parent.exercised, child)
            self.sessions.append(made)

    @rule(index=st.integers(0, 9))
    def write_unreviewed(self, index: int) -> None:
        session = self._pick(index)
        if session is None or Capability.FILES not in session.grant.capabilities:
            return
        # Two sessions at once: a write is refused, as a start would be, when the label has grown meanwhile.
        label = self.labels[session.place]
        if not isinstance(decide_lineage(session.grant, label), Allowed):
            session.is_running = False
            return
        session.influence |= self.truth[session.place]
        self.labels[session.place] = label.written_by(session.name, session.exercised)
        self.truth[session.place] |= session.influence

    @rule(place=PLACES)
    def a_person_applies_or_reviews(self, place: str) -> None:
        self.labels[place] = Label()
        self.truth[place] = frozenset()
        for session in self.sessions:
            if session.place == place:
                session.is_running = False  # a full apply closes what worked there

    @rule(place=PLACES)
    def copy_out(self, place: str) -> None:
        self.outside = (self.labels[place], self.truth[place])

    @rule(place=PLACES)
    def copy_in(self, place: str) -> None:
        label, truth = self.outside
        self.labels[place] = self.labels[place].joined(label)
        self.truth[place] |= truth

    @invariant()
    def no_session_ever_carries_all_three(self) -> None:
        for session in getattr(self, "sessions", ()):
            assert session.influence != ALL, session.name
            assert session.grant.capabilities != ALL

    @invariant()
    def the_label_never_forgets_what_really_reached_a_place(self) -> None:
        for place, truth in getattr(self, "truth", {}).items():
            assert truth <= self.labels[place].capabilities


World.TestCase.settings = settings(max_examples=400, stateful_step_count=30, deadline=None)
TestTheRule = World.TestCase
