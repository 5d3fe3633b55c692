"""Keys: made on first use, kept private, pinned as text, rotated with the old key's word."""

import json
from pathlib import Path

import pytest

from audit import keys
from audit.errors import BadKeyError, BadSignatureError, MalformedLineError, StateFolderError
from audit.host import HostLog
from audit.host_event import PolicyTrusted
from audit.index import read_index
from audit.keys import pin
from audit.note import (
    Checkpoint,
    SignerKey,
    VerifierKey,
    open_checkpoint,
    open_note,
    sign,
)
from audit.state import StateFiles
from audit.verdict import Forged, Pinned
from audit.verify import verify_all
from tests.audit import third_party
from tests.audit.samples import Recorder

TRUST = PolicyTrusted(origin="p", digest="0" * 64, by="a test")


def test_the_vector_of_the_signed_note_specification_verifies() -> None:
    """The example note of Go's golang.org/x/mod/sumdb/note, whose form C2SP specifies."""
    vkey = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    note = (
        "If you think cryptography is the answer to your problem,\n"
        "then you don't know what your problem is.\n"
        "\n"
        "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXg"
        "KvqfqdngotpRZb6KE6RyyBwJnAM=\n"
    )

    assert open_note(note, VerifierKey.parse(vkey)).endswith("problem is.\n")


def test_a_note_changed_by_one_letter_is_refused() -> None:
    key = SignerKey.make("a", b"s" * 32)
    note = sign("one\ntwo\n", [key])

    assert open_note(note, key.verifier) == "one\ntwo\n"
    with pytest.raises(BadSignatureError):
        open_note(note.replace("two", "twa"), key.verifier)


def test_a_key_of_the_same_name_is_not_the_same_key() -> None:
    note = sign("one\n", [SignerKey.make("a", b"s" * 32)])

    with pytest.raises(BadSignatureError):
        open_note(note, SignerKey.make("a", b"t" * 32).verifier)


@pytest.mark.parametrize(
    "text",
    ["", "a", "a+b", "a+00000000+", "a+00000000+AAAA", "a b+00000000+AQ==", "PRIVATE+KEY+a+0+AA=="],
)
def test_what_is_no_key_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(BadKeyError) as refused:
        VerifierKey.parse(text)

    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("given", ["", "foo", "a\x1b[2Jb", "foo+0a1b+c2VjcmV0", "mistyped"])
def test_what_was_given_in_place_of_a_key_is_answered_with_its_form(state: Path, given: str) -> None:
    """Nothing of it is repeated: it may be a part of a private key."""
    if given == "mistyped":
        given = str(SignerKey.make("foo", b"s" * 32).verifier).replace("foo+", "fop+")
    wanted = (
        "that is no public key; hint: `name+id+base64`, as in "
        "`pairlock-5b21ada6+0c4d1f7e+Aa3f...`; `pairlock audit key show` prints it"
    )

    for act in (lambda: pin(StateFiles(state), given), lambda: [*verify_all(state, pinned_vkey=given)]):
        with pytest.raises(BadKeyError) as refused:
            act()
        assert str(refused.value) == wanted
        assert refused.value.__suppress_context__
    assert not StateFiles(state).pinned_vkey.exists()


@pytest.mark.parametrize("lost", [0, 3])
def test_a_private_key_given_for_a_public_one_is_not_repeated(state: Path, lost: int) -> None:
    key = SignerKey.make("a", b"s" * 32)

    with pytest.raises(BadKeyError, match=r"^that is a private key; hint: `pairlock audit key show` prints"):
        pin(StateFiles(state), f" {key.secret_text()[: -lost or None]}\n")
    state.mkdir()
    assert pin(StateFiles(state), str(key.verifier)) == key.verifier


def test_no_end_of_a_private_key_repeats_its_secret(state: Path) -> None:
    """Where its head is lost, nothing tells that it is one; the secret's own plus sign is no key's."""
    key = SignerKey.make("pairlock-1", b"abcdefgh\xf9ijklmnopqrstuvwxyz12345")
    text = key.secret_text()
    secret = text[text.index(key.verifier.key_id.hex()) + 9 :]
    assert "+" in secret[:20]

    for lost in range(text.index("E+KEY"), len(text)):
        with pytest.raises(BadKeyError) as refused:
            pin(StateFiles(state), text[lost:])
        assert not [at for at in range(len(secret) - 3) if secret[at : at + 4] in str(refused.value)], lost


def test_a_private_key_shows_itself_nowhere() -> None:
    key = SignerKey.make("a", b"s" * 32)

    assert SignerKey.parse(key.secret_text()) == key
    assert key.secret_text().split("+")[-1] not in repr(key)
    with pytest.raises(BadKeyError) as refused:
        SignerKey.parse(key.secret_text()[:-4] + "AAAA")
    assert "c3Nz" not in str(refused.value)


