# ruff: noqa: D102 - the machine's steps are named as what people and agents do
"""Try to bring files, network and exec together over one workspace, in any order of lawful steps.

The labels, the locks, the host's log and the sessions' ledgers are real; of a session only the sandbox is
left out. Beside them the machine keeps the truth: whose unreviewed writes lie where, and what may have flowed
into them. No session may ever come to all three.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from agent_runner import lineage_use
from agent_runner.approvals import NobodyApprover
from agent_runner.backends.scripted import Script, ScriptedBackend
from agent_runner.ci.result_tree import label_result
from agent_runner.descent import Descent, brought_by, handed_down
from agent_runner.errors import InvalidInputError, RefusedError
from agent_runner.ids import new_session_id
from agent_runner.label_proof import prove_labels
from agent_runner.lineage import endorse, hold_lineage, labels_of, require_lineage
from agent_runner.lineage_places import only_of, unreviewed
from agent_runner.meta import write_meta
from agent_runner.opening import meta_of, opened
from agent_runner.request import SessionRequest
from agent_runner.review import label_unseen
from audit import event
from audit.fields import Totals
from audit.journal import Journal, Registration
from audit.state import StateFiles
from cli_tools.errors import ActionError
from policies.capability import Capability, in_order
from policies.grant import Grant
from policies.source import parse_policy
from sandbox.workspace import identity_of, open_workspace

if TYPE_CHECKING:
    from collections.abc import Callable

ALL = frozenset(Capability)
WITH_FILES = st.sampled_from([grant for grant in Grant if grant.holds(Capability.FILES)])
WITHOUT_FILES = st.sampled_from([Grant.NETWORK, Grant.EXEC, Grant.NETWORK_EXEC])
ACCESS = st.sampled_from(["stage", "direct"])
PLACES = st.sampled_from(["outer", "inner", "other"])
COMMANDS = {Capability.FILES: "files write", Capability.NETWORK: "http get", Capability.EXEC: "run"}


@dataclass(eq=False)
class Session:
    """A session as the world sees it."""

    request: SessionRequest
    name: str
    place: str
    journal: Journal
    use: lineage_use.DirectUse
    """The runner's; it remembers what it labelled."""
    influence: frozenset[Capability] = frozenset()
    """What it exercised, and what flowed into it."""
    runs: bool = True
    closed: bool = False
    actions: int = 0

    @property
    def direct(self) -> bool:
        """Whether it writes in the workspace at once."""
        assert self.request.policy.files is not None
        return self.request.policy.files.access == "direct"


@dataclass
class Truth:
    """Whose unreviewed writes lie in a folder, and what may have flowed into them."""

    writers: dict[str, frozenset[Capability]] = field(default_factory=dict)

    @property
    def whole(self) -> frozenset[Capability]:
        """All of it."""
        return frozenset().union(*self.writers.values())


