from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sandbox.stage.apply import apply_changes
from sandbox.stage.beneath import Beneath
from sandbox.stage.changes import Change, ChangeKind, compute_changes
from sandbox.stage.layout import MatchNothing
from sandbox.stage.opened import open_stage
from sandbox.stage.sides import EntryKind, Side
from sandbox.stage.verdict import Refusal, decide
from tests.sandbox.stage.applying import apply, names, reasons, staged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Yard


def test_everything_is_applied_as_the_agent_left_it(yard: Yard) -> None:
    yard.fill({"mod": "1", "del": "2", "d/x": "3", "todir": "4", "mode": "5"})

    def act(inside: Path) -> None:
        (inside / "mod").write_text("agent")
        (inside / "del").unlink()
        shutil.rmtree(inside / "d")
        (inside / "d").write_text("file now")
        (inside / "todir").unlink()
        yard.fill({"todir/a/b": "deep"}, below=inside)
        (inside / "mode").chmod(0o755)
        (inside / "link").symlink_to("mod")
        (inside / "empty").mkdir(mode=0o750)

    staged(yard, act)

    result = apply(yard)

    assert result.not_applied == ()
    assert result.complete
    assert names(yard.workspace) == ["d", "empty", "link", "mod", "mode", "todir", "todir/a", "todir/a/b"]
    assert (yard.workspace / "mod").read_text() == "agent"
    assert (yard.workspace / "todir/a/b").read_text() == "deep"
    assert (yard.workspace / "mode").stat().st_mode & 0o777 == 0o755
    assert (yard.workspace / "empty").stat().st_mode & 0o777 == 0o750


def test_after_an_apply_nothing_is_left_to_review(yard: Yard) -> None:
    yard.fill({"a": "1", "b": "2"})

    def act(inside: Path) -> None:
        (inside / "a").write_text("x")
        (inside / "b").unlink()
        (inside / "c").write_text("y")

    staged(yard, act)

    result = apply(yard, chosen=("a", "b"))

    assert (result.applied, result.left) == (("a", "b"), ("c",))
    with open_stage(yard.session) as stage:
        assert [change.path for change in compute_changes(stage).changes] == ["c"]


def test_a_chosen_file_brings_the_folders_it_needs(yard: Yard) -> None:
    staged(yard, lambda inside: yard.fill({"a/b/c": "x", "a/b/d": "y"}, below=inside))

    result = apply(yard, chosen=("a/b/c",))

    assert result.applied == ("a/b/c",)
    assert names(yard.workspace) == ["a", "a/b", "a/b/c"]


def test_protected_paths_need_to_be_named(yard: Yard) -> None:
    """Refused, and with its positive twin: named, it is applied."""
    staged(yard, lambda inside: yard.fill({".git/hooks/pre-commit": "evil", "ok": "fine"}, below=inside))

    refused = apply(yard, protect=(".git*",))

    assert set(reasons(refused).values()) == {"protected"}
    assert names(yard.workspace) == ["ok"]
    included = apply(yard, protect=(".git*",), include=(".git*",))
    assert included.not_applied == ()
    assert (yard.workspace / ".git/hooks/pre-commit").read_text() == "evil"


def test_a_hidden_file_is_never_overwritten_even_when_named(yard: Yard) -> None:
    yard.fill({".env": "secret"})
    staged(yard, lambda inside: (inside / ".env").write_text("agent"), ".env")

    result = apply(yard, hide=(".env",), include=(".env",))

    assert reasons(result) == {".env": "conflict"}
    assert (yard.workspace / ".env").read_text() == "secret"


def test_a_deleted_folder_keeps_what_was_hidden_in_it(yard: Yard) -> None:
    yard.fill({"d/.env": "secret", "d/a": "1"})
    staged(yard, lambda inside: shutil.rmtree(inside / "d"), ".env")

    result = apply(yard)

    assert result.applied == ("d/a",)
    assert "not empty" in result.not_applied[0].reason
    assert names(yard.workspace) == ["d", "d/.env"]


def test_conflicts_are_told_and_not_overwritten(yard: Yard) -> None:
    yard.fill({"a": "1", "b": "1"})
    staged(yard, lambda inside: yard.fill({"a": "agent", "b": "agent", "c": "agent"}, below=inside))
    yard.fill({"a": "user", "c": "user"})

    result = apply(yard)

    assert reasons(result) == {"a": "conflict", "c": "conflict"}
    assert [(yard.workspace / name).read_text() for name in "abc"] == ["user", "agent", "user"]


def test_setuid_and_world_writable_bits_do_not_arrive(yard: Yard) -> None:
    def act(inside: Path) -> None:
        (inside / "su").write_text("x")
        (inside / "su").chmod(0o6777)

    staged(yard, act)

    apply(yard)

    assert (yard.workspace / "su").stat().st_mode & 0o7777 == 0o775


def test_pipes_and_devices_are_refused(yard: Yard) -> None:
    staged(yard, lambda inside: os.mkfifo(inside / "pipe"))

    assert reasons(apply(yard)) == {"pipe": "special"}
    assert names(yard.workspace) == []


def test_symlinks_that_lead_out_need_to_be_named(yard: Yard) -> None:
    staged(yard, lambda inside: (inside / "out").symlink_to("/etc"))

    assert reasons(apply(yard)) == {"out": "leads-out"}
    assert apply(yard, include=("out",)).applied == ("out",)


