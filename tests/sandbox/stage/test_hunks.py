from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sandbox.stage.hunks import split_hunks, take_hunks

OLD = b"".join(b"%d\n" % number for number in range(40))
NEW = OLD.replace(b"\n3\n", b"\nthree\n").replace(b"\n20\n", b"\n").replace(b"\n35\n", b"\n35\nplus\n")
CONTENT = st.lists(st.sampled_from([b"a\n", b"b\n", b"\n"]), max_size=40).map(b"".join)


def test_each_hunk_can_be_taken_alone() -> None:
    hunks = split_hunks(OLD, NEW)

    assert [hunk.number for hunk in hunks] == [1, 2, 3]
    assert take_hunks(OLD, hunks, {2}) == OLD.replace(b"\n20\n", b"\n")
    assert take_hunks(OLD, hunks, {1, 3}) == NEW.replace(b"\n19\n21\n", b"\n19\n20\n21\n")
    assert hunks[1].text.startswith(b"@@ -18,7 +18,6 @@\n 17\n")


@given(old=CONTENT, new=CONTENT)
def test_all_hunks_make_the_new_content_and_none_the_old(old: bytes, new: bytes) -> None:
    hunks = split_hunks(old, new)

    assert take_hunks(old, hunks, {hunk.number for hunk in hunks}) == new
    assert take_hunks(old, hunks, set()) == old
