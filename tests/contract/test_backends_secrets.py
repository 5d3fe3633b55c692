"""What leaves with a request and what never does: keys, headers, and the environment."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from agent_runner.backends.key import KeyReference
from tests.contract.model_server import (
    PATHS,
    Dialect,
    Saying,
    answer,
    serving,
)

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
from tests.contract.asking import SECRET, asked, backend_for, refused


async def test_the_key_goes_in_its_header_and_nowhere_else(dialect: Dialect, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{SECRET}\n")
    reference = KeyReference(file=str(tmp_path / "key"))
    async with serving(Saying(text="Yes.").play(dialect)) as server:
        await asked(backend_for(server, dialect, key=reference))

    name, value = ("authorization", f"Bearer {SECRET}") if dialect == "chat" else ("x-api-key", SECRET)
    holding = {header: text for header, text in server.asked[0].headers.items() if SECRET in text}
    assert holding == {name: value}
    assert SECRET.encode() not in server.asked[0].body


async def test_a_key_that_the_server_echoes_is_not_in_the_error(dialect: Dialect, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(SECRET)
    reference = KeyReference(file=str(tmp_path / "key"))
    body = {"error": {"message": f"Incorrect API key provided: {SECRET}."}}
    async with serving(answer(401, body)) as server:
        error = await refused(backend_for(server, dialect, key=reference))

    assert "Incorrect API key provided: [key]." in error.message
    assert "does not accept the key" in error.hint
    assert SECRET not in error.message + error.hint


async def test_the_key_does_not_follow_a_redirect(dialect: Dialect, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(SECRET)
    reference = KeyReference(file=str(tmp_path / "key"))
    async with serving(Saying(text="Stolen.").play(dialect)) as thief:
        for status in (301, 302, 307, 308):
            location = f"{thief.origin}{PATHS[dialect]}"
            async with serving(answer(status, "", {"location": location})) as server:
                error = await refused(backend_for(server, dialect, key=reference))
            assert (error.failure.kind, error.failure.status) == ("refused", status)

    assert thief.asked == []


async def test_nothing_of_the_environment_leaves_or_leads_elsewhere(
    dialect: Dialect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDKs would read keys, headers, addresses, profiles and proxies from the environment."""
    async with serving(Saying(text="Stolen.").play(dialect)) as thief:
        for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
            monkeypatch.setenv(name, SECRET)
        for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"):
            monkeypatch.setenv(name, SECRET)
        for name in ("OPENAI_CUSTOM_HEADERS", "ANTHROPIC_CUSTOM_HEADERS"):
            monkeypatch.setenv(name, f"x-evil: {SECRET}\nanthropic-beta: mcp-client\nauthorization: {SECRET}")
        for name in ("OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, thief.origin)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        async with serving(Saying(text="Yes.").play(dialect)) as server:
            reply = await asked(backend_for(server, dialect))

    headers = server.asked[0].headers
    assert reply.text == "Yes."
    assert thief.asked == []
    assert SECRET not in json.dumps(headers)
    known = {
        "host",
        "accept",
        "accept-encoding",
        "connection",
        "content-length",
        "content-type",
        "user-agent",
    }
    assert set(headers) - known == (set() if dialect == "chat" else {"anthropic-version"})
