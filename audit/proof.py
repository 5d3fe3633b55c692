"""Prove one entry to someone who has only the host's public key, without showing any other entry.

The proof leads from the entry's line to a root of its session's tree, from there (in a line of the host's
log) to the root of the host's tree, and from there to the host's signature. Growth proofs hold two
checkpoints together.
"""

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import orjson

from audit.chain import leaf_hash, read
from audit.errors import BadProofError, MalformedLineError, UnknownEntryError
from audit.host_event import SessionSealed
from audit.index import covering_note, read_index, signed_by_one
from audit.lock import held_still
from audit.merkle import check_consistency, check_inclusion, consistency_proof, inclusion_proof
from audit.note import VerifierKey, open_checkpoint
from audit.schema import event_of
from audit.segments import Lines
from audit.session_record import SessionRecord
from audit.state import StateFiles

FORM = "pairlock-proof/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """An entry with everything that ties it to the host's signature.

    Attributes:
        session: The session's id.
        line: The entry's raw line.
        seq: Its place.
        path: From its leaf to the session's root.
        sealed_line: The line of the host's log that tells the session's size and root.
        sealed_seq: That line's place.
        sealed_path: From its leaf to the host's root.
        checkpoint: The host's signed checkpoint.
    """

    session: str
    line: bytes
    seq: int
    path: tuple[bytes, ...]
    sealed_line: bytes
    sealed_seq: int
    sealed_path: tuple[bytes, ...]
    checkpoint: str

    def to_json(self) -> bytes:
        """Return the proof as a JSON document."""
        fields = {
            "form": FORM,
            "session": self.session,
            "line": self.line.decode("utf-8"),
            "seq": self.seq,
            "path": [step.hex() for step in self.path],
            "sealed_line": self.sealed_line.decode("utf-8"),
            "sealed_seq": self.sealed_seq,
            "sealed_path": [step.hex() for step in self.sealed_path],
            "checkpoint": self.checkpoint,
        }
        return orjson.dumps(fields, option=orjson.OPT_INDENT_2) + b"\n"

    @classmethod
    def from_json(cls, raw: bytes) -> "Proof":
        """Return the proof that a document spells.

        Raises:
            BadProofError: When it spells none.
        """
        try:
            fields = orjson.loads(raw)
            if fields["form"] != FORM:
                raise BadProofError(f"the document is not of the form `{FORM}`")
            return cls(
                session=str(fields["session"]),
                line=fields["line"].encode("utf-8"),
                seq=_place(fields["seq"]),
                path=tuple(bytes.fromhex(step) for step in fields["path"]),
                sealed_line=fields["sealed_line"].encode("utf-8"),
                sealed_seq=_place(fields["sealed_seq"]),
                sealed_path=tuple(bytes.fromhex(step) for step in fields["sealed_path"]),
                checkpoint=str(fields["checkpoint"]),
            )
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadProofError("the document is not a proof") from error


def _place(value: object) -> int:
    if type(value) is not int:
        raise TypeError(value)
    return value


def prove(state: Path, session_id: str, seq: int) -> Proof:
    """Return the proof of one entry.

    Args:
        state: The state folder.
        session_id: A whole id.
        seq: The entry's place, counted from 0.

    Raises:
        BadProofError: When a part was pruned, or when no seal of the host's log covers the entry.
        UnknownEntryError: When there is no such entry. BrokenLedgerError: When a log does not verify.
    """
    files = StateFiles(state)
    with held_still(files.lock):
        found, key = _assembled(files, session_id, seq)
    check(found, key)
    return found


def _assembled(files: StateFiles, session_id: str, seq: int) -> tuple[Proof, VerifierKey]:
    index = read_index(files)
    if index.broken is not None:
        raise index.broken
    size, sealed_seq = _covering(index.session(session_id), seq)
    lines = list(islice(Lines([path for _, path in files.session(session_id).segments()]), size))
    host_lines = list(islice(Lines([files.log]), index.size))
    found = Proof(
        session=session_id,
        line=lines[seq] if seq < len(lines) else b"",
        seq=seq,
        path=tuple(inclusion_proof([leaf_hash(line) for line in lines], seq)),
        sealed_line=host_lines[sealed_seq],
        sealed_seq=sealed_seq,
        sealed_path=tuple(inclusion_proof([leaf_hash(line) for line in host_lines], sealed_seq)),
        checkpoint=covering_note(files, index.size) or "",
    )
    return found, index.keys[-1]


def check(proof: Proof, key: VerifierKey) -> None:
    """Check a proof against a host's public key.

    Raises:
        BadProofError: When a step does not lead on, or the entry is not what the proof says.
        BadSignatureError: When the checkpoint is not signed by that key.
    """
    checkpoint = open_checkpoint(proof.checkpoint, key)
    sealed_leaf = leaf_hash(proof.sealed_line)
    check_inclusion(sealed_leaf, proof.sealed_seq, checkpoint.size, proof.sealed_path, checkpoint.root)
    try:
        sealed = event_of(read(proof.sealed_line, sealed_leaf))
        entry = read(proof.line, leaf_hash(proof.line))
    except MalformedLineError as error:
        raise BadProofError(f"a line of the proof is malformed: {error}") from error
    if not isinstance(sealed, SessionSealed) or sealed.session != proof.session:
        raise BadProofError("the host's line of the proof does not seal this session")
    if entry.seq != proof.seq:
        raise BadProofError(f"the line says that it is entry `{entry.seq}`, the proof says `{proof.seq}`")
    check_inclusion(entry.leaf, proof.seq, sealed.size, proof.path, bytes.fromhex(sealed.root))


def prove_growth(state: Path, older_note: str) -> list[bytes]:
    """Return the proof that the host's log began as an older checkpoint says, checked.

    Args:
        state: The state folder.
        older_note: A checkpoint that was kept elsewhere.

    Raises:
        BadProofError: When the log did not grow from it.
        BadSignatureError: When no key that has signed the log has signed it.
        BrokenLedgerError: When the host's log does not verify.
    """
    files = StateFiles(state)
    with held_still(files.lock):
        index = read_index(files)
        if index.broken is not None:
            raise index.broken
        older = signed_by_one(older_note, index.keys)
        newer = open_checkpoint(covering_note(files, index.size) or "", index.keys[-1])
        leaves = [leaf_hash(line) for line in islice(Lines([files.log]), newer.size)]
    path = consistency_proof(leaves, older.size)
    check_consistency(older.size, older.root, newer.size, newer.root, path)
    return path


def _covering(record: SessionRecord, seq: int) -> tuple[int, int]:
    """Return the smallest sealed size beyond an entry, and the host's entry that tells of it."""
    if record.pruned is not None:
        raise BadProofError("a part of the session was pruned, so its tree cannot be rebuilt")
    if record.closed_at_size is not None and seq >= record.closed_at_size:
        hint = f"its entries are 0 to {record.closed_at_size - 1}"
        raise UnknownEntryError(f"the session has no entry `{seq}`", hint=hint)
    sizes = [size for size in record.heads if size > seq]
    if seq < 0 or not sizes:
        raise BadProofError(f"no seal of the host's log covers entry `{seq}`", hint="close the session first")
    size = min(sizes)
    return size, record.sealed[size]
