"""The connectors of whole sessions: from the operator's configuration to the ledger."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent_runner import models
from agent_runner.connectors import connectors_of
from agent_runner.connectors_gated import GatedConnector
from agent_runner.connectors_ordered import Ordered
from agent_runner.errors import InvalidInputError
from agent_runner.housing import Order
from agent_runner.traffic import Traffic
from audit.journal import Journal, Registration
from cli_tools.errors import ActionError
from policies.source import parse_policy
from sandbox.egress.errors import GateLostError
from sandbox.egress.owner import no_credentials
from tests.agent_runner.stand import FINISH, SESSION, lines, saying
from tests.cli_tools.answering import TOKEN, Request, served
from tests.cli_tools.slack.slack_server import Slack
from tests.sandbox.egress.ground import Server, gate_for, make_authority, rule, rules, serving

if TYPE_CHECKING:
    from aiohttp import web

    from tests.agent_runner.stand import Stand

POLICY = """version: 1
name: x
grant: [files, network]
network: {allow: [], deny: [DENIED]}
commands: {allow: ["slack *"], rules: [{command: slack post, arguments: {channel: ["#ci"]}}]}
"""
CONFIGURED = """version: 1
credentials: {team: {env: TEAM_TOKEN, hosts: [127.0.0.1]}}
connectors: {slack: {credential: team, base_url: "https://127.0.0.1:PORT/api", private: true, ca_file: CA}}
"""


def configure(monkeypatch: pytest.MonkeyPatch, folder: Path, text: str) -> None:
    path = folder / "config.yaml"
    path.write_text(text)
    monkeypatch.setattr(models, "configuration_path", lambda: path)
    monkeypatch.setenv("TEAM_TOKEN", TOKEN)


def policy(denied: str = "nowhere.example") -> str:
    return POLICY.replace("DENIED", denied)


async def test_a_session_posts_through_its_connector_and_every_connection_is_in_the_ledger(
    stand: Stand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, slack = make_authority(tmp_path), Slack()
    async with served(slack, authority) as server:
        text = CONFIGURED.replace("PORT", str(server.port)).replace("CA", str(authority.file))
        configure(monkeypatch, tmp_path, text)

        post = f"slack post --channel '#ci' --text 'the token is {TOKEN}'"
        ended = await stand.run(saying(lines(post), FINISH), policy())

    assert ended.status == "done"
    assert slack.posted[0]["text"] == f"the token is {TOKEN}"
    (opened,), (closed,) = stand.entries("egress.opened"), stand.entries("egress.closed")
    assert opened["connection"] == closed["connection"] == f"{SESSION}/slack/c1"
    assert (opened["host"], opened["verdict"], closed["why"]) == ("127.0.0.1", "allowed", "done")
    assert opened["action"] == f"{SESSION}/1"
    session = stand.state / "sessions" / SESSION
    assert not [path for path in session.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]


async def test_a_host_that_the_policy_denies_is_denied_to_a_connector(
    stand: Stand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, slack = make_authority(tmp_path), Slack()
    async with served(slack, authority) as server:
        text = CONFIGURED.replace("PORT", str(server.port)).replace("CA", str(authority.file))
        configure(monkeypatch, tmp_path, text)

        post = lines("slack post --channel '#ci' --text x")
        await stand.run(saying(post, FINISH), policy(denied="127.0.0.1"))

    assert stand.eyes.seen[0].text.startswith("error (host): `127.0.0.1` is denied by `127.0.0.1`")
    assert server.requests == []
    assert [opened["verdict"] for opened in stand.entries("egress.opened")] == ["denied"]


@pytest.mark.parametrize(
    "text", [None, "no certificate", "-----BEGIN CERTIFICATE-----\nAA==\n", "caf\xe9"], ids=str
)
async def test_a_connector_that_cannot_be_started_fails_its_action_and_not_the_session(
    stand: Stand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    """What is opened is what a session opens; its action is told. No sandbox is needed for that."""
    if text is not None:
        (tmp_path / "ca.pem").write_text(text)
    configure(monkeypatch, tmp_path, CONFIGURED.replace("PORT", "1").replace("CA", str(tmp_path / "ca.pem")))
    parsed = parse_policy(policy(), origin="x")
    registration = Registration(grant=parsed.grant.label)
    async with Journal.create(stand.state, SESSION, registration=registration) as journal:
        order = Order(
            session=SESSION,
            policy=parsed,
            workspace=None,
            state=stand.state,
            folder=stand.folder,
            resumed=False,
            journal=journal,
            progress=silent,
        )
        opened = connectors_of(parsed, order, credentials=no_credentials, traffic=Traffic())

        async with opened as connectors:
            with pytest.raises(ActionError) as refused:
                await connectors.open("slack")

    assert refused.value.code == "not-configured"
    assert refused.value.message.startswith("connector `slack` cannot be started: ")


def silent(message: str, /, *, done: int, total: int) -> None:
    """Say nothing."""


async def test_a_connector_whose_process_dies_fails_that_action_and_the_next_has_another(
    stand: Stand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, slack = make_authority(tmp_path), Slack()

    def kill_the_gate(request: Request) -> web.Response:
        answer = slack(request)
        if len(slack.posted) == 2:
            os.kill(egress_process(), signal.SIGKILL)
        return answer

    async with served(kill_the_gate, authority) as server:
        text = CONFIGURED.replace("PORT", str(server.port)).replace("CA", str(authority.file))
        configure(monkeypatch, tmp_path, text)
        posts = [lines(f"slack post --channel '#ci' --text {word}") for word in ("a", "b", "c")]
        ended = await stand.run(saying(*posts, FINISH), policy())

    assert ended.status == "done"
    assert stand.eyes.seen[0].kind == "done"
    assert stand.eyes.seen[1].text.startswith(
        "error (upstream): connector `slack`: the egress process is gone"
    )
    assert stand.eyes.seen[2].kind == "done"
    assert [closed["why"] for closed in stand.entries("egress.closed")] == ["done", "lost", "done"]


def egress_process() -> int:
    """Return the id of the egress process that was started last: the connector's, not the session's."""
    children = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    numbers = [number for each in children for number in each.read_text().split()]
    found = [n for n in numbers if b"sandbox.egress" in Path(f"/proc/{n}/cmdline").read_bytes()]
    return int(max(found, key=started))


def started(number: str) -> int:
    """Return when a process was started, in ticks since boot (proc_pid_stat(5), field 22)."""
    return int(Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[19])


async def test_a_ledger_that_fails_is_no_error_of_a_connector() -> None:
    async def full(event: object) -> None:
        raise OSError(28, "no space left", str(event))

    async with serving(Server()) as server:
        allowed = rules(rule("127.0.0.1", server.port))
        base = f"http://127.0.0.1:{server.port}"
        order = Ordered(name="x", base_url=base, account="", rules=allowed.rules, ca_file=None)
        async with gate_for(allowed, journal=full) as kept:
            with pytest.raises(GateLostError):
                await GatedConnector(order, kept.gate, "s/1").request("GET", f"{base}/")


async def test_a_session_that_asks_nothing_starts_no_connector(
    stand: Stand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = CONFIGURED.replace("PORT", "1").replace("CA", "/nowhere")
    configure(monkeypatch, tmp_path, text)

    ended = await stand.run(saying(FINISH), policy())

    assert ended.status == "done"
    assert stand.entries("egress.opened") == []


async def test_a_connector_whose_credential_is_not_to_be_had_ends_before_the_session_starts(
    stand: Stand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(monkeypatch, tmp_path, CONFIGURED.replace("PORT", "1").replace("CA", "/nowhere"))
    monkeypatch.delenv("TEAM_TOKEN")

    with pytest.raises(InvalidInputError, match="credential `team` is not to be had"):
        await stand.run(saying(FINISH), policy())


async def test_a_credential_goes_to_no_other_host_than_the_operator_bound_it_to(
    stand: Stand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = CONFIGURED.replace("PORT", "1").replace("CA", "/nowhere").replace("127.0.0.1]", "slack.com]")
    configure(monkeypatch, tmp_path, text)

    with pytest.raises(InvalidInputError, match=r"may go to `slack.com` only; the rule is for `127.0.0.1`"):
        await stand.run(saying(FINISH), policy())


@pytest.mark.parametrize(
    ("slack", "message"),
    [
        ("{credential: team, base_url: 'http://slack.com/api'}", "as in `https://HOST/PATH`"),
        ("{credential: team, base_url: 'https://a@slack.com/api'}", "as in `https://HOST/PATH`"),
        ("{credential: team, base_url: 'https://slack.com/api?x=1'}", "as in `https://HOST/PATH`"),
        ("{base_url: 'https://slack.com/api'}", "key `credential` is missing"),
        ("{credential: team, token: x}", "key `token` is not known in `connectors.slack`"),
    ],
)
async def test_a_connector_that_is_not_valid_is_one_line_with_its_place(
    stand: Stand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slack: str, message: str
) -> None:
    configure(monkeypatch, tmp_path, f"version: 1\nconnectors:\n  slack: {slack}\n")

    with pytest.raises(InvalidInputError, match=message) as refused:
        await stand.run(saying(FINISH), policy())
    assert "config.yaml:3:" in refused.value.message
