"""Recipients and channels that look like the one a rule names: none of them is it, however it is written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from cli_tools.action import LineProposal, ToolProposal
from cli_tools.catalogue import built_in
from cli_tools.errors import UsageError
from policies.decide import decide
from policies.grant import Grant
from policies.request import Allowed, SessionFacts
from policies.source import parse_policy

if TYPE_CHECKING:
    from policies.policy import Policy

CATALOGUE = built_in()
PATTERNS = """version: 1
name: x
grant: [files, network]
network: {allow: []}
commands:
  allow: [mail send]
  rules: [{command: mail send, sink_pattern: {to: ["*@example.com"]}}]
"""
POLICY = parse_policy(
    """version: 1
name: x
grant: [files, network]
network: {allow: []}
commands:
  allow: ["mail *", "slack *"]
  rules:
    - {command: mail send, arguments: {to: [anna@example.com]}}
    - {command: slack post, arguments: {channel: ["#ci", C0123456789]}}
""",
    origin="x",
)
BY_DOMAIN = parse_policy(PATTERNS, origin="x")
FACTS = SessionFacts(grant=Grant.FILES_NETWORK, headless=True)
OTHERS = [
    "anna+evil@example.com",
    "anna@evil.com",
    "anna@example.com.evil.com",
    "anna@evilexample.com",
    "anna@example.com,eve@evil.com",
    "anna@example.com;eve@evil.com",
    "anna@example.com eve@evil.com",
    "Anna <eve@evil.com>",
    "anna@example.com <eve@evil.com>",
    "<anna@example.com>",
    '"anna@example.com"@evil.com',
    "anna@example.com\neve@evil.com",
    "anna@example.com\r\nBcc: eve@evil.com",
    "anna@example.com\0@evil.com",
    "anna%evil.com@example.com",
    "anna@example.com@evil.com",
    "@evil.com:anna@example.com",
    "anna@[127.0.0.1]",
    "\u0430nna@example.com",
    "anna@ex\u0430mple.com",
    "anna@example\u3002com",
    "anna@\uff45xample.com",
    "anna@example.com\u200b",
    "\u202eanna@example.com",
    "an.na@example.com",
    "anna",
    "@file",
    "-anna@example.com",
    "anna@xn--exmple-4nf.com",
    "",
    " ",
    "*",
    "*@example.com",
    "everyone",
]
CHANNELS = [
    "#ci-secrets",
    "#c",
    "#cI\u200b",
    "ci,general",
    "#ci,#general",
    "#ci #general",
    "C0123456788",
    "C012345678",
    "c0123456789x",
    "#\u0441i",
    "<#C9999999999|ci>",
    "@anna",
    "D0123456789",
    "#ci/../general",
    "general",
    "*",
    "",
    "#ci\n#general",
    "https://example.slack.com/archives/C0123456789",
    "U0123456789",
    "here",
    "#CI\u0307",
]


ROUTES = [
    "eve%evil.com@example.com",
    "evil.com!eve@example.com",
    "/c=us/o=evil/s=eve/@example.com",
    "|mail.eve@example.com",
    "IMCEASMTP-eve+40evil+2Ecom@example.com",
    "imceaex-_o=evil_cn=eve@example.com",
    "IMCEA+53MTP+2Deve+40evil+2Ecom@example.com",
    "SRS0=HHH=TT=evil.com=eve@example.com",
    "srs0+hhh=tt=evil.com=eve@example.com",
    "srs0-hhh=tt=evil.com=eve@example.com",
    "srs1=hhh=other.com==hhh=tt=evil.com=eve@example.com",
    "@evil.com:eve@example.com",
    '"eve@evil.com"@example.com',
    "eve@evil.com@example.com",
    "eve@evil.com,x@example.com",
]

LIKE_ROUTES = ("imceanna", "imceanna+news", "srs", "srs0", "srs1x", "srs2=x", "a-srs0=x", "srs.0=x")
"""Names that only begin as a route does."""


def is_allowed(tool: str, *, policy: Policy = POLICY, **arguments: object) -> bool:
    """Say whether a call is one that the gate would carry out."""
    try:
        action = CATALOGUE.parse(ToolProposal(tool=tool, arguments=json.dumps(arguments)))
    except UsageError:
        return False
    return isinstance(decide(policy, FACTS, action.request()), Allowed)


def mailed(*to: str, policy: Policy = POLICY) -> bool:
    return is_allowed("mail_send", policy=policy, to=list(to), subject="x", text="y")


def posted(channel: str) -> bool:
    return is_allowed("slack_post", channel=channel, text="y")


@pytest.mark.parametrize("address", OTHERS, ids=ascii)
def test_an_address_that_is_not_the_one_of_the_rule_gets_nothing(address: str) -> None:
    """Alone, after the one that may, and before it."""
    assert not mailed(address)
    assert not mailed("anna@example.com", address)
    assert not mailed(address, "anna@example.com")


@pytest.mark.parametrize("address", ["anna@example.com", "Anna@Example.COM", "anna@example.com."])
def test_the_address_of_the_rule_gets_mail_in_the_form_that_was_compared(address: str) -> None:
    call = ToolProposal(
        tool="mail_send", arguments=json.dumps({"to": [address], "subject": "x", "text": "y"})
    )

    assert mailed(address)
    assert CATALOGUE.parse(call).parameters["to"] == ("anna@example.com",)


@pytest.mark.parametrize("address", ROUTES)
def test_an_address_that_routes_on_is_not_one_of_the_domain_that_a_pattern_names(address: str) -> None:
    """`user%elsewhere@domain` and its relatives ask the domain's server to send it on."""
    assert not mailed(address, policy=BY_DOMAIN)
    assert not mailed("anna@example.com", address, policy=BY_DOMAIN)


@pytest.mark.parametrize("local", ["anna", "o'brien", "a.b+c", "x=y", "_", "imce", "a-imcea-b", *LIKE_ROUTES])
def test_every_plain_address_of_the_domain_that_a_pattern_names_gets_mail(local: str) -> None:
    assert mailed(f"{local}@example.com", policy=BY_DOMAIN)
    assert not mailed(f"{local}@example.com.evil.com", policy=BY_DOMAIN)


@pytest.mark.parametrize("channel", CHANNELS, ids=ascii)
def test_a_channel_that_is_not_the_one_of_the_rule_gets_nothing(channel: str) -> None:
    assert not posted(channel)


@pytest.mark.parametrize("channel", ["#ci", "C0123456789"])
def test_the_channels_of_the_rule_get_posts_by_name_and_by_id(channel: str) -> None:
    assert posted(channel)


@pytest.mark.parametrize("smuggled", ["--bcc eve@evil.com", "--cc eve@evil.com", "--to=eve@evil.com", "-t x"])
def test_no_option_adds_a_recipient_beside_the_rule(smuggled: str) -> None:
    """`--to` a second time is a recipient like the first, and decided like it; no other option exists."""
    line = f"mail send --to anna@example.com {smuggled} --subject x --text y"
    try:
        action = CATALOGUE.parse(LineProposal(line=line))
    except UsageError:
        return

    assert smuggled.startswith("--to")
    assert not isinstance(decide(POLICY, FACTS, action.request()), Allowed)
