"""A note, a checkpoint or a key that is spelled in any other way than ours is refused, and is said to be."""

import base64
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from audit.errors import BadKeyError, BadSignatureError, MalformedLineError, StateFolderError
from audit.keys import redaction_key
from audit.note import (
    Checkpoint,
    SignerKey,
    VerifierKey,
    open_checkpoint,
    open_note,
    sign,
    unverified_checkpoint,
)
from audit.state import prepare

KEY = SignerKey.make("host", b"k" * 32)
OTHER = SignerKey.make("other", b"o" * 32)
AT = Checkpoint(origin="pairlock/host/x", size=3, root=b"r" * 32, extensions=("head ab",))
NOTE = sign(AT.text(), [KEY])
SIGNATURE = NOTE.rsplit(" ", 1)[1].removesuffix("\n")


def test_a_note_is_opened_by_the_key_that_signed_it_among_others() -> None:
    both = sign(AT.text(), [OTHER, KEY])

    assert open_checkpoint(NOTE, KEY.verifier) == AT
    assert open_checkpoint(both, KEY.verifier) == open_checkpoint(both, OTHER.verifier) == AT
    assert unverified_checkpoint(NOTE) == AT


def test_a_note_of_others_says_whose_it_is() -> None:
    with pytest.raises(BadSignatureError, match=r"^not signed by `host`, but by other$"):
        open_note(sign(AT.text(), [OTHER]), KEY.verifier)


def test_a_key_of_the_same_name_is_another_key() -> None:
    namesake = SignerKey.make("host", b"n" * 32)

    with pytest.raises(BadSignatureError, match=r"^not signed by `host`, but by host$"):
        open_note(NOTE, namesake.verifier)


NO_NOTE, BAD_LINE = "the text is not a signed note", "a signature line is malformed"
NOT_BASE64 = "a signature line is not base64"


@pytest.mark.parametrize(
    ("note", "why"),
    [
        pytest.param("", NO_NOTE, id="nothing"),
        pytest.param(AT.text(), NO_NOTE, id="no signature"),
        pytest.param(NOTE.removesuffix("\n"), NO_NOTE, id="no newline at its end"),
        pytest.param(AT.text() + "\n\n", NO_NOTE, id="no signature behind the gap"),
        pytest.param(NOTE.replace("\u2014", "-"), BAD_LINE, id="another dash"),
        pytest.param(NOTE.replace(" host ", " host host "), BAD_LINE, id="a word too many"),
        pytest.param(NOTE.replace(SIGNATURE, "A" + SIGNATURE[:-1] + "!"), NOT_BASE64, id="no base64"),
        pytest.param(NOTE.replace(SIGNATURE, "é"), NOT_BASE64, id="no ascii"),
        pytest.param(NOTE.replace(SIGNATURE, "AAAAAA=="), BAD_LINE, id="an id alone"),
        pytest.param(NOTE.replace(SIGNATURE, "AAAAAAB="), BAD_LINE, id="base64 that another one spells too"),
        pytest.param(NOTE + "\u2014 other AAAAAAB=\n", BAD_LINE, id="behind one that holds"),
    ],
)
def test_what_is_spelled_otherwise_is_no_note(note: str, why: str) -> None:
    with pytest.raises(BadSignatureError, match=f"^{re.escape(why)}$"):
        open_note(note, KEY.verifier)
    with pytest.raises(MalformedLineError, match=r"^the file is not a signed note$"):
        unverified_checkpoint(note)


def test_a_short_signature_under_the_right_name_is_wrong_and_not_unread() -> None:
    short = base64.b64encode(KEY.verifier.key_id + b"x").decode()

    with pytest.raises(BadSignatureError, match=r"^the signature of `host` is wrong$"):
        open_note(NOTE.replace(SIGNATURE, short), KEY.verifier)


ROOT = base64.b64encode(b"r" * 32).decode()
NO_CHECKPOINT = "the note is not a checkpoint"
SPELLED = "the checkpoint is not spelled as a log spells it"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param(f"x\n3\n{ROOT}", NO_CHECKPOINT, id="no newline behind its root"),
        pytest.param("x\n3\n", NO_CHECKPOINT, id="no root"),
        pytest.param(f"x\n\u0663\n{ROOT}\n", NO_CHECKPOINT, id="digits of another script"),
        pytest.param(f"x\n-3\n{ROOT}\n", NO_CHECKPOINT, id="a negative size"),
        pytest.param(f"x\n{'9' * 17}\n{ROOT}\n", NO_CHECKPOINT, id="a size that no log reaches"),
        pytest.param(f"x\n{'9' * 5000}\n{ROOT}\n", NO_CHECKPOINT, id="a size that no integer is read from"),
        pytest.param("x\n3\n!\n", "the checkpoint's root is not base64", id="a root of no base64"),
        pytest.param("x\n3\né\n", "the checkpoint's root is not base64", id="a root of no ascii"),
        pytest.param(f"x\n03\n{ROOT}\n", SPELLED, id="a zero before its size"),
        pytest.param(f"x\n3\n{base64.b64encode(b'r' * 31).decode()}\n", SPELLED, id="a short root"),
    ],
)
def test_what_is_spelled_otherwise_is_no_checkpoint(text: str, why: str) -> None:
    with pytest.raises(MalformedLineError, match=f"^{re.escape(why)}$"):
        Checkpoint.parse(text)


