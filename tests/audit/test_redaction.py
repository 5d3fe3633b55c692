"""A known secret is found in whatever spelling it is likely to take; what is no secret stays as it is."""

import base64
import json
import re
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.encode import Encoder
from audit.errors import ShortSecretError
from audit.event import ActionIntended
from audit.redact import Redactor, tag_of
from tests.audit.samples import TurnableClock

KEY = b"k" * 32
secrets = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=12, max_size=60)
around = st.text(st.characters(codec="utf-8"), max_size=10)


def encoded(text: str, secret: str, argument: object) -> bytes:
    event = ActionIntended(
        action="0123456789ab/1",
        argv=("x", text),
        command="x",
        arguments={text: argument},
        verdict="denied",
    )
    rest, moved = Encoder(TurnableClock(), redactor=Redactor({"name": secret}, key=KEY)).encode(event)
    assert moved is None
    return rest


@given(secrets, around, around)
def test_raw_in_text_keys_and_bytes(secret: str, before: str, after: str) -> None:
    line = encoded(before + secret + after, secret, before.encode() + secret.encode() + after.encode())

    assert f"[secret:name:{tag_of(secret, KEY)}]".encode() in line
    assert secret not in json.dumps(json.loads(line), ensure_ascii=False)
    assert json.dumps(secret)[1:-1].encode() not in line


@given(secrets, st.binary(max_size=7), st.binary(max_size=7))
def test_base64_at_any_alignment(secret: str, before: bytes, after: bytes) -> None:
    """Whatever stands before and after it, what is left of the secret in base64 is at most a few bits."""
    raw = secret.encode()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        written = encode(before + raw + after).decode()

        line = encoded(written, secret, written)

        assert b"[secret:name:" in line
        left = json.loads(line)["body"]["argv"][1].replace(f"[secret:name:{tag_of(secret, KEY)}]", "")
        assert len(left) <= len(written) - len(raw) * 8 // 6 + 2


@given(secrets)
def test_url_and_json_spellings(secret: str) -> None:
    spellings = [quote(secret, safe=""), quote(secret), quote_plus(secret), secret.encode().hex()]
    spellings += [quote(secret, safe="").lower() if secret.islower() else quote(secret, safe="")]
    spellings += [json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]]
    for written in spellings:
        line = encoded(f"https://h/?t={written}&x", secret, written)

        assert b"[secret:name:" in line
        assert written not in json.loads(line)["body"]["argv"][1]


def test_a_lone_surrogate_beside_it_does_not_hide_a_secret() -> None:
    line = encoded("\ud800 hunter2hunter2 \udfff", "hunter2hunter2", "\ud800hunter2hunter2")

    assert base64.b64encode("hunter2".encode("utf-16-le"))[:12] not in line
    assert b"hunter2" not in b"".join(
        base64.b64decode(part) for part in _base64_parts(json.loads(line)["body"])
    ).replace(b"\0", b"")


def _base64_parts(value: object) -> list[str]:
    if isinstance(value, dict):
        return [value["utf16"]] if "utf16" in value else [x for v in value.values() for x in _base64_parts(v)]
    return [x for v in value for x in _base64_parts(v)] if isinstance(value, list) else []


def test_what_is_no_secret_stays_byte_for_byte() -> None:
    without, _ = Encoder(TurnableClock()).encode(_plain())
    with_redactor, _ = Encoder(TurnableClock(), redactor=Redactor({"n": "not in there"}, key=KEY)).encode(
        _plain()
    )

    assert without == with_redactor


def _plain() -> ActionIntended:
    return ActionIntended(action="0123456789ab/1", argv=("a",), command="a", arguments={}, verdict="allowed")


def test_redacting_twice_is_redacting_once() -> None:
    redactor = Redactor({"token": "abcdef123456"}, key=KEY)
    once = redactor.text("x abcdef123456 y")

    assert redactor.text(once) == once


SHORT = st.text("abcdeftoksr[]:-_", min_size=6, max_size=12) | st.sampled_from(
    ["secret", "[secret", "postgres"]
)
NAMES = st.text("abcdeftoksr-_", min_size=1, max_size=8) | st.sampled_from(["secret", "postgres"])


@given(st.dictionaries(NAMES, SHORT, max_size=4), st.data())
def test_redaction_is_final_whatever_placeholders_hold(secrets: dict[str, str], data: st.DataObject) -> None:
    """A value may be a word of what stands for another, or of what stands for itself, as `postgres` is."""
    redactor = Redactor(secrets, key=b"k")
    tags = [tag_of(value, b"k") for value in secrets.values()]
    around = [*secrets.values(), *redactor.placeholders, *tags, "[secret:", "]", ":", "a", "x"]
    text = "".join(data.draw(st.lists(st.sampled_from(around), max_size=8)))

    once, raw = redactor.text(text), redactor.raw(text.encode())

    assert (redactor.text(once), redactor.raw(raw)) == (once, raw)
    assert raw == once.encode()
    between = re.split("|".join(map(re.escape, redactor.placeholders)) or "(?!)", once)
    assert not [value for value in secrets.values() for part in between if value in part]


@pytest.mark.parametrize("value", ["hunter22-hunter22", "secret"])
def test_what_an_agent_writes_as_a_placeholder_hides_no_secret(value: str) -> None:
    redactor = Redactor({"token": value}, key=b"k")
    own = next(iter(redactor.placeholders))

    assert redactor.text(f"[secret:{value}]") in (f"[secret:{own}]", f"[{own}:{own}]")
    assert redactor.text(f"[secret:token:{value}]") in (f"[secret:token:{own}]", f"[{own}:token:{own}]")
    assert redactor.text(f"{own}{value}") == own * 2


def test_a_longer_secret_that_contains_a_shorter_one_is_replaced_whole() -> None:
    redactor = Redactor({"short": "abcdef", "long": "abcdef123456"}, key=KEY)

    assert redactor.text("abcdef123456") == f"[secret:long:{tag_of('abcdef123456', KEY)}]"


def test_a_secret_too_short_to_be_told_from_text_is_refused_and_not_shown() -> None:
    with pytest.raises(ShortSecretError) as refused:
        Redactor({"pin": "1234"}, key=KEY)

    assert "1234" not in str(refused.value)


def test_a_secret_that_was_reversed_split_or_encoded_twice_is_not_recognised() -> None:
    """B104: hygiene and no wall, as docs/audit-format.md says; what holds is that a secret is not there."""
    known = "ghp-0123456789abcdef"
    redactor = Redactor({"github": known}, key=KEY)
    twice = base64.b64encode(base64.b64encode(known.encode())).decode()

    for hidden in (known[::-1], f"{known[:10]} {known[10:]}", twice):
        assert redactor.text(hidden) == hidden
    assert redactor.text(known) != known


def test_the_tag_needs_the_key() -> None:
    assert tag_of("secret value", KEY) != tag_of("secret value", b"j" * 32)


def test_a_name_cannot_forge_a_placeholder() -> None:
    redactor = Redactor({"a]\n[secret:b": "abcdef123456"}, key=KEY)

    assert redactor.text("abcdef123456") == f"[secret:a___secret_b:{tag_of('abcdef123456', KEY)}]"