class World(RuleBasedStateMachine):
    """Folders, one inside another, and sessions on them."""

    sessions: Bundle[Session] = Bundle("sessions")

    @initialize()
    def begin(self) -> None:
        self.top = Path(tempfile.mkdtemp(prefix="pairlock-lineage-machine-"))
        self.state = self.top / "state"
        self.state.mkdir(mode=0o700)
        self.folders = {
            "outer": self.top / "outer",
            "inner": self.top / "outer/inner",
            "second": self.top / "outer/second",
            "other": self.top / "other",
        }
        for folder in self.folders.values():
            folder.mkdir()
        self.truth = {name: Truth() for name in self.folders}
        self.everybody: list[Session] = []
        self.runner = asyncio.Runner()

    def teardown(self) -> None:
        if not hasattr(self, "runner"):
            return
        for session in self.everybody:
            if session.runs:
                self.runner.run(self._leave(session, closed=False))
        self.runner.close()
        try:
            assert prove_labels(self.state).faults == ()
        finally:
            shutil.rmtree(self.top)

    # What flows where.

    def _seen_from(self, place: str) -> list[str]:
        """Return the places that a session reads: its own, and those that lie in it now."""
        own = self.folders[place]
        return [name for name, folder in self.folders.items() if folder.is_relative_to(own)]

    def _flow(self) -> None:
        """Let what lies in folders reach who runs there, and what these write at once reach the folders."""
        for _ in self.everybody:
            for session in self.everybody:
                if not session.runs:
                    continue
                for place in self._seen_from(session.place):
                    session.influence |= self.truth[place].whole
                    if session.direct and session.influence - {Capability.FILES}:
                        self._write(session, place)

    def _write(self, session: Session, place: str) -> None:
        writers = self.truth[place].writers
        writers[session.name] = writers.get(session.name, frozenset()) | session.influence

    # What people and agents do.

    @rule(target=sessions, grant=WITH_FILES, access=ACCESS, place=PLACES)
    def start(self, grant: Grant, access: str, place: str) -> Session:
        return self._started(grant, access, place, None) or self._nobody(place)

    @rule(target=sessions, parent=sessions, grant=WITH_FILES)
    def delegate(self, parent: Session, grant: Grant) -> Session:
        if not parent.runs or not grant.within(parent.request.policy.grant):
            return parent
        policy, folder = parent.request.policy, StateFiles(self.state).session(parent.name).folder
        line = handed_down(folder, policy.grant, parent.request.descent)
        unused: dict[str, Any] = dict.fromkeys(("budget", "calls", "traffic", "known"))
        below = Descent(parent=parent.name, line=line, depth=1, **unused)
        assert policy.files is not None
        self._note(parent, event.SessionDelegated(
            action=f"{parent.name}/9", child="0" * 12, grant=grant.label, policy_digest=policy.digest,
        ))  # fmt: skip
        return self._started(grant, policy.files.access, parent.place, below, parent.influence) or parent

    def _started(
        self,
        grant: Grant,
        access: str,
        place: str,
        descent: Descent | None,
        influence: frozenset[Capability] = frozenset(),
    ) -> Session | None:
        request = self._request(grant, access, place, descent)
        workspace, name = request.workspace, new_session_id()
        assert workspace is not None
        try:
            require_lineage(self.state, workspace, grant, brought_by(descent))
        except RefusedError:
            return None
        journal = self.runner.run(self._begin(request, name))
        use = lineage_use.DirectUse(request, name, resumed=False)
        session = Session(request, name, place, journal, use, influence)
        self.everybody.append(session)
        self._hold(session)
        return session

    async def _begin(self, request: SessionRequest, name: str) -> Journal:
        registration = Registration(
            grant=request.policy.grant.label, workspace=str(request.workspace and request.workspace.path)
        )
        journal = Journal.create(self.state, name, registration=registration)
        await journal.__aenter__()
        folder = StateFiles(self.state).session(name).folder
        write_meta(folder, meta_of(request, name, command=False), request.policy.as_yaml())
        await journal.record(opened(request, name, journal))
        return journal

    def _hold(self, session: Session) -> None:
        try:
            hold_lineage(session.request, session.name)
        except RefusedError:
            self.runner.run(self._leave(session, closed=True))
        self._flow()

    def _nobody(self, place: str) -> Session:
        request = self._request(Grant.FILES, "stage", place, None)
        use = lineage_use.DirectUse(request, "", resumed=False)
        return Session(request, "", place, cast("Journal", None), use, runs=False, closed=True)

    @rule(session=sessions, capability=st.sampled_from(Capability))
    def act(self, session: Session, capability: Capability) -> None:
        if not session.runs or not session.request.policy.grant.holds(capability):
            return
        told = {
            "action": f"{session.name}/1",
            "argv": ("x",),
            "command": COMMANDS[capability],
            "arguments": {},
        }
        self._note(session, event.ActionIntended.model_validate({**told, "verdict": "allowed"}))
        try:
            self.runner.run(session.use.of(frozenset({capability})))
        except ActionError:
            return
        session.influence |= {capability, Capability.FILES}
        self._flow()

    @rule(session=sessions, closed=st.booleans())
    def end_or_be_killed(self, session: Session, closed: bool) -> None:  # noqa: FBT001 - drawn by hypothesis
        if session.runs:
            self._flow()
            self.runner.run(self._leave(session, closed=closed))

    @rule(session=sessions)
    def resume(self, session: Session) -> None:
        if session.runs or session.closed or session.request.descent is not None:
            return
        if not self.folders[session.place].is_dir() or self._moved(session):
            return
        try:
            assert session.request.workspace is not None
            require_lineage(self.state, session.request.workspace, session.request.policy.grant)
        except RefusedError:
            return
        session.journal = self.runner.run(self._again(session))
        session.use = lineage_use.DirectUse(session.request, session.name, resumed=True)
        session.runs = True
        self._hold(session)

    async def _again(self, session: Session) -> Journal:
        journal = Journal.reopen(self.state, session.name)
        await journal.__aenter__()
        return journal

    @rule(session=sessions)
    def apply_unseen(self, session: Session) -> None:
        if session.runs or session.direct or not session.name or self._moved(session):
            return
        place = self.folders[session.place]
        try:
            label_unseen(StateFiles(self.state).session(session.name).folder, self.state, identity_of(place))
        except RefusedError:
            return
        if session.influence:
            for below in self._seen_from(session.place):
                self._write(session, below)
        self._flow()

    @rule(grant=WITHOUT_FILES, place=PLACES)
    def put_in_outputs_unseen(self, grant: Grant, place: str) -> None:
        """What a session without files kept goes into a folder, and nobody looks."""
        words = ", ".join(in_order(grant.capabilities))
        image = "exec: {contents: public}\n" if grant is Grant.NETWORK_EXEC else ""
        policy = parse_policy(f"version: 1\nname: x\ngrant: [{words}]\noutputs: out\n{image}", origin="x")
        request, name = replace(REQUEST, policy=policy, state=self.state), new_session_id()
        use = lineage_use.DirectUse(request, name, resumed=False)
        session = Session(request, name, place, self.runner.run(self._begin(request, name)), use)
        for capability in sorted(grant.capabilities, key=lambda held: held.value):
            self._intend(session, capability)
        self.runner.run(self._leave(session, closed=True))
        session.influence = grant.capabilities
        try:
            folder = StateFiles(self.state).session(name).folder
            label_unseen(folder, self.state, identity_of(self.folders[place]))
        except RefusedError:
            return
        for below in self._seen_from(place):
            self._write(session, below)
        self._flow()

    @rule(session=sessions)
    def check_the_result(self, session: Session) -> None:
        """A task's programs run on a copy of the workspace and of what the session changed there."""
        if session.runs or session.direct or not session.name or self._moved(session):
            return
        tree = Path(tempfile.mkdtemp(dir=self.top))
        files = StateFiles(self.state).session(session.name)
        label_result(identity_of(tree), files, self.state, identity_of(self.folders[session.place]))
        there = session.influence.union(
            *(self.truth[place].whole for place in self._seen_from(session.place))
        )
        try:
            require_lineage(self.state, open_workspace(tree, state=self.state), Grant.FILES_EXEC)
        except RefusedError:
            return
        assert there | Grant.FILES_EXEC.capabilities != ALL, "a check came to all three"

    @rule(place=PLACES)
    def review(self, place: str) -> None:
        identity = open_workspace(self.folders[place], state=self.state).identity
        shown = unreviewed(labels_of(self.state), identity)
        try:
            endorse(self.state, identity, shown)
        except InvalidInputError:
            return
        for below in self._seen_from(place):
            self.truth[below].writers.clear()

    @rule(place=PLACES, session=sessions)
    def review_what_one_left(self, place: str, session: Session) -> None:
        """A person looks at what one session wrote, wherever in the folder, and at nothing else."""
        identity = open_workspace(self.folders[place], state=self.state).identity
        shown = only_of(unreviewed(labels_of(self.state), identity), frozenset([session.name]))
        try:
            endorse(self.state, identity, shown)
        except InvalidInputError:
            return
        for below in self._seen_from(place):
            self.truth[below].writers.pop(session.name, None)

    @rule()
    def move_the_inner_folder(self) -> None:
        """Out of one workspace, into another; nobody works in any of them just now."""
        if any(session.runs for session in self.everybody):
            return
        here = self.folders["inner"]
        target = self.folders["other" if here.is_relative_to(self.folders["outer"]) else "outer"] / "inner"
        here.rename(target)
        self.folders["inner"] = target

    @rule(place=PLACES)
    def rename(self, place: str) -> None:
        """A folder with all that is in it, whoever works there just now."""
        old = self.folders[place]
        new = old.with_name(f"{place}-{new_session_id()}")
        old.rename(new)
        for name, folder in self.folders.items():
            if folder.is_relative_to(old):
                self.folders[name] = new / folder.relative_to(old)

    # What must hold.

    @invariant()
    def no_session_comes_to_all_three(self) -> None:
        for session in getattr(self, "everybody", ()):
            assert session.influence != ALL or not session.runs, f"{session.name} came to all three"

    def _moved(self, session: Session) -> bool:
        workspace = session.request.workspace
        return workspace is not None and workspace.path != self.folders[session.place]

    def _intend(self, session: Session, capability: Capability) -> None:
        session.actions += 1
        told = {
            "action": f"{session.name}/{session.actions}",
            "command": COMMANDS[capability],
            "argv": ("x",),
        }
        self._note(
            session, event.ActionIntended.model_validate({**told, "arguments": {}, "verdict": "allowed"})
        )

    def _note(self, session: Session, happened: Any) -> None:
        self.runner.run(session.journal.record(happened))

    async def _leave(self, session: Session, *, closed: bool) -> None:
        if closed:
            await session.journal.close(
                event.SessionClosed(status="done", exit_code=0, reason="x", unfinished=False, totals=NOTHING)
            )
        await session.journal.__aexit__(None, None, None)
        session.runs, session.closed = False, closed

    def _request(self, grant: Grant, access: str, place: str, descent: Descent | None) -> SessionRequest:
        words = ", ".join(in_order(grant.capabilities))
        files = f"files: {{access: {access}, hide_defaults: false, protect_defaults: false}}"
        request = REQUEST
        return replace(
            request,
            policy=parse_policy(f"version: 1\nname: x\ngrant: [{words}]\n{files}\n", origin="x"),
            workspace=open_workspace(self.folders[place], state=self.state),
            state=self.state,
            descent=descent,
        )


