"""What a person is told whom a label refuses: who, what, where, and ways on that are true."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent_runner.lineage_places import Place, Unreviewed
from agent_runner.lineage_told import cannot_go_on, refusal, review_line
from policies.grant import Grant
from policies.lineage import Contribution, Label
from sandbox.workspace import WorkspaceIdentity

if TYPE_CHECKING:
    from policies.capability import Capability

HERE = WorkspaceIdentity(device=1, inode=1, birth_ns=1, path="/w")
NETWORK, EXEC = Grant.FILES_NETWORK.capabilities, Grant.FILES_EXEC.capabilities


def found(path: str, place: Place, **parts: frozenset[Capability]) -> Unreviewed:
    folder = WorkspaceIdentity(device=1, inode=2, birth_ns=2, path=path)
    label = Label(tuple(Contribution(session, exercised) for session, exercised in parts.items()))
    return Unreviewed(folder=folder, label=label, place=place)


def test_one_session_is_named_with_what_it_did_and_where() -> None:
    told = refusal(Grant.FILES_EXEC, HERE, [found("/w", Place.HERE, abc=NETWORK)], Label())

    assert told.message == (
        "`files+exec` makes three with what nobody has reviewed: session `abc` exercised `files` and "
        "`network` in `/w`"
    )
    assert told.hint == (
        "`pairlock review /w` shows what they left; `--endorse` takes the label off; a policy that grants "
        "`files` alone needs no review"
    )


def test_sessions_that_have_no_part_in_it_are_not_named_and_many_are_counted() -> None:
    many = {f"s{number}": NETWORK for number in range(5)}

    told = refusal(
        Grant.FILES_EXEC, HERE, [found("/w", Place.HERE, reader=Grant.FILES.capabilities, **many)], Label()
    )

    assert "`s0`, `s1`, `s2` and 2 more exercised, or built on, `files` and `network` in `/w`" in told.message
    assert "reader" not in told.message


def test_a_folder_around_has_a_review_of_its_own() -> None:
    counting = [found("/w/in", Place.INSIDE, abc=NETWORK), found("/", Place.AROUND, xyz=NETWORK)]

    told = refusal(Grant.FILES_EXEC, HERE, counting, Label())

    assert told.hint.startswith("`pairlock review /w` and `pairlock review /` show what they left;")


def test_no_narrower_grant_is_named_where_none_would_start() -> None:
    """Both others are on the label: whatever holds `files` is refused."""
    both = [found("/w", Place.HERE, abc=NETWORK, xyz=EXEC)]

    for grant in (Grant.FILES, Grant.FILES_EXEC):
        assert "alone" not in refusal(grant, HERE, both, Label()).hint


def test_what_the_session_brings_itself_is_told_as_that() -> None:
    told = refusal(
        Grant.FILES, HERE, [found("/w", Place.HERE, abc=NETWORK)], Label((Contribution("up", EXEC),))
    )

    assert "it brings `files` and `exec` along, from session `up`" in told.message
    assert "alone" not in told.hint


def test_who_may_have_read_it_is_told_that_no_review_helps() -> None:
    told = cannot_go_on("abc", Grant.FILES_EXEC, NETWORK)

    assert told.message == (
        "session `abc` holds `files+exec`, and may have read what came of `network`: that makes three"
    )
    assert told.hint == (
        "start another session; `pairlock diff abc` shows what this one did, and `pairlock apply abc` "
        "takes it"
    )


@pytest.mark.parametrize(
    ("folder", "line"),
    [
        ("/w", "pairlock review /w"),
        ("/a b/c", "pairlock review '/a b/c'"),
        ("/it's", "pairlock review '/it'\"'\"'s'"),
        ("/a\nb", "pairlock review ."),
        ("/a\u202eb", "pairlock review ."),
        ("/a`b", "pairlock review ."),
    ],
)
def test_the_command_that_is_named_can_be_typed(folder: str, line: str) -> None:
    assert review_line(folder) == line
