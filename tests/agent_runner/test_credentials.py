"""Credentials of the operator's: fetched on the host, bound to hosts, refused in one line when unfit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent_runner import models
from agent_runner.credentials import EMPTY, FRESH_SECONDS, Keyring, keyring_for
from agent_runner.errors import InvalidInputError
from agent_runner.models import configured_credentials
from policies.source import parse_policy
from sandbox.egress.credentials import Credential, Mask

if TYPE_CHECKING:
    from pathlib import Path

    from policies.policy import Policy

SECRET = "value-of-the-operator"  # noqa: S105 - made up
BOUND = "hosts: [api.example.com]"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the path of the operator's configuration."""
    path = tmp_path / "config.yaml"
    monkeypatch.setattr(models, "configuration_path", lambda: path)
    return path


def policy(host: str = "api.example.com", more: str = ", credential: github") -> Policy:
    """Write a policy with one rule."""
    text = f"version: 1\nname: x\ngrant: [network]\nnetwork: {{allow: [{{host: {host}{more}}}]}}\n"
    return parse_policy(text, origin="test.yaml")


def write(config: Path, reference: str) -> None:
    """Configure one credential."""
    config.write_text(f"version: 1\ncredentials:\n  github: {{{reference}}}\n")


async def test_the_value_comes_from_the_environment_a_file_or_a_command(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPERATORS_TOKEN", SECRET)
    (tmp_path / "token").write_text(f"{SECRET}\n")
    for source in ("env: OPERATORS_TOKEN", f"file: {tmp_path}/token", f"command: [cat, {tmp_path}/token]"):
        write(config, f"{source}, {BOUND}")

        keyring = await keyring_for(policy(), configured_credentials)

        assert await keyring.find("github") == Credential(value=SECRET)
        assert keyring.values == {"github": SECRET}
        assert await keyring.find("gitlab") is None


async def test_a_credential_is_sent_as_the_operator_says(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPERATORS_TOKEN", SECRET)
    sent = {
        "kind: basic, user: me": ("authorization", "Basic bWU6dmFsdWUtb2YtdGhlLW9wZXJhdG9y"),
        "kind: header, header: X-Api-Key": ("x-api-key", SECRET),
        "kind: bearer": ("authorization", f"Bearer {SECRET}"),
    }
    for kind, expected in sent.items():
        write(config, f"env: OPERATORS_TOKEN, {BOUND}, {kind}")

        found = await (await keyring_for(policy(), configured_credentials)).find("github")

        assert found is not None
        assert found.headers() == (expected,)


async def test_a_policy_without_a_credential_reads_no_configuration(config: Path) -> None:
    config.write_text("not: [valid")  # noqa: ASYNC240 - nothing else runs

    assert await keyring_for(policy(more=""), configured_credentials) is EMPTY


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("env: NOT_SET_AT_ALL, " + BOUND, "environment variable NOT_SET_AT_ALL is empty or not set"),
        ("file: /does/not/exist, " + BOUND, "file /does/not/exist cannot be read"),
        ("command: ['false'], " + BOUND, "command false ended with exit code 1"),
        ("command: [echo, short], " + BOUND, "has 5 characters, expected at least 6"),
        ("env: OPERATORS_TOKEN, hosts: [other.example.com]", "may go to `other.example.com` only"),
        ("env: OPERATORS_TOKEN, hosts: [example.com]", "may go to `example.com` only"),
        ("env: OPERATORS_TOKEN", "config.yaml:3:3: key `hosts` is missing in `credentials.github`"),
        ("env: OPERATORS_TOKEN, hosts: []", "config.yaml:3:34: `credentials.github.hosts`"),
        ("env: OPERATORS_TOKEN, hosts: ['*.com']", "too wide"),
        (f"{BOUND}", "expected exactly one of `env`, `file`, `command`"),
        (f"env: OPERATORS_TOKEN, {BOUND}, kind: basic", "expected `user` with `kind: basic`"),
        (f"env: OPERATORS_TOKEN, {BOUND}, user: me", "expected `user` with `kind: basic`"),
        (f"env: OPERATORS_TOKEN, {BOUND}, kind: header", "expected `header` with `kind: header`"),
        (f"env: OPERATORS_TOKEN, {BOUND}, kind: header, header: Host", "belongs to the connection"),
        (f"env: OPERATORS_TOKEN, {BOUND}, value: {SECRET}", "value"),
    ],
)
async def test_a_credential_that_does_not_fit_is_refused_before_anything_starts(
    config: Path, monkeypatch: pytest.MonkeyPatch, reference: str, said: str
) -> None:
    monkeypatch.setenv("OPERATORS_TOKEN", SECRET)
    write(config, reference)

    with pytest.raises(InvalidInputError) as refused:
        await keyring_for(policy(), configured_credentials)

    assert said in refused.value.message + refused.value.hint
    assert SECRET not in str(refused.value)