NOTHING = Totals(
    turns=0, actions=0, denials=0, model_ms=0, sandbox_ms=0, ledger_ms=0, waiting_ms=0, input_tokens=0,
    output_tokens=0, cached_tokens=0, sent_bytes=0, received_bytes=0,
)  # fmt: skip
REQUEST = SessionRequest(
    task="a test",
    policy=parse_policy("version: 1\nname: x\ngrant: [files]\n", origin="x"),
    policy_origin="x",
    workspace=None,
    backend=ScriptedBackend(Script.model_validate({"version": 1, "turns": [{"actions": ["x"]}]}), name="x"),
    state=Path("/nonexistent"),
    headless=True,
    task_is_origin=False,
    approver=NobodyApprover(),
    watcher=cast("Any", None),
    progress=lambda *_, **__: None,
)


def _run(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        World,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_no_order_of_steps_brings_the_three_together() -> None:
    _run(examples=15, steps=12)


@pytest.mark.long
def test_no_long_order_of_steps_brings_the_three_together() -> None:
    _run(examples=80, steps=30)


def _fetches(world: World, place: str, access: str = "direct") -> Session:
    session = cast("Session", world.start(grant=Grant.FILES_NETWORK, access=access, place=place))
    world.act(session=session, capability=Capability.NETWORK)
    return session


def _runs(world: World, place: str) -> None:
    session = world.start(grant=Grant.FILES_EXEC, access="stage", place=place)
    world.act(session=session, capability=Capability.EXEC)


def _runs_what_was_fetched(world: World) -> None:
    world.end_or_be_killed(session=_fetches(world, "outer"), closed=True)
    _runs(world, "outer")


def _runs_beside_who_fetches(world: World) -> None:
    fetcher = world.start(grant=Grant.FILES_NETWORK, access="direct", place="outer")
    runner = world.start(grant=Grant.FILES_EXEC, access="stage", place="inner")
    world.act(session=runner, capability=Capability.EXEC)
    world.act(session=fetcher, capability=Capability.NETWORK)


def _runs_where_the_fetcher_was_moved(world: World) -> None:
    fetcher = world.start(grant=Grant.FILES_NETWORK, access="direct", place="inner")
    world.rename(place="outer")
    runner = world.start(grant=Grant.FILES_EXEC, access="stage", place="outer")
    world.act(session=runner, capability=Capability.EXEC)
    world.act(session=fetcher, capability=Capability.NETWORK)


def _copies_on_what_is_then_reviewed(world: World) -> None:
    world.end_or_be_killed(session=_fetches(world, "inner"), closed=True)
    copier = world.start(grant=Grant.FILES, access="direct", place="outer")
    world.act(session=copier, capability=Capability.FILES)
    world.end_or_be_killed(session=copier, closed=False)
    world.review(place="inner")
    _runs(world, "outer")


def _reads_what_comes_and_is_then_reviewed(world: World) -> None:
    reader = world.start(grant=Grant.FILES, access="stage", place="outer")
    world.end_or_be_killed(session=_fetches(world, "outer"), closed=True)
    world.review(place="outer")
    world.end_or_be_killed(session=reader, closed=True)
    world.apply_unseen(session=reader)
    _runs(world, "outer")


def _writes_through_a_child(world: World) -> None:
    parent = _fetches(world, "outer", access="stage")
    child = world.delegate(parent=parent, grant=Grant.FILES)
    for session in (child, parent):
        world.end_or_be_killed(session=session, closed=True)
    world.apply_unseen(session=child)
    _runs(world, "outer")


def _writes_beside_who_is_reviewed_alone(world: World) -> None:
    """What it read of the other's it has written elsewhere; looked at was only what the other wrote."""
    writer = world.start(grant=Grant.FILES, access="direct", place="outer")
    world.act(session=writer, capability=Capability.FILES)
    fetcher = _fetches(world, "outer")
    for session in (writer, fetcher):
        world.end_or_be_killed(session=session, closed=True)
    world.review_what_one_left(place="outer", session=fetcher)
    _runs(world, "outer")


def _wrote_beside(world: World, fetches_in: str, reviewed: str, *, alone: bool) -> None:
    """One action of it goes on while the other fetches; its part is not among those reviewed."""
    writer = world.start(
        grant=Grant.FILES, access="direct", place="inner" if fetches_in == "outer" else "outer"
    )
    world.act(session=writer, capability=Capability.FILES)
    fetcher = _fetches(world, fetches_in)
    for session in (writer, fetcher):
        world.end_or_be_killed(session=session, closed=True)
    if alone:
        world.review_what_one_left(place=reviewed, session=fetcher)
    else:
        world.review(place=reviewed)
    _runs(world, "outer")


def _writes_around_who_is_reviewed(world: World) -> None:
    _wrote_beside(world, "inner", "inner", alone=False)


def _writes_inside_who_is_reviewed_alone(world: World) -> None:
    _wrote_beside(world, "outer", "outer", alone=True)


def _copies_from_one_inside_to_another(world: World) -> None:
    """Who works in the folder around both carries it over; neither folder inside sees the other's label."""
    writer = world.start(grant=Grant.FILES, access="direct", place="outer")
    world.act(session=writer, capability=Capability.FILES)
    fetcher = _fetches(world, "inner")
    for session in (writer, fetcher):
        world.end_or_be_killed(session=session, closed=True)
    _runs(world, "second")


def _hands_on_to_who_stages(world: World) -> None:
    """Who reads what it carried over counts with it as well, also when the carrier alone is reviewed."""
    carrier = world.start(grant=Grant.FILES, access="direct", place="outer")
    world.act(session=carrier, capability=Capability.FILES)
    reader = world.start(grant=Grant.FILES, access="stage", place="second")
    fetcher = _fetches(world, "inner")
    world.act(session=carrier, capability=Capability.FILES)
    for session in (carrier, fetcher, reader):
        world.end_or_be_killed(session=session, closed=True)
    world.apply_unseen(session=reader)
    world.review_what_one_left(place="outer", session=carrier)
    _runs(world, "second")


def _goes_on_after_both(world: World) -> None:
    """One capability came while it ran, and was reviewed; the other comes before it is resumed."""
    reader = world.start(grant=Grant.FILES, access="stage", place="outer")
    world.end_or_be_killed(session=_fetches(world, "outer"), closed=True)
    world.review(place="outer")
    world.end_or_be_killed(session=reader, closed=False)
    runner = world.start(grant=Grant.FILES_EXEC, access="direct", place="outer")
    world.act(session=runner, capability=Capability.EXEC)
    world.end_or_be_killed(session=runner, closed=True)
    world.resume(session=reader)


def _moves_what_was_fetched(world: World) -> None:
    world.end_or_be_killed(session=_fetches(world, "inner"), closed=True)
    world.move_the_inner_folder()
    _runs(world, "other")


def _copies_on_what_was_moved_in(world: World) -> None:
    """What it was moved beside is not labelled; what a narrow session made of it there is."""
    world.end_or_be_killed(session=_fetches(world, "inner"), closed=True)
    world.move_the_inner_folder()
    copier = world.start(grant=Grant.FILES, access="direct", place="other")
    world.act(session=copier, capability=Capability.FILES)
    world.end_or_be_killed(session=copier, closed=True)
    world.review(place="inner")
    _runs(world, "other")


def _nothing(*_: object, **__: object) -> frozenset[Capability]:
    return frozenset()


def _own_grant(grant: Grant, _: object) -> frozenset[Capability]:
    return grant.capabilities


PROTECTIONS: dict[str, tuple[str, Callable[..., object], Callable[[World], None]]] = {
    "labels before use": ("lineage_use.wrote_unreviewed", _nothing, _runs_what_was_fetched),
    "who runs beside": ("lineage.require_lineage_beside", _nothing, _runs_beside_who_fetches),
    "who was moved": ("lineage_beside._is_moved", _nothing, _runs_where_the_fetcher_was_moved),
    "what is found": ("lineage.note_found", _nothing, _copies_on_what_is_then_reviewed),
    "what comes": ("descent.came_beside", _nothing, _reads_what_comes_and_is_then_reviewed),
    "what comes, on": ("descent.came_beside", _nothing, _goes_on_after_both),
    "who is reviewed alone": ("lineage._deepen", _nothing, _writes_beside_who_is_reviewed_alone),
    "who wrote around": ("lineage._deepen", _nothing, _writes_around_who_is_reviewed),
    "who wrote inside": ("lineage._deepen", _nothing, _writes_inside_who_is_reviewed_alone),
    "who wrote in both": ("lineage._grown", lambda _, found: found, _copies_from_one_inside_to_another),
    "what comes, at once": ("lineage_use.DirectUse._more_came", _nothing, _hands_on_to_who_stages),
    "the line above": ("opening.line_of", _own_grant, _writes_through_a_child),
    "what was moved, on": ("lineage.moved_here", lambda *_: (), _copies_on_what_was_moved_in),
    "what was moved": ("lineage.moved_here", lambda *_: (), _moves_what_was_fetched),
}


@pytest.mark.parametrize("name", PROTECTIONS)
def test_the_machine_notices_each_protection_that_is_taken_away(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the protection the story comes to nothing; without it, to all three."""
    where, broken, story = PROTECTIONS[name]

    _played(story)
    monkeypatch.setattr(f"agent_runner.{where}", broken)

    with pytest.raises(AssertionError, match="came to all three"):
        _played(story)


def test_a_killed_session_that_cannot_go_on_is_told_so_and_sent_to_no_review() -> None:
    """Another worked there since, and was reviewed; its twin, which nobody worked beside, goes on."""
    world = World()
    world.begin()
    try:
        alone, killed = (
            cast("Session", world.start(grant=Grant.FILES_EXEC, access="stage", place=place))
            for place in ("other", "outer")
        )
        for session in (alone, killed):
            world.end_or_be_killed(session=session, closed=False)
        world.end_or_be_killed(session=_fetches(world, "outer"), closed=True)
        world.review(place="outer")
        world.resume(session=alone)

        with pytest.raises(RefusedError, match="may have read what came of `network`") as refused:
            hold_lineage(killed.request, killed.name)

        assert refused.value.hint.startswith("start another session; `pairlock diff")
        assert alone.runs
    finally:
        world.teardown()


def _played(story: Callable[[World], None]) -> None:
    world = World()
    world.begin()
    try:
        story(world)
        world.no_session_comes_to_all_three()
    finally:
        world.teardown()
