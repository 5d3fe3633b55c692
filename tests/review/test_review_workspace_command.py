"""`pairlock review DIR`: what is unreviewed, from which sessions, and how a person endorses it."""

from __future__ import annotations

import asyncio
import os
import shlex
from typing import TYPE_CHECKING

import pytest

from agent_runner.errors import InvalidInputError, RefusedError
from agent_runner.label_proof import prove_labels
from agent_runner.lineage import endorse, labels_of, require_lineage, wrote_unreviewed
from agent_runner.lineage_places import only_of, unreviewed
from agent_runner.meta import Meta, write_meta
from audit import event
from audit.journal import Journal, Registration
from audit.state import StateFiles
from policies.grant import Grant
from policies.lineage import Contribution
from policies.source import parse_policy
from sandbox.workspace import open_workspace

if TYPE_CHECKING:
    from pathlib import Path

    from tests.review.made import Made, Said


UNKNOWN = "  its ledger cannot be read: any file there may be its work"


def label(made: Made, folder: Path, session: str = "0" * 12) -> None:
    identity = open_workspace(folder, state=made.state).identity
    wrote_unreviewed(made.state, identity, session, Grant.FILES_NETWORK.capabilities, why="a test")


def labelled(made: Made, folder: Path) -> bool:
    return bool(labels_of(made.state).read(open_workspace(folder, state=made.state).identity).contributions)


def test_sessions_are_named_and_a_person_takes_the_label_off(made: Made) -> None:
    """Folders inside are reviewed with it; only a person at a terminal endorses."""
    inner = made.workspace / "inner"
    inner.mkdir()
    session = made.session(lambda inside: (inside / "a").write_text("x\n"))
    waiting = made.pairlock("review", str(made.workspace))
    assert made.pairlock("apply", session, "--yes").code == 0
    label(made, inner)

    shown = made.pairlock("review", str(made.workspace))
    refused = made.pairlock("review", str(made.workspace), "--endorse")
    endorsed = made.at_terminal("review", str(made.workspace), "--endorse", typed="y\n")
    after = made.pairlock("review", str(made.workspace))

    assert f"{session}  1 change waits" in waiting.err
    assert shown.out.splitlines() == [
        f"{session}  files+network, unreviewed",
        "  a",
        f"in {inner}",
        f"{'0' * 12}  files+network, unreviewed",
        UNKNOWN,
    ]
    assert (refused.code, endorsed.code) == (3, 0)
    assert (after.out, "nothing unreviewed" in after.err) == ("", True)
    assert not labelled(made, inner)


def test_a_review_of_a_folder_inside_endorses_nothing_around_it(made: Made) -> None:
    inner = made.workspace / "inner"
    inner.mkdir()
    label(made, made.workspace)

    made.at_terminal("review", str(inner), "--endorse", typed="y\n")

    assert labelled(made, made.workspace)


def test_a_labelled_folder_that_is_moved_into_a_workspace_takes_its_label_along(made: Made) -> None:
    """Its twin: the same session starts where the folder was not moved to."""
    outside, other = made.top / "outside", made.top / "other"
    outside.mkdir()
    other.mkdir()
    label(made, outside)
    (made.workspace / "deep").mkdir()
    outside.rename(made.workspace / "deep" / "in")

    with pytest.raises(RefusedError) as refused:
        require_lineage(made.state, open_workspace(made.workspace, state=made.state), Grant.FILES_EXEC)
    require_lineage(made.state, open_workspace(made.workspace, state=made.state), Grant.FILES_NETWORK)
    require_lineage(made.state, open_workspace(other, state=made.state), Grant.FILES_EXEC)

    assert "0" * 12 in refused.value.message


def test_a_moved_folder_is_shown_where_it_is_and_goes_with_the_endorsement(made: Made) -> None:
    """What refuses a session is what `review` shows and takes off."""
    outside = made.top / "outside"
    outside.mkdir()
    label(made, outside)
    inside = outside.rename(made.workspace / "in")

    shown = made.pairlock("review", str(made.workspace))
    endorsed = made.at_terminal("review", str(made.workspace), "--endorse", typed="y\n")

    assert shown.out.splitlines()[0] == f"in {inside}"
    assert "the label is off" in endorsed.out
    assert not labelled(made, inside)
    require_lineage(made.state, open_workspace(made.workspace, state=made.state), Grant.FILES_EXEC)


