"""The file of authorities that the guest writes for the agent's programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sandbox.errors import OperationFailedError
from sandbox.guest.keystore import java_keystore
from sandbox.guest.trust import JAVA_NAME, NAME
from tests.sandbox.guest.launch import running

if TYPE_CHECKING:
    from pathlib import Path

OURS = b"-----BEGIN CERTIFICATE-----\nMAAA\n-----END CERTIFICATE-----\n"


async def test_the_images_authorities_come_first_and_the_sessions_are_whole(tmp_path: Path) -> None:
    async with running(tmp_path) as guest:
        answer = await guest.link.call("trust.write", {}, body=OURS)

    written = (tmp_path / NAME.decode()).read_bytes()
    assert written.endswith(OURS)
    assert answer.result == {"image_bytes": len(written) - len(OURS), "given_bytes": len(OURS)}
    assert (tmp_path / JAVA_NAME.decode()).read_bytes() == java_keystore(written)


def test_a_keystore_holds_each_certificate_once_and_leaves_out_what_is_none() -> None:
    """Whether Java reads it is tried with Java: tests/promises/test_clients_tls.py."""
    broken, other = OURS.replace(b"MAAA", b"A"), OURS.replace(b"MAAA", b"AAAA")

    store = java_keystore(b"# words\n" + OURS + broken + other + OURS + b"-----BEGIN CERTIFICATE-----\nAA")

    entry = b"\0\0\0\2\0\x010" + bytes(8) + b"\0\x05X.509\0\0\0\3\x30" + bytes(2)
    assert store[:-20] == b"\xfe\xed\xfe\xed\0\0\0\2\0\0\0\1" + entry


async def test_more_authorities_than_a_session_has_are_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as guest:
        with pytest.raises(OperationFailedError) as caught:
            await guest.link.call("trust.write", {}, body=bytes(64 * 1024 + 1))

    assert caught.value.code == "limit"
    assert not (tmp_path / NAME.decode()).exists()


async def test_a_symlink_in_the_files_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"kept")
    (tmp_path / NAME.decode()).symlink_to("other")

    async with running(tmp_path) as guest:
        with pytest.raises(OperationFailedError):
            await guest.link.call("trust.write", {}, body=OURS)

    assert (tmp_path / "other").read_bytes() == b"kept"
