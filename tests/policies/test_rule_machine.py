# ruff: noqa: D102, ARG005, E501 - transitions are named as what people do; what is broken ignores its arguments
"""The four forms of the rule, as a machine that tries every transition a session can go through."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)

from policies import lineage
from policies.capability import Capability
from policies.commands_block import CommandsBlock
from policies.decide import decide
from policies.errors import ForbiddenGrantError
from policies.grant import Grant
from policies.lineage import Label
from policies.policy import Policy
from policies.request import ActionRequest, Allowed, NeedsApproval, SessionFacts

if TYPE_CHECKING:
    from collections.abc import Callable

ALL = frozenset(Capability)
SETS = st.frozensets(st.sampled_from(Capability))
GRANTS = st.sampled_from(Grant)
PLACES = st.sampled_from(["one", "two"])


@dataclass(eq=False)
class Session:
    """A session as the world sees it: what it holds, where it works, whose influence it carries."""

    name: str
    grant: Grant
    place: str
    exercised: frozenset[Capability]
    influence: frozenset[Capability]
    is_running: bool = True


@dataclass
class Rules:
    """What the code under test decides; a test of the machine itself puts something wrong here."""

    start: Callable[..., object] = lineage.decide_lineage
    delegate: Callable[..., object] = lineage.decide_delegation
    go_on: Callable[..., object] = lineage.decide_continuation
    below: Callable[..., frozenset[Capability]] = lineage.exercised_below
    write: Callable[..., Label] = Label.written_by
    join: Callable[..., Label] = Label.joined


@dataclass
class Place:
    """A workspace: the label that the code keeps, and the truth that the world keeps beside it."""

    label: Label = field(default_factory=Label)
    truth: frozenset[Capability] = frozenset()


class World(RuleBasedStateMachine):
    """Workspaces with labels, and sessions that start, resume, delegate, write, are reviewed, and copy.

    The truth is which capabilities were exercised by any line of unreviewed influence that reached a place or
    a session. It must never hold all three.
    """

    code = Rules()
    sessions: Bundle[Session] = Bundle("sessions")

    @initialize()
    def begin(self) -> None:
        self.places = {"one": Place(), "two": Place()}
        self.everybody: list[Session] = []
        self.copied = Place()

    def _may_work(self, grant: Grant, place: str) -> bool:
        return isinstance(self.code.start(grant, self.places[place].label), Allowed)

    def _new(
        self, grant: Grant, place: str, exercised: frozenset[Capability], carried: frozenset[Capability]
    ) -> Session:
        influence = grant.capabilities | self.places[place].truth | carried
        made = Session(f"s{len(self.everybody)}", grant, place, exercised, influence)
        self.everybody.append(made)
        return made

    @rule(target=sessions, grant=GRANTS, place=PLACES)
    def start_or_reuse_what_others_left(self, grant: Grant, place: str) -> Session:
        may = self._may_work(grant, place)
        made = self._new(grant if may else Grant.NONE, place if may else "one", frozenset(), frozenset())
        made.exercised = made.grant.capabilities
        made.is_running = may
        if not may:
            made.influence = frozenset()
        return made

    @rule(wanted=SETS)
    def ask_for_any_set(self, wanted: frozenset[Capability]) -> None:
        try:
            assert Grant.of(wanted).capabilities == wanted
            assert wanted != ALL
        except ForbiddenGrantError:
            assert wanted == ALL

    @rule(session=sessions, wanted=GRANTS)
    def resume_or_reconfigure(self, session: Session, wanted: Grant) -> None:
        if not session.is_running or not isinstance(self.code.go_on(session.grant, wanted), Allowed):
            return
        session.influence |= wanted.capabilities
        if self._may_work(session.grant, session.place):
            session.influence |= self.places[session.place].truth
        else:
            session.is_running = False

    @rule(session=sessions, wanted=GRANTS)
    def approve_an_action(self, session: Session, wanted: Grant) -> None:
        policy = Policy(
            version=1, name="p", grant=session.grant, commands=CommandsBlock.model_validate({"ask": ("act",)})
        )
        facts = SessionFacts(grant=session.grant, headless=False)
        decision = decide(policy, facts, ActionRequest(command=("act",), needs=wanted.capabilities))
        if session.is_running and isinstance(decision, Allowed | NeedsApproval):
            session.influence |= wanted.capabilities

    @rule(target=sessions, parent=sessions, grant=GRANTS)
    def delegate(self, parent: Session, grant: Grant) -> Session:
        lawful = isinstance(self.code.delegate(parent.grant, grant), Allowed)
        if not (parent.is_running and lawful and self._may_work(grant, parent.place)):
            return parent
        below = self.code.below(parent.exercised, grant)
        return self._new(grant, parent.place, below, parent.influence)

    @rule(session=sessions)
    def write_unreviewed(self, session: Session) -> None:
        if not session.is_running or not session.grant.holds(Capability.FILES):
            return
        # Two sessions at once: a write is refused, as a start would be, when the label has grown meanwhile.
        place = self.places[session.place]
        if not self._may_work(session.grant, session.place):
            session.is_running = False
            return
        session.influence |= place.truth
        place.label = self.code.write(place.label, session.name, session.exercised)
        place.truth |= session.influence

    @rule(place=PLACES)
    def a_person_applies_or_reviews(self, place: str) -> None:
        self.places[place] = Place()
        for session in self.everybody:
            if session.place == place:
                session.is_running = False  # a full apply closes what worked there

    @rule(place=PLACES)
    def copy_out(self, place: str) -> None:
        self.copied = Place(self.places[place].label, self.places[place].truth)

    @rule(place=PLACES)
    def copy_in(self, place: str) -> None:
        here = self.places[place]
        here.label = self.code.join(here.label, self.copied.label)
        here.truth |= self.copied.truth

    @invariant()
    def no_session_ever_carries_all_three(self) -> None:
        for session in self.everybody:
            assert session.influence != ALL, session.name
            assert session.grant.capabilities != ALL

    @invariant()
    def the_label_never_forgets_what_really_reached_a_place(self) -> None:
        for place in self.places.values():
            assert place.truth <= place.label.capabilities


World.TestCase.settings = settings(max_examples=150, stateful_step_count=15, deadline=None)
TestTheRule = World.TestCase


def _yes(*_: object) -> Allowed:
    return Allowed()


def _takes_over(world: World) -> None:
    first = world.start_or_reuse_what_others_left(grant=Grant.FILES_NETWORK, place="one")
    world.write_unreviewed(session=first)
    world.start_or_reuse_what_others_left(grant=Grant.FILES_EXEC, place="one")


def _asks_a_child_for_more(world: World) -> None:
    parent = world.start_or_reuse_what_others_left(grant=Grant.FILES_NETWORK, place="one")
    world.delegate(parent=parent, grant=Grant.NETWORK_EXEC)


def _comes_back_as_another(world: World) -> None:
    session = world.start_or_reuse_what_others_left(grant=Grant.FILES_NETWORK, place="one")
    world.resume_or_reconfigure(session=session, wanted=Grant.EXEC)


def _writes_through_a_child(world: World) -> None:
    parent = world.start_or_reuse_what_others_left(grant=Grant.FILES_NETWORK, place="one")
    world.write_unreviewed(session=world.delegate(parent=parent, grant=Grant.FILES))


def _writes_after_another(world: World) -> None:
    for grant in (Grant.FILES_NETWORK, Grant.FILES):
        world.write_unreviewed(session=world.start_or_reuse_what_others_left(grant=grant, place="one"))


def _copies(world: World, out: str, into: str) -> None:
    session = world.start_or_reuse_what_others_left(grant=Grant.FILES_NETWORK, place="one")
    world.write_unreviewed(session=session)
    world.copy_out(place=out)
    world.copy_in(place=into)


@pytest.mark.parametrize(
    ("broken", "story"),
    [
        (Rules(start=_yes), _takes_over),
        (Rules(delegate=_yes), _asks_a_child_for_more),
        (Rules(go_on=_yes), _comes_back_as_another),
        (Rules(below=lambda parent, child: child.capabilities), _writes_through_a_child),
        (Rules(below=lambda parent, child: parent & child.capabilities), _writes_through_a_child),
        (Rules(write=lambda label, session, exercised: label), _writes_after_another),
        (Rules(write=lambda label, session, exercised: Label().written_by(session, exercised)), _writes_after_another),
        (Rules(join=lambda here, there: here), lambda world: _copies(world, "one", "two")),
        (Rules(join=lambda here, there: there), lambda world: _copies(world, "two", "one")),
    ],
    ids=["start", "delegate", "go on", "below: child", "below: both", "write: none", "write: last", "join: here", "join: there"],
)  # fmt: skip
def test_the_machine_notices_each_protection_that_is_taken_away(
    broken: Rules, story: Callable[[World], None]
) -> None:
    def tell(code: Rules) -> None:
        world = World()
        world.code = code
        world.begin()
        story(world)
        world.no_session_ever_carries_all_three()
        world.the_label_never_forgets_what_really_reached_a_place()

    tell(Rules())
    with pytest.raises(AssertionError):
        tell(broken)