def test_a_folder_that_was_moved_away_keeps_its_label_when_its_old_place_is_endorsed(made: Made) -> None:
    """Nobody reviewed what is in it now; the place where it was no longer counts."""
    inner = made.workspace / "inner"
    inner.mkdir()
    label(made, inner)
    moved = inner.rename(made.top / "moved")

    shown = made.pairlock("review", str(made.workspace))
    endorsed = made.at_terminal("review", str(made.workspace), "--endorse", typed="y\n")

    assert shown.out.splitlines()[0] == f"gone, deleted or moved: {inner}"
    assert "the label is off" in endorsed.out
    assert labelled(made, moved)
    require_lineage(made.state, open_workspace(made.workspace, state=made.state), Grant.FILES_EXEC)
    moved.rename(made.workspace / "back")
    with pytest.raises(RefusedError):
        require_lineage(made.state, open_workspace(made.workspace, state=made.state), Grant.FILES_EXEC)
    assert prove_labels(made.state).faults == ()


def test_a_workspace_that_was_deleted_and_made_again_is_endorsed(made: Made) -> None:
    """Two folders had this path: the one that is gone no longer counts, the one that is there is reviewed."""
    label(made, made.workspace, "1" * 12)
    made.workspace.rename(made.top / "kept")  # so that its inode is not given out again
    made.workspace.mkdir()
    label(made, made.workspace, "2" * 12)

    shown = made.pairlock("review", str(made.workspace))
    endorsed = made.at_terminal("review", str(made.workspace), "--endorse", typed="y\n")

    assert shown.out.splitlines() == [
        f"{'2' * 12}  files+network, unreviewed",
        UNKNOWN,
        f"gone, deleted or moved: {made.workspace}",
        f"{'1' * 12}  files+network, unreviewed",
        UNKNOWN,
    ]
    assert "the label is off" in endorsed.out
    assert made.pairlock("review", str(made.workspace)).out == ""


def test_a_label_around_is_told_and_neither_asked_for_nor_called_off(made: Made) -> None:
    inner = made.workspace / "inner"
    inner.mkdir()
    label(made, made.workspace)

    alone = made.at_terminal("review", str(inner), "--endorse", typed="y\n")
    label(made, inner)
    both = made.at_terminal("review", str(inner), "--endorse", typed="y\n", columns=400)

    assert "did you review" not in alone.out
    told = f"the label of `{made.workspace}`, which lies around it, still holds"
    assert told in both.out
    assert "what was shown is off" in both.out
    assert (labelled(made, inner), labelled(made, made.workspace)) == (False, True)


def test_what_was_written_after_the_look_keeps_its_label(made: Made) -> None:
    label(made, made.workspace, "1" * 12)
    identity = open_workspace(made.workspace, state=made.state).identity
    shown = unreviewed(labels_of(made.state), identity)
    label(made, made.workspace, "2" * 12)

    endorse(made.state, identity, shown)

    left = labels_of(made.state).read(identity)
    assert [part.session for part in left.contributions] == ["2" * 12]


@pytest.mark.parametrize("access", ["direct", "stage"])
def test_a_folder_in_which_a_session_is_writing_is_not_endorsed(made: Made, access: str) -> None:
    """It labelled the folder once, at its start; one that stages writes elsewhere, and is the twin."""
    session = "3" * 12
    label(made, made.workspace, session)
    identity = open_workspace(made.workspace, state=made.state).identity
    shown = unreviewed(labels_of(made.state), identity)

    async def endorse_beside() -> None:
        async with Journal.create(made.state, session, registration=Registration(grant="files+network")):
            _write_meta(made, session, access)
            endorse(made.state, identity, shown)

    if access == "direct":
        with pytest.raises(InvalidInputError, match="is writing in it") as refused:
            asyncio.run(endorse_beside())
        assert session in str(refused.value)
    else:
        asyncio.run(endorse_beside())

    assert labelled(made, made.workspace) == (access == "direct")


