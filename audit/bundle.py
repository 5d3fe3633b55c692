"""Pack sessions so that they verify where there is only Python: logs, checkpoint, verifier.

A bundle is a gzipped tar, the same bytes each time. No private key and no other session's log goes in.
"""

import gzip
import io
import os
import tarfile
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, BinaryIO

from audit.errors import BrokenLedgerError
from audit.index import HostIndex, covering_note, read_index
from audit.lock import held_still
from audit.note import unverified_checkpoint
from audit.recover import kept_segments, no_ledger
from audit.segments import Lines, opened, text_in
from audit.session_record import SessionRecord
from audit.state import SessionFiles, StateFiles

_README = """A pairlock ledger bundle.

    python3 -I verify.py --key 'THE HOST KEY, FROM ELSEWHERE'

With -I Python runs nothing else that lies in this folder, whatever PYTHONPATH says.
Without --key the bundle is only shown to agree with itself. What is `not in this bundle` was not verified:
look for the sessions that you were told of. Read verify.py before you run it, or take the same file from a
copy of pairlock that you trust: whoever can change a bundle can change the verifier in it.
"""


def write_bundle(state: Path, session_ids: Sequence[str], target: BinaryIO, *, bodies: bool = True) -> None:
    """Write a bundle.

    Args:
        state: The state folder.
        session_ids: Whole ids of the sessions that go in.
        target: Where to write it, open for binary writing; a ``.tar.gz``.
        bodies: Whether what stands behind commitments goes in too; without, the log still verifies.

    Raises:
        UnknownSessionError: When a session has no log.
        BrokenLedgerError: When there is no checkpoint or public key, or a file cannot be read.
    """
    files = StateFiles(state)
    with held_still(files.lock):
        index = read_index(files)
        note = covering_note(files, index.size)
    for session_id in session_ids:
        if not kept_segments(files.session(session_id), index.session(session_id)):
            raise no_ledger(session_id, index.session(session_id))
    signed = [
        (files.checkpoint.name, _there(files.checkpoint, note)),
        (files.host_vkey.name, _there(files.host_vkey, text_in(files.host_vkey))),
    ]
    with (
        gzip.GzipFile(fileobj=target, mode="wb", mtime=0, filename="") as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name, content in [*_texts(), *signed]:
            _add(archive, name, io.BytesIO(content), len(content))
        with opened(files.log) as log:
            _add(archive, files.log.name, log, _signed_bytes(files, note or ""))
        for name, path in _members(files, index, session_ids, bodies=bodies):
            with opened(path) as file:
                _add(archive, name, file, os.fstat(file.fileno()).st_size)


def _texts() -> Iterator[tuple[str, bytes]]:
    yield "README", _README.encode()
    yield "verify.py", Path(__file__).with_name("standalone.py").read_bytes()
    yield (
        "left-out",
        b"sessions that the host's log knows and that are not in this bundle are left out on purpose\n",
    )


def _there(path: Path, text: str | None) -> bytes:
    """Return what a file holds; an empty file in its place would look like a forged one.

    Raises:
        BrokenLedgerError: When it is not there.
    """
    if text is None:
        raise BrokenLedgerError(f"there is no `{path.name}`", path=path)
    return text.encode()


def _signed_bytes(files: StateFiles, note: str) -> int:
    """Return how much of the host's log a checkpoint covers: others may be appending at this moment."""
    entries = unverified_checkpoint(note).size
    return sum(len(line) + 1 for line in islice(Lines([files.log]), entries))


def _members(
    files: StateFiles, index: HostIndex, session_ids: Sequence[str], *, bodies: bool
) -> Iterator[tuple[str, Path]]:
    for session_id in session_ids:
        found = _of_session(files.session(session_id), index.session(session_id), bodies=bodies)
        yield from ((f"sessions/{session_id}/{name}", path) for name, path in found)


def _of_session(session: SessionFiles, record: SessionRecord, *, bodies: bool) -> Iterator[tuple[str, Path]]:
    for _, path in kept_segments(session, record):
        yield path.name, path
    if bodies and session.openings.exists():
        yield session.openings.name, session.openings
    if bodies and session.blobs.is_dir():
        yield from ((f"blobs/{path.name}", path) for path in sorted(session.blobs.glob("*.gz")))


def _add(archive: tarfile.TarFile, name: str, file: IO[bytes], size: int) -> None:
    member = tarfile.TarInfo(f"bundle/{name}")
    member.size, member.mode, member.mtime = size, 0o644, 0
    archive.addfile(member, file)
