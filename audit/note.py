"""Signed notes and checkpoints in the C2SP forms, with Ed25519; files and logs are elsewhere.

Sources: c2sp.org/signed-note, c2sp.org/tlog-checkpoint.
"""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from audit.errors import BadKeyError, BadSignatureError, MalformedLineError
from audit.escape import escape_line

_ED25519 = b"\x01"
_NAME = re.compile(r"[^\s+]{1,200}")
_SIZE = re.compile(r"[0-9]{1,16}")
"""Entries of a log; `int` refuses what is very much longer, by an error of its own."""
_PRIVATE = "PRIVATE+KEY+"
_DASH = "\u2014"


def is_private(text: str) -> bool:
    """Tell whether a text looks like a private key, or a part of one."""
    return _PRIVATE.rstrip("+") in text.upper()


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key with its name, as people pin it.

    Attributes:
        name: The key's name, without spaces or plus signs.
        raw: The 32 bytes of the Ed25519 public key.
    """

    name: str
    raw: bytes

    @property
    def key_id(self) -> bytes:
        """Return the 4 bytes that stand for this key in a signature line."""
        return sha256(self.name.encode("utf-8") + b"\n" + _ED25519 + self.raw).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(_ED25519 + self.raw).decode('ascii')}"

    @classmethod
    def parse(cls, text: str) -> "VerifierKey":
        """Return the key that ``name+id+base64`` spells.

        Raises:
            BadKeyError: When it spells none, or when the id does not belong to the key.
        """
        name, raw = _split_key(text.strip())
        key = cls(name, raw)
        if str(key) != text.strip():
            raise BadKeyError(f"the id in key `{name}` does not belong to it")
        return key


@dataclass(frozen=True, slots=True)
class SignerKey:
    """A private key with its name.

    Attributes:
        name: The key's name.
        seed: The 32 secret bytes; never shown.
    """

    name: str
    seed: bytes

    def __repr__(self) -> str:
        return f"SignerKey(name={self.name!r})"

    @property
    def verifier(self) -> VerifierKey:
        """Return the public half."""
        public = Ed25519PrivateKey.from_private_bytes(self.seed).public_key()
        return VerifierKey(self.name, public.public_bytes_raw())

    def secret_text(self) -> str:
        """Return the form in which the key is kept in a private file."""
        secret = base64.b64encode(_ED25519 + self.seed).decode("ascii")
        return f"{_PRIVATE}{self.name}+{self.verifier.key_id.hex()}+{secret}"

    @classmethod
    def make(cls, name: str, seed: bytes) -> "SignerKey":
        """Return a key of that name.

        Args:
            name: Without spaces or plus signs.
            seed: 32 random bytes.

        Raises:
            BadKeyError: When the name or the seed cannot be used.
        """
        if not _NAME.fullmatch(name) or len(seed) != 32:
            raise BadKeyError(
                f"a key cannot be named `{name}`", hint="no spaces, no plus sign, 32 bytes of seed"
            )
        return cls(name, seed)

    @classmethod
    def parse(cls, text: str) -> "SignerKey":
        """Return the key that a private file holds.

        Raises:
            BadKeyError: When it holds none; the message never repeats the text.
        """
        if not text.startswith(_PRIVATE):
            raise BadKeyError("the file holds no private key of the signed-note form")
        name, seed = _split_key(text.strip().removeprefix(_PRIVATE))
        key = cls(name, seed)
        if key.secret_text() != text.strip():
            raise BadKeyError(f"the id in private key `{name}` does not belong to it")
        return key


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What a log was at one moment.

    Attributes:
        origin: The log's name.
        size: Entries.
        root: The root of its tree.
        extensions: Further lines, for example ``head <hex of the last leaf>``.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def text(self) -> str:
        """Return the body that is signed."""
        root = base64.b64encode(self.root).decode("ascii")
        return "".join(f"{line}\n" for line in (self.origin, str(self.size), root, *self.extensions))

    @classmethod
    def parse(cls, text: str) -> "Checkpoint":
        """Return the checkpoint that a note's body spells.

        Raises:
            MalformedLineError: When it spells none, or spells it in another way than we would.
        """
        lines = text.split("\n")[:-1]
        if len(lines) < 3 or not _SIZE.fullmatch(lines[1]):
            raise MalformedLineError("the note is not a checkpoint")
        try:
            root = base64.b64decode(lines[2], validate=True)
        except ValueError as error:  # no base64, or not even ASCII
            raise MalformedLineError("the checkpoint's root is not base64") from error
        found = cls(origin=lines[0], size=int(lines[1]), root=root, extensions=tuple(lines[3:]))
        if found.text() != text or len(root) != 32:
            raise MalformedLineError("the checkpoint is not spelled as a log spells it")
        return found

    def extension(self, name: str) -> str | None:
        """Return what follows the name in the extension lines; None when no line has it."""
        return next(
            (line.removeprefix(f"{name} ") for line in self.extensions if line.startswith(f"{name} ")), None
        )


def sign(body: str, keys: Sequence[SignerKey]) -> str:
    """Return a signed note.

    Args:
        body: Text that ends with a newline.
        keys: Who signs.
    """
    lines = []
    for key in keys:
        signature = Ed25519PrivateKey.from_private_bytes(key.seed).sign(body.encode("utf-8"))
        packed = base64.b64encode(key.verifier.key_id + signature).decode("ascii")
        lines.append(f"{_DASH} {key.name} {packed}\n")
    return body + "\n" + "".join(lines)


def open_note(note: str, key: VerifierKey) -> str:
    """Return the body of a note that this key has signed.

    Raises:
        BadSignatureError: When it has not, or when a signature under its name is wrong.
    """
    body, signatures = _split_note(note)
    for name, packed in signatures:
        if name != key.name or packed[:4] != key.key_id:
            continue
        try:
            _public(key.raw).verify(packed[4:], body.encode("utf-8"))
        except InvalidSignature as error:
            raise BadSignatureError(f"the signature of `{key.name}` is wrong") from error
        return body
    signers = escape_line(", ".join(sorted({name for name, _ in signatures})), width=80)
    raise BadSignatureError(f"not signed by `{key.name}`, but by {signers}")


@lru_cache(maxsize=16)
def _public(raw: bytes) -> Ed25519PublicKey:
    """Return the key of those bytes, made once: a log has thousands of seals by one key."""
    return Ed25519PublicKey.from_public_bytes(raw)


def open_checkpoint(note: str, key: VerifierKey) -> Checkpoint:
    """Return the checkpoint in a note that this key has signed.

    Raises:
        BadSignatureError: When it has not signed it.
        MalformedLineError: When the note is no checkpoint.
    """
    return Checkpoint.parse(open_note(note, key))


def unverified_checkpoint(note: str) -> Checkpoint:
    """Return the checkpoint in a note without asking who signed it: a claim.

    Raises:
        MalformedLineError: When the note is no checkpoint.
    """
    try:
        return Checkpoint.parse(_split_note(note)[0])
    except BadSignatureError as error:
        raise MalformedLineError("the file is not a signed note") from error


def _split_note(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    body, gap, tail = note.rpartition("\n\n")
    if not gap or not tail.endswith("\n"):
        raise BadSignatureError("the text is not a signed note")
    signatures = []
    for line in tail.removesuffix("\n").split("\n"):
        match line.split(" "):
            case [dash, name, packed] if dash == _DASH:
                signatures.append((name, _decode(packed)))
            case _:
                raise BadSignatureError("a signature line is malformed")
    return body + "\n", signatures


def _decode(text: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise BadSignatureError("a signature line is not base64") from error
    if len(raw) < 5 or base64.b64encode(raw).decode("ascii") != text:
        raise BadSignatureError("a signature line is malformed")
    return raw


def _split_key(text: str) -> tuple[str, bytes]:
    name, _, rest = text.partition("+")
    _, _, packed = rest.partition("+")
    try:
        raw = base64.b64decode(packed, validate=True)
    except ValueError as error:
        raise BadKeyError("a key is spelled `name+id+base64`") from error
    if not _NAME.fullmatch(name) or len(raw) != 33 or raw[:1] != _ED25519:
        raise BadKeyError("a key is spelled `name+id+base64`, and is Ed25519")
    return name, raw[1:]