@pytest.mark.parametrize("access", ["direct", "stage"])
def test_who_went_on_in_it_after_the_look_is_not_endorsed(made: Made, access: str) -> None:
    """Resumed and ended while the question waited, its label as it was; who stages wrote elsewhere."""
    session, identity = "4" * 12, open_workspace(made.workspace, state=made.state).identity

    async def begin() -> None:
        async with Journal.create(made.state, session, registration=Registration(grant="files+network")):
            _write_meta(made, session, access)
            label(made, made.workspace, session)

    async def go_on() -> None:
        async with Journal.reopen(made.state, session) as journal:
            await journal.record(event.SafetyNoted(code="x", message="x"))

    asyncio.run(begin())
    shown = unreviewed(labels_of(made.state), identity)
    asyncio.run(go_on())

    if access == "direct":
        with pytest.raises(InvalidInputError, match=f"`{session}` wrote since you looked"):
            endorse(made.state, identity, shown)
        again = unreviewed(labels_of(made.state), identity)
        endorse(made.state, identity, again)
    else:
        endorse(made.state, identity, shown)

    assert not labelled(made, made.workspace)


def test_what_was_applied_after_the_look_is_not_endorsed(made: Made) -> None:
    """The same session's part was on the label already; what it wrote last was not looked at."""
    session = made.session(lambda inside: [(inside / name).write_text("x\n") for name in "ab"])
    identity = open_workspace(made.workspace, state=made.state).identity
    assert made.pairlock("apply", session, "a", "--yes").code == 0
    shown = unreviewed(labels_of(made.state), identity)
    assert made.pairlock("apply", session, "b", "--yes").code == 0

    with pytest.raises(InvalidInputError, match=f"`{session}` wrote since you looked"):
        endorse(made.state, identity, shown)

    assert labelled(made, made.workspace)


def test_nobody_is_asked_about_a_folder_in_which_a_session_is_writing(made: Made) -> None:
    """What it writes while the question waits would be called reviewed; only to look is free."""
    session = "5" * 12

    async def ask_beside() -> tuple[Said, Said]:
        async with Journal.create(made.state, session, registration=Registration(grant="files+network")):
            _write_meta(made, session, "direct")
            label(made, made.workspace, session)
            words = ("review", str(made.workspace))
            asked = made.at_terminal(*words, "--endorse", typed="y\n", columns=400)
            return asked, made.pairlock(*words)

    asked, looked = asyncio.run(ask_beside())

    assert asked.code == 2
    assert f"session `{session}` is writing in it" in asked.out
    assert "did you review" not in asked.out
    assert looked.code == 0
    assert labelled(made, made.workspace)


def test_one_session_is_endorsed_and_what_others_left_stays(made: Made) -> None:
    """By the first letters of its id; a word that means none, or two, is told and takes nothing off."""
    label(made, made.workspace, "abc" + "1" * 9)
    label(made, made.workspace, "abd" + "2" * 9)

    two = made.pairlock("review", str(made.workspace), "--session", "ab")
    none = made.pairlock("review", str(made.workspace), "--session", "x", "--endorse")
    shown = made.pairlock("review", str(made.workspace), "--session", "abc")
    endorsed = made.at_terminal(
        "review", str(made.workspace), "--session", "abc", "--endorse", typed="y\n", columns=400
    )

    left = labels_of(made.state).read(open_workspace(made.workspace, state=made.state).identity)
    assert (two.code, none.code) == (2, 2)
    assert "`ab` is 2 sessions" in two.err
    assert "hint: one of: `abc111111111`, `abd222222222`" in none.err
    assert [line for line in shown.out.splitlines() if line.startswith("ab")] == [
        "abc111111111  files+network, unreviewed"
    ]
    assert f"still holds: `pairlock review {made.workspace}`" in endorsed.out
    assert [part.session for part in left.contributions] == ["abd" + "2" * 9]
    assert prove_labels(made.state).faults == ()


