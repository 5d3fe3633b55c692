"""What came with a reply's calls: read back as written, refused as one error otherwise."""

from __future__ import annotations

import pytest

from agent_runner.reply_bodies import reply_bodies
from audit.errors import BadEventError


def test_what_was_kept_is_read_back() -> None:
    assert reply_bodies(3, b'{"bodies":{"0":"YWI="}}') == {"0": b"ab"}


@pytest.mark.parametrize(
    "raw",
    [b"", b"[]", b"{}", b'{"bodies":[]}', b'{"bodies":{"0":1}}', b'{"bodies":{"0":"a"}}', b"\xff"],
)
def test_a_body_that_no_writer_wrote_is_refused(raw: bytes) -> None:
    """A forged log is told as one, whoever reads it: `resume` as well as `audit replay`."""
    with pytest.raises(BadEventError, match="entry 3 cannot be read back"):
        reply_bodies(3, raw)
