"""The `http` command, through a real egress gate against servers on loopback."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from cli_tools import http
from cli_tools.action import Catalogue, LineProposal, ToolProposal
from cli_tools.command import Outcome, Surroundings
from cli_tools.errors import ActionError, UsageError
from policies.request import Allowed, HttpUse
from tests.sandbox.egress.ground import Server, gate_for, rule, rules, serving

if TYPE_CHECKING:
    from sandbox.egress.gate import EgressGate
    from sandbox.session import Sandbox

CATALOGUE = Catalogue(http.COMMANDS)


def around(gate: EgressGate | None, body: bytes | None = None) -> Surroundings:
    # No `http` command touches the sandbox.
    return Surroundings(sandbox=cast("Sandbox", None), egress=gate, allowed=Allowed(), body=body)


async def act(gate: EgressGate | None, line: str, *, body: bytes | None = None) -> Outcome:
    action = CATALOGUE.parse(LineProposal(line=line, body=body))
    return await action.command.act(around(gate, action.body), **action.parameters)


def page(kind: str, body: bytes, status: str = "200 OK", extra: str = "") -> Server:
    head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n{extra}\r\n"
    return Server(head.encode() + body)


async def shown(server: Server, line: str) -> Outcome:
    async with serving(server), gate_for(rules(rule("127.0.0.1", server.port))) as kept:
        return await act(kept.gate, line.format(url=f"http://127.0.0.1:{server.port}/x"))


async def test_get_shows_status_selected_headers_and_text() -> None:
    outcome = await shown(
        page("text/plain", b"hello\n", extra="set-cookie: a=b\r\netag: 1\r\n"), "http get {url}"
    )

    assert outcome.output == b"HTTP 200 OK\ncontent-type: text/plain\netag: 1\n\nhello\n"
    assert outcome.exit_code == 0


async def test_html_is_made_readable_unless_raw_is_asked_for() -> None:
    html = b"<title>T</title><script>x</script><p>one <a href='/two'>two</a>"

    readable = await shown(page("text/html; charset=utf-8", html), "http get {url}")
    raw = await shown(page("text/html; charset=utf-8", html), "http get --raw {url}")

    assert readable.output.endswith(b"\n\nT\n\none two </two>\n")
    assert raw.output.endswith(html)


async def test_json_is_indented() -> None:
    outcome = await shown(page("application/json", b'{"a":[1]}'), "http get {url}")

    assert outcome.output.endswith(b'{\n  "a": [\n    1\n  ]\n}\n')


async def test_binary_is_counted_and_not_shown() -> None:
    outcome = await shown(page("image/png", b"\x89PNG\0\0"), "http get {url}")

    assert outcome.output.endswith(b"(6 bytes that are not text)\n")


async def test_head_has_no_body() -> None:
    answer = Server(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")

    outcome = await shown(answer, "http head {url}")

    assert outcome.output == b"HTTP 200 OK\n"


async def test_an_error_status_is_exit_1_and_a_redirect_says_that_it_was_not_followed() -> None:
    missing = await shown(page("text/plain", b"no", "404 Not Found"), "http get {url}")
    moved = await shown(page("text/plain", b"", "302 Found", "location: http://x/\r\n"), "http get {url}")

    assert missing.exit_code == 1
    assert "not followed" in moved.note
    assert b"location: http://x/" in moved.output


async def test_a_post_sends_its_body_where_the_method_is_named_and_is_denied_elsewhere() -> None:
    server = page("text/plain", b"ok")
    async with serving(server):
        url = f"http://127.0.0.1:{server.port}/"
        async with gate_for(rules(rule("127.0.0.1", server.port, methods=("POST",)))) as kept:
            await act(kept.gate, f"http post {url}", body=b'{"a":1}')
        async with gate_for(rules(rule("127.0.0.1", server.port))) as kept:
            with pytest.raises(ActionError) as denied:
                await act(kept.gate, f"http post {url}", body=b"{}")

    assert denied.value.code == "method"
    assert len(server.heads) == 1
    assert b"content-type: application/json\r\ncontent-length: 7\r\n" in server.heads[0]


async def test_a_session_without_network_has_no_way_out() -> None:
    with pytest.raises(ActionError) as refused:
        await act(None, "http get https://example.com/")
    assert refused.value.code == "capability"


async def test_a_host_that_no_rule_names_is_denied_with_its_code() -> None:
    async with gate_for(rules()) as kept:
        with pytest.raises(ActionError) as denied:
            await act(kept.gate, "http get https://example.com/")
    assert denied.value.code == "host"


@pytest.mark.parametrize("header", ["Host: evil", "nocolon", ": x", "Content-Length: 3"])
async def test_a_header_that_is_the_gates_own_is_wrong_usage(header: str) -> None:
    async with gate_for(rules()) as kept:
        with pytest.raises(UsageError):
            await act(kept.gate, f"http get --header '{header}' https://example.com/")


@pytest.mark.parametrize(
    ("line", "method"),
    [
        ("http get https://a.example/", "GET"),
        ("http head https://a.example/", "HEAD"),
        ("http post https://a.example/", "POST"),
        ("http put https://a.example/", "PUT"),
        ("http delete https://a.example/", "DELETE"),
    ],
)
def test_the_policy_is_asked_with_the_method_and_the_url_and_the_url_is_the_sink(
    line: str, method: str
) -> None:
    action = CATALOGUE.parse(LineProposal(line=line))

    assert action.request().http == (HttpUse(method=method, url="https://a.example/"),)
    assert dict(action.command.sinks) == {"url": "url"}


def test_every_example_parses_and_a_tool_call_means_the_same() -> None:
    for command in http.COMMANDS:
        for example in command.examples:
            assert CATALOGUE.parse(LineProposal(line=example)).command is command
    called = CATALOGUE.parse(
        ToolProposal(tool="http_get", arguments='{"url": "https://a.example/", "raw": true}')
    )
    written = CATALOGUE.parse(LineProposal(line="http get --raw https://a.example/"))
    assert called.parameters == written.parameters
