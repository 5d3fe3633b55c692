# ruff: noqa: D102 - the machine's steps are named as what people and agents do
"""Let people and agents do any lawful steps on folders, for real, and keep the truth beside it.

The labels, the locks, the host's log and the sessions' ledgers are real. Beside them the machine keeps whose
unreviewed writes lie where, and what may have flowed into them. No session may ever come to all three.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from agent_runner import lineage_use
from agent_runner.ci.result_tree import label_result
from agent_runner.descent import Descent, brought_by, handed_down
from agent_runner.errors import InvalidInputError, RefusedError
from agent_runner.ids import new_session_id
from agent_runner.label_proof import prove_labels
from agent_runner.lineage import endorse, hold_lineage, labels_of, require_lineage
from agent_runner.lineage_places import only_of, unreviewed
from agent_runner.review import label_unseen
from audit import event
from audit.state import StateFiles
from cli_tools.errors import ActionError
from policies.capability import Capability
from policies.grant import Grant
from sandbox.workspace import identity_of, open_workspace
from tests.agent_runner.lineage_sessions import Session, ledger_of, request_for_outputs, request_on

if TYPE_CHECKING:
    from audit.journal import Journal

ALL: Final = frozenset(Capability)
WITH_FILES = st.sampled_from([grant for grant in Grant if grant.holds(Capability.FILES)])
WITHOUT_FILES = st.sampled_from([Grant.NETWORK, Grant.EXEC, Grant.NETWORK_EXEC])
ACCESS = st.sampled_from(["stage", "direct"])
PLACES = st.sampled_from(["outer", "inner", "other"])


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
                self.runner.run(session.leave(closed=False))
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
        self.runner.run(parent.note(event.SessionDelegated(
            action=f"{parent.name}/9", child="0" * 12, grant=grant.label, policy_digest=policy.digest,
        )))  # fmt: skip
        return self._started(grant, policy.files.access, parent.place, below, parent.influence) or parent

    def _started(
        self,
        grant: Grant,
        access: str,
        place: str,
        descent: Descent | None,
        influence: frozenset[Capability] = frozenset(),
    ) -> Session | None:
        request = request_on(self.folders[place], self.state, grant, access, descent=descent)
        workspace, name = request.workspace, new_session_id()
        assert workspace is not None
        try:
            require_lineage(self.state, workspace, grant, brought_by(descent))
        except RefusedError:
            return None
        journal = self.runner.run(ledger_of(request, name))
        use = lineage_use.DirectUse(request, name, resumed=False)
        session = Session(request, name, place, journal, use, influence)
        self.everybody.append(session)
        self._hold(session)
        return session

    def _hold(self, session: Session) -> None:
        try:
            hold_lineage(session.request, session.name)
        except RefusedError:
            self.runner.run(session.leave(closed=True))
        self._flow()

    def _nobody(self, place: str) -> Session:
        request = request_on(self.folders[place], self.state, Grant.FILES, "stage")
        use = lineage_use.DirectUse(request, "", resumed=False)
        return Session(request, "", place, cast("Journal", None), use, runs=False, closed=True)

    @rule(session=sessions, capability=st.sampled_from(Capability))
    def act(self, session: Session, capability: Capability) -> None:
        if not session.runs or not session.request.policy.grant.holds(capability):
            return
        self.runner.run(session.intend(capability))
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
            self.runner.run(session.leave(closed=closed))

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
        self.runner.run(session.resume())
        session.use = lineage_use.DirectUse(session.request, session.name, resumed=True)
        session.runs = True
        self._hold(session)

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
        request, name = request_for_outputs(self.state, grant), new_session_id()
        use = lineage_use.DirectUse(request, name, resumed=False)
        session = Session(request, name, place, self.runner.run(ledger_of(request, name)), use)
        for capability in sorted(grant.capabilities, key=lambda held: held.value):
            self.runner.run(session.intend(capability))
        self.runner.run(session.leave(closed=True))
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