def test_the_users_modes_and_owners_are_kept(yard: Yard) -> None:
    """Root applies what uid 65532 wrote: the owner is that of the replaced file, or of the folder."""
    yard.fill({"a": "1", "d/b": "2"})
    for path in ("", "a", "d", "d/b"):
        os.chown(yard.workspace / path, 1234, 1234)
    (yard.workspace / "a").chmod(0o640)
    os.setxattr(yard.workspace / "a", "user.note", b"mine")

    def act(inside: Path) -> None:
        for path in ("a", "d/new", "e/f"):
            yard.fill({path: "agent"}, below=inside)
            os.chown(inside / path, 65532, 65532)
        (inside / "link").symlink_to("a")

    staged(yard, act, uid=65532)

    assert apply(yard).not_applied == ()
    for path in ("a", "d/new", "e", "e/f", "link"):
        status = (yard.workspace / path).lstat()
        assert (path, status.st_uid, status.st_gid) == (path, 1234, 1234)
    assert (yard.workspace / "a").stat().st_mode & 0o777 == 0o640
    assert os.getxattr(yard.workspace / "a", "user.note") == b"mine"


def test_a_symlink_in_the_users_folder_is_not_followed(yard: Yard) -> None:
    """The user replaced a folder by a symlink meanwhile: nothing is written through it."""
    yard.fill({"d/a": "1"})
    staged(yard, lambda inside: yard.fill({"d/a": "agent", "d/new": "agent"}, below=inside))
    outside = yard.top / "outside"
    shutil.move(yard.workspace / "d", outside)
    (yard.workspace / "d").symlink_to(outside)

    result = apply(yard)

    assert reasons(result) == {"d/a": "conflict", "d/new": "conflict"}
    assert names(outside) == ["a"]
    assert (outside / "a").read_text() == "1"


def test_what_changed_after_the_review_is_not_applied(yard: Yard) -> None:
    staged(yard, lambda inside: yard.fill({"a": "reviewed", "b": "fine"}, below=inside))
    with open_stage(yard.session) as stage:
        found = compute_changes(stage)
        (stage.folder.upper / "a").write_text("swapped!")

        result = apply_changes(stage, found.changes)

    assert reasons(result) == {"a": "stage-changed"}
    assert names(yard.workspace) == ["b"]


def test_what_the_user_changed_after_the_review_is_a_conflict(yard: Yard) -> None:
    """Between the diff and the word to apply it: looked at again, and not touched."""
    yard.fill({"a": "1", "b": "1"})
    staged(yard, lambda inside: yard.fill({"a": "agent", "b": "agent", "n": "agent"}, below=inside))
    with open_stage(yard.session) as stage:
        found = compute_changes(stage)
        yard.fill({"a": "user", "n": "user"})

        result = apply_changes(stage, found.changes)

    assert reasons(result) == {"a": "conflict", "n": "conflict"}
    assert result.applied == ("b",)
    assert [(yard.workspace / name).read_text() for name in "abn"] == ["user", "agent", "user"]


@dataclass(frozen=True, slots=True)
class SavedInto(Beneath):
    """The user's folder, where the user saves just when the content of a path is about to be read."""

    save: Callable[[str], None] = field(kw_only=True)

    @contextmanager
    def file(self, path: str) -> Iterator[int]:
        """Open it after the user's save."""
        self.save(path)
        with Beneath.file(self, path) as descriptor:
            yield descriptor

    def readlink(self, path: str) -> str:
        """Read it after the user's save."""
        self.save(path)
        return Beneath.readlink(self, path)


def test_a_save_while_the_base_is_read_is_a_conflict_and_not_the_base(yard: Yard) -> None:
    """The content read was the user's new one: taken for the base, it would be overwritten without a word."""
    yard.fill({"a": "1", "b": "1"})
    (yard.workspace / "link").symlink_to("a")

    def agent(inside: Path) -> None:
        yard.fill({"a": "agent", "b": "agent"}, below=inside)
        (inside / "link").unlink()
        (inside / "link").symlink_to("agent")

    def save(path: str) -> None:
        if path == "a":
            yard.fill({"a": "user"})
        if path == "link":
            (yard.workspace / "link").unlink()
            (yard.workspace / "link").symlink_to("user")

    staged(yard, agent)
    with open_stage(yard.session) as stage:
        live = SavedInto(stage.live.root, stage.live.name, save=save)
        shown = {c.path: c.conflict for c in compute_changes(replace(stage, live=live)).changes}

    result = apply(yard)

    assert shown == {"a": "it was changed meanwhile", "b": "", "link": "it was changed meanwhile"}
    assert reasons(result) == {"a": "conflict", "link": "conflict"}
    assert ((yard.workspace / "a").read_text(), (yard.workspace / "b").read_text()) == ("user", "agent")
    assert (yard.workspace / "link").readlink().name == "user"


def test_a_change_in_conflict_is_refused_before_anything_is_prepared() -> None:
    """The verdict alone, without a filesystem; and its twin."""
    side = Side(kind=EntryKind.FILE, mode=0o644, size=1, digest="d", target="")
    fine = Change(path="a", kind=ChangeKind.ADDED, before=None, after=side)

    refused = decide(replace(fine, conflict="it appeared meanwhile"), MatchNothing())

    assert decide(fine, MatchNothing()) is None
    assert refused is not None
    assert (refused.code, refused.reason) == (Refusal.CONFLICT, "it appeared meanwhile")


def test_chosen_hunks_are_written_instead_of_the_whole(yard: Yard) -> None:
    yard.fill({"a": "1\n2\n"})
    staged(yard, lambda inside: (inside / "a").write_text("one\ntwo\n"))
    with open_stage(yard.session) as stage:
        found = compute_changes(stage)
        apply_changes(stage, found.changes, contents={"a": b"one\n2\n"})

        assert (yard.workspace / "a").read_text() == "one\n2\n"
        assert [change.path for change in compute_changes(stage).changes] == ["a"]