def test_a_folder_that_is_gone_is_forgotten_as_a_whole_or_not_at_all(made: Made) -> None:
    inner = made.workspace / "inner"
    inner.mkdir()
    label(made, inner, "a" * 12)
    label(made, inner, "b" * 12)
    inner.rename(made.top / "moved")
    identity = open_workspace(made.workspace, state=made.state).identity
    shown = unreviewed(labels_of(made.state), identity)

    endorse(made.state, identity, only_of(shown, frozenset(["a" * 12])))
    one = unreviewed(labels_of(made.state), identity)
    endorse(made.state, identity, only_of(shown, frozenset(["a" * 12, "b" * 12])))

    assert one == shown
    assert unreviewed(labels_of(made.state), identity) == ()


def test_who_wrote_beside_one_that_is_endorsed_counts_with_its_part(made: Made) -> None:
    """What one fetched may be in what the other wrote; alone, its endorsement does not clear that."""
    fetcher, beside = "a" * 12, "b" * 12
    identity = open_workspace(made.workspace, state=made.state).identity

    async def both() -> None:
        async with Journal.create(made.state, beside, registration=Registration(grant="files")):
            wrote_unreviewed(made.state, identity, beside, Grant.FILES.capabilities, why="a test")
            label(made, made.workspace, fetcher)

    asyncio.run(both())
    shown = unreviewed(labels_of(made.state), identity)
    endorse(made.state, identity, only_of(shown, frozenset([fetcher])))

    left = labels_of(made.state).read(identity)
    assert left.contributions == (Contribution(beside, Grant.FILES_NETWORK.capabilities),)
    with pytest.raises(RefusedError, match=beside):
        require_lineage(made.state, open_workspace(made.workspace, state=made.state), Grant.FILES_EXEC)
    assert prove_labels(made.state).faults == ()


def test_names_that_an_agent_chose_are_shown_and_not_obeyed(made: Made) -> None:
    """In paths of files and of folders: escapes, new lines, options, quotes; commands that are named work."""
    session = made.session(
        lambda inside: [
            (inside / name).write_text("x\n") for name in ("\x1b[2Ja", "n\nb", "--endorse", "\u202ec")
        ]
    )
    assert made.pairlock("apply", session, "--yes").code == 0
    inner = made.workspace / "a b; rm 'x'"
    inner.mkdir()
    label(made, inner)
    label(made, made.workspace)
    evil = made.workspace / "\x1b[31mred\n"
    evil.mkdir()
    label(made, evil)

    shown = made.at_terminal("review", str(made.workspace), columns=400)
    refused = _refusal(made, inner)
    unnamed = _refusal(made, evil)

    assert "\x1b" not in shown.out
    assert "\u202e" not in shown.out
    assert {"  --endorse", "  n\\nb"} <= set(shown.out.splitlines())
    asked = [part for part in refused.hint.split("`") if part.startswith("pairlock review")]
    assert [shlex.split(part)[2] for part in asked] == [str(inner), str(made.workspace)]
    assert "`pairlock review .`" in unnamed.hint
    for part in asked:
        assert made.pairlock(*shlex.split(part)[1:]).code == 0


def _refusal(made: Made, folder: Path) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        require_lineage(made.state, open_workspace(folder, state=made.state), Grant.FILES_EXEC)
    return caught.value


def _write_meta(made: Made, session: str, access: str) -> None:
    text = f"version: 1\nname: x\ngrant: [files, network]\nfiles: {{access: {access}}}\n"
    policy = parse_policy(text, origin="x.yaml")
    meta = Meta(
        session=session, policy="x", policy_origin="x.yaml", policy_digest=policy.digest,
        grant=policy.grant.label, workspace=str(made.workspace), model="scripted:made",
        started="2026-01-01T00:00:00+00:00", process=os.getpid(),
    )  # fmt: skip
    write_meta(StateFiles(made.state).session(session).folder, meta, policy.as_yaml())
