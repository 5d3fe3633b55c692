"""Try to bring files, network and exec together over one workspace, in any order of lawful steps.

Every protection has its story: with it the story comes to nothing, without it to all three.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from agent_runner.errors import RefusedError
from agent_runner.lineage import hold_lineage
from policies.capability import Capability
from policies.grant import Grant
from tests.agent_runner.lineage_world import World

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.agent_runner.lineage_sessions import Session


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


async def _nothing_came(_: object) -> bool:
    return False


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
    "what comes, at once": ("lineage_use.DirectUse._more_came", _nothing_came, _hands_on_to_who_stages),
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