@pytest.mark.parametrize(
    "body",
    [
        "o\n1\n",
        "o\nx\nAAAA\n",
        "o\n01\n" + "A" * 43 + "=\n",
        "o\n1\nAAAA\n",
        "o\n\u0661\n" + "A" * 43 + "=\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(body: str) -> None:
    key = SignerKey.make("a", b"s" * 32)

    with pytest.raises(MalformedLineError):
        open_checkpoint(sign(body, [key]), key.verifier)


def test_a_checkpoint_comes_back_as_it_was() -> None:
    key = SignerKey.make("a", b"s" * 32)
    checkpoint = Checkpoint(origin="o", size=7, root=b"r" * 32, extensions=("head 00", "next x"))

    assert open_checkpoint(sign(checkpoint.text(), [key]), key.verifier) == checkpoint
    assert checkpoint.extension("head") == "00"


def test_a_host_key_that_is_gone_is_named_and_not_made_anew(state: Path) -> None:
    with HostLog(state) as host:
        (state / "host.key").unlink()

        with pytest.raises(BadKeyError, match=r"there is no `host\.key`"):
            host.append(TRUST)

    assert not (state / "host.key").exists()


def test_a_host_key_that_others_can_read_is_not_used(state: Path) -> None:
    with HostLog(state):
        pass
    (state / "host.key").chmod(0o644)

    with pytest.raises(StateFolderError):
        HostLog(state)


def test_after_a_rotation_the_old_pin_still_holds_and_the_new_one_too(state: Path) -> None:
    files = StateFiles(state)
    with HostLog(state) as host:
        first = files.host_vkey.read_text()
        host.append(TRUST)
        fresh = host.rotate()
        host.append(TRUST)

    for known in (first, str(fresh.verifier), files.host_vkey.read_text()):
        (found,) = verify_all(state, pinned_vkey=known)
        assert found.faults() == {}
        assert isinstance(found.authenticity, Pinned)
        assert third_party.faults(state, known) == []
    with HostLog(state) as host:
        host.append(TRUST)
    assert read_index(files).broken is None


def test_what_hands_over_to_a_new_key_is_no_checkpoint_of_the_log_before(state: Path) -> None:
    """Else whoever holds no key could roll back to just before the rotation."""
    files = StateFiles(state)
    with HostLog(state) as host:
        pin = files.host_vkey.read_text()
        host.append(TRUST)
        before = files.checkpoint.read_text()
        host.rotate()
    *kept, rotation = files.log.read_bytes().splitlines(keepends=True)
    files.log.write_bytes(b"".join(kept))

    files.checkpoint.write_text(json.loads(rotation)["body"]["note"])

    (found,) = verify_all(state, pinned_vkey=pin)
    assert isinstance(found.authenticity, Forged)
    assert str(read_index(files).broken) == "it is not what its checkpoint signs"
    assert third_party.faults(state, pin) == ["the checkpoint does not hold"]
    files.checkpoint.write_text(before)
    (found,) = verify_all(state, pinned_vkey=pin)
    assert (found.faults(), third_party.faults(state, pin)) == ({}, [])


def test_a_new_key_that_the_old_one_does_not_vouch_for_is_refused(state: Path) -> None:
    """Whoever holds no key writes a rotation to a key of theirs, and signs on with that."""
    files = StateFiles(state)
    with HostLog(state) as host:
        pin = files.host_vkey.read_text()
        host.rotate()
    from tests.audit.attacker import read_lines, recompute, write_lines

    thief = SignerKey.make("thief", b"t" * 32)
    lines = read_lines(files.log)
    fields = json.loads(lines[-1])
    name = json.loads(lines[0])["body"]["name"]
    fields["body"]["new_vkey"] = str(thief.verifier)
    fields["body"]["note"] = sign(fields["body"]["note"].split("\n\n")[0] + "\n", [thief])
    forged = recompute([*lines[:-1], json.dumps(fields).encode()], f"pairlock/host/{name}")
    write_lines(files.log, forged)
    from audit.chain import Chain

    chain = Chain.start(f"pairlock/host/{name}")
    for line in forged:
        chain.take(line)
    files.checkpoint.write_text(sign(chain.checkpoint(f"pairlock/host/{name}").text(), [thief]))

    (found,) = verify_all(state, pinned_vkey=pin)

    assert isinstance(found.authenticity, Forged)
    assert third_party.faults(state, pin) != []


@pytest.mark.parametrize("moment", ["before the entry", "before the key is put in place"])
def test_a_rotation_cut_short_is_forgotten_or_finished(state: Path, moment: str) -> None:
    files = StateFiles(state)
    with HostLog(state) as host:
        old = files.host_key.read_bytes()
        if moment == "before the entry":
            keys.prepare_rotation(files)
        else:
            fresh = host.rotate()
            files.next_host_key.write_text(f"{fresh.secret_text()}\n")
            files.next_host_key.chmod(0o600)
            files.host_key.write_bytes(old)

    with HostLog(state) as host:
        host.append(TRUST)

    assert not files.next_host_key.exists()
    assert read_index(files).broken is None
    assert (files.host_key.read_bytes() == old) is (moment == "before the entry")


def test_a_pinned_key_in_the_state_folder_is_used_unless_another_is_given(state: Path) -> None:
    with HostLog(state) as host:
        files = host.files
    keys.pin(files, files.host_vkey.read_text())

    (found,) = verify_all(state)

    assert isinstance(found.authenticity, Pinned)


def private_keys_in(folder: Path) -> set[str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.name for path in files if b"PRIVATE+KEY" in path.read_bytes()}


async def test_no_secret_key_is_ever_written_for_a_session(recorder: Recorder, state: Path) -> None:
    await recorder.whole(actions=3)

    assert private_keys_in(state) == {"host.key"}


def test_the_redaction_key_is_made_once(state: Path) -> None:
    from audit.state import prepare

    files = prepare(state)

    assert keys.redaction_key(files) == keys.redaction_key(files)