async def test_a_credential_that_nobody_configured_is_refused_with_the_line_that_mends_it(
    config: Path,
) -> None:
    config.write_text("version: 1\n")  # noqa: ASYNC240 - nothing else runs

    with pytest.raises(InvalidInputError) as refused:
        await keyring_for(policy(), configured_credentials)

    assert "`github`, which is not configured" in refused.value.message
    assert "hosts: [api.example.com]" in refused.value.hint


async def test_b83_a_policy_cannot_send_a_credential_to_a_host_that_the_operator_did_not_name(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its twin: the host itself, and names below a wildcard that the operator wrote."""
    monkeypatch.setenv("OPERATORS_TOKEN", SECRET)
    write(config, "env: OPERATORS_TOKEN, hosts: ['*.example.com', example.com]")

    for host in ("evil.com", "example.com.evil.com", "notexample.com", "'*.example.org'"):
        with pytest.raises(InvalidInputError, match="may go to"):
            await keyring_for(policy(host), configured_credentials)
    for host in ("example.com", "api.example.com", "'*.example.com'", "'*.api.example.com'"):
        assert (await keyring_for(policy(host), configured_credentials)).values


async def test_a_token_that_a_command_prints_is_fetched_again_when_it_is_old(
    config: Path, tmp_path: Path
) -> None:
    """Whoever keeps values out of the ledger knows the new one before anybody can use it."""
    token, hours, learnt = (
        tmp_path / "token",
        iter((0.0, FRESH_SECONDS - 1, FRESH_SECONDS, FRESH_SECONDS * 3)),
        [],
    )
    token.write_text(f"{SECRET}-1")
    write(config, f"command: [cat, {token}], {BOUND}")
    fetched = await keyring_for(policy(), configured_credentials)
    keyring = Keyring(
        {"github": Credential(value=f"{SECRET}-1")},
        fetched.values,
        configured_credentials(),
        monotonic=lambda: next(hours),
    )
    token.write_text(f"{SECRET}-2")

    keyring.told_to(lambda name, value: learnt.append((name, value)))
    young = await keyring.find("github")
    old = await keyring.find("github")
    token.unlink()
    kept = await keyring.find("github")

    assert young == Credential(value=f"{SECRET}-1")
    assert old == kept == Credential(value=f"{SECRET}-2", former=(f"{SECRET}-1",))
    assert learnt == [("github", f"{SECRET}-2")]


async def test_the_two_values_of_before_stay_out_of_answers_and_of_what_is_printed(
    config: Path, tmp_path: Path
) -> None:
    """A server may send a token back that was replaced while it worked; one long gone is forgotten."""
    token, hours = tmp_path / "token", iter(FRESH_SECONDS * hour for hour in range(9))
    token.write_text(f"{SECRET}-0")
    write(config, f"command: [cat, {token}], {BOUND}, kind: basic, user: me")
    fetched = await keyring_for(policy(), configured_credentials)
    first = configured_credentials()["github"].credential(f"{SECRET}-0")
    keyring = Keyring(
        {"github": first}, fetched.values, configured_credentials(), monotonic=lambda: next(hours)
    )
    keyring.told_to(lambda _name, _value: None)
    for number in range(1, 4):
        token.write_text(f"{SECRET}-{number}")
        found = await keyring.find("github")

    assert found is not None
    mask = Mask(found.echoes())
    shown = [mask.whole(f"{SECRET}-{number}".encode()) for number in range(4)]
    assert [set(text) == {ord("*")} for text in shown] == [False, True, True, True]
    assert found.headers() == first.__class__(value=f"me:{SECRET}-3", kind="basic").headers()
    assert SECRET not in repr(found)


async def test_nothing_is_fetched_again_where_nobody_would_learn_of_it(config: Path, tmp_path: Path) -> None:
    hours = iter((0.0, FRESH_SECONDS * 2))
    write(config, f"command: [cat, {tmp_path}/nothing], {BOUND}")
    known = {"github": Credential(value=SECRET)}
    keyring = Keyring(known, {"github": SECRET}, configured_credentials(), monotonic=lambda: next(hours))

    assert await keyring.find("github") == Credential(value=SECRET)