def test_a_checkpoint_without_extensions_is_one() -> None:
    found = Checkpoint.parse(f"x\n3\n{ROOT}\n")

    assert found == Checkpoint(origin="x", size=3, root=b"r" * 32)
    assert found.extension("head") is None
    assert AT.extension("head") == "ab"


PUBLIC, PRIVATE = str(KEY.verifier), KEY.secret_text()
SPELLING = "a key is spelled `name+id+base64`"


def other_id(text: str) -> str:
    """Return a key with the id of no key."""
    return text.replace(KEY.verifier.key_id.hex(), "00000000")


def test_keys_are_read_back_as_they_are_spelled() -> None:
    assert VerifierKey.parse(f" {PUBLIC}\n") == KEY.verifier
    assert SignerKey.parse(f"{PRIVATE}\n") == KEY


@pytest.mark.parametrize(
    ("parse", "text", "why"),
    [
        pytest.param(
            VerifierKey.parse, other_id(PUBLIC), "the id in key `host` does not belong to it", id="id"
        ),
        pytest.param(VerifierKey.parse, "host+00+!", SPELLING, id="no base64"),
        pytest.param(VerifierKey.parse, "host+00+AA==", f"{SPELLING}, and is Ed25519", id="short"),
        pytest.param(
            VerifierKey.parse, PUBLIC.replace("host", "a b"), f"{SPELLING}, and is Ed25519", id="name"
        ),
        pytest.param(
            VerifierKey.parse,
            f"host+{PUBLIC.split('+')[1]}+{base64.b64encode(bytes([2]) + KEY.verifier.raw).decode()}",
            f"{SPELLING}, and is Ed25519",
            id="another kind",
        ),
        pytest.param(
            SignerKey.parse,
            PUBLIC,
            "the file holds no private key of the signed-note form",
            id="a public one",
        ),
        pytest.param(
            SignerKey.parse,
            other_id(PRIVATE),
            "the id in private key `host` does not belong to it",
            id="its id",
        ),
    ],
)
def test_what_is_spelled_otherwise_is_no_key(parse: Callable[[str], object], text: str, why: str) -> None:
    with pytest.raises(BadKeyError, match=f"^{re.escape(why)}$"):
        parse(text)


@pytest.mark.parametrize(
    ("name", "seed"),
    [("a b", b"k" * 32), ("a+b", b"k" * 32), ("", b"k" * 32), ("host", b"k" * 31), ("x" * 201, b"k" * 32)],
)
def test_no_key_is_made_that_could_not_be_read_back(name: str, seed: bytes) -> None:
    with pytest.raises(BadKeyError, match=re.escape(f"a key cannot be named `{name}`")):
        SignerKey.make(name, seed)


def test_a_key_never_shows_its_secret() -> None:
    assert PRIVATE.rsplit("+", 1)[1] not in repr(KEY)
    assert "seed" not in repr(KEY)


@pytest.mark.parametrize("content", ["no hexadecimal", "ab" * 31, "ab" * 33, ""])
def test_a_redaction_key_that_was_spoilt_is_refused_and_not_made_anew(tmp_path: Path, content: str) -> None:
    """A new one would let no tag that was ever written be found again."""
    files = prepare(tmp_path / "state")
    made = redaction_key(files)
    assert (len(made), redaction_key(files)) == (32, made)
    files.redaction_key.write_text(content)

    with pytest.raises(BadKeyError, match=f"^`{files.redaction_key.name}` holds no key$"):
        redaction_key(files)

    assert files.redaction_key.read_text() == content


def test_a_redaction_key_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    files = prepare(tmp_path / "state")
    redaction_key(files)
    files.redaction_key.rename(tmp_path / "elsewhere")
    files.redaction_key.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(StateFolderError, match=f"^`{files.redaction_key.name}` cannot be read: "):
        redaction_key(files)
