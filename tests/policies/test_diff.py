# ruff: noqa: E501 - a table of two policies and what the second allows more
from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from arbitrary_policies import policies
from hypothesis import given, settings
from policy_vocabulary import COMMANDS

from policies.action_line import request_from_line
from policies.decide import decide
from policies.diff import diff
from policies.explain import explain
from policies.explain_decision import explain_decision
from policies.join import join
from policies.narrow import narrowest
from policies.request import Allowed, Decision, SessionFacts
from policies.source import parse_policy

if TYPE_CHECKING:
    from policies.policy import Policy

FILES = "grant: [files]\ncommands: {allow: [files read]}\n"
WRITE = "grant: [files]\ncommands: {allow: [files write]}\n"
NONE = "grant: [files]\ncommands: {allow: [finish]}\n"
NET = "grant: [network]\ncommands: {allow: [http get, http post]}\nnetwork: "
RUN = "grant: [exec]\ncommands: {allow: [run]}\nexec: "
BOTH = "grant: [files, network]\ncommands: {allow: [slack post], rules: "


def _policy(body: str) -> Policy:
    return parse_policy("version: 1\nname: p\n" + body, origin="p.yaml")


def _decide(policy: Policy, line: str, task: str | None = None) -> Decision:
    return decide(
        policy, SessionFacts(grant=policy.grant, headless=False, task=task), request_from_line(line, COMMANDS)
    )


@pytest.mark.parametrize(
    ("old", "new", "witnesses"),
    [
        (FILES, FILES, []),
        (FILES, FILES.replace("[files read]", "[files read, files list]"), ["files list a.txt"]),
        (FILES.replace("allow: [", "ask: ["), FILES, ["files read a.txt"]),
        (FILES.replace("}", ", deny: [files read]}"), FILES, ["files read a.txt"]),
        (FILES + "files: {hide: ['*.db']}\n", FILES, ["files read x.db"]),
        (FILES + "files: {hide: ['*.db']}\n", FILES + "files: {hide: ['*.db', x]}\n", []),
        (FILES + "files: {hide: ['a/*.db']}\n", FILES + "files: {hide: ['**/*.db']}\n", []),
        (FILES + "files: {protect: [docs]}\n", FILES, []),
        (WRITE + "files: {protect: ['my docs']}\n", WRITE, ["files write 'my docs'"]),
        (FILES + "files: {hide: ['my db']}\n", FILES, ["files read 'my db'"]),
        (FILES, FILES + "files: {visible: [.env.prod]}\n", ["files read .env.prod"]),
        (NONE + "files: {hide: ['*.db']}\n", NONE, []),
        (RUN + "{programs: [a]}\n", RUN + "{programs: [a, b]}\n", ["run b x"]),
        (RUN + "{programs: [a]}\n", RUN + "{programs: any}\n", ["run any-program x"]),
        (NET + "{allow: []}\n", NET + "{allow: [{host: a.com}]}\n", ["http get https://a.com/"]),
        (
            NET + "{allow: [{host: a.com}]}\n",
            NET + "{allow: [{host: '*.a.com'}]}\n",
            ["http get https://x.a.com/", "http get https://x.y.a.com/"],
        ),
        (NET + "{allow: [{host: '*.a.com'}]}\n", NET + "{allow: [{host: x.a.com}]}\n", []),
        (
            NET + "{allow: [{host: a.com}]}\n",
            NET + "{allow: [{host: a.com, methods: [GET, POST]}]}\n",
            ["http post https://a.com/"],
        ),
        (
            NET + "{allow: [{host: a.com, paths: ['/a/**']}]}\n",
            NET + "{allow: [{host: a.com, paths: ['/a/b', '/c']}]}\n",
            ["http get https://a.com/c"],
        ),
        (
            NET + "{allow: [{host: a.com, paths: ['/a/**']}]}\n",
            NET + "{allow: [{host: a.com, paths: ['/a/b']}]}\n",
            [],
        ),
        (
            NET + "{allow: [{host: a.com, paths: ['/a/**']}]}\n",
            NET + "{allow: [{host: a.com}]}\n",
            ["http get https://a.com/"],
        ),
        (
            NET + "{allow: [{host: '*.a.com'}], deny: [z.a.com]}\n",
            NET + "{allow: [{host: '*.a.com'}]}\n",
            ["http get https://z.a.com/"],
        ),
        (
            NET + "{allow: [{host: a.com}]}\n",
            NET + "{allow: [{host: a.com, ports: [443, 8443]}]}\n",
            ["http get https://a.com:8443/"],
        ),
        (
            BOTH + "[{command: slack post, arguments: {channel: ['#ci']}}]}\n",
            BOTH + "[{command: slack post, arguments: {channel: ['#ci', '#dev']}}]}\n",
            ["slack post --channel '#dev'"],
        ),
        (
            BOTH + "[{command: slack post, arguments: {channel: ['#ci']}}]}\n",
            BOTH + "[]}\n",
            ["slack post --channel '#example'"],
        ),
    ],
    ids=lambda value: repr(value)[-40:],
)
def test_what_is_allowed_more_has_a_witness_that_really_passes_and_did_not(
    old: str, new: str, witnesses: list[str]
) -> None:
    before, after = _policy(old), _policy(new)

    found = [widening.witness for widening in diff(before, after, COMMANDS).widenings if widening.witness]

    assert found == witnesses
    for line in found:
        task = line.replace("'", "")
        assert isinstance(_decide(after, line, task), Allowed)
        assert not isinstance(_decide(before, line, task), Allowed)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (FILES, FILES + "budget: {turns: 61}\n", "`budget.turns` grows from `60` to `61`"),
        (
            FILES,
            FILES + "files: {access: direct}\n",
            "the workspace is held as `direct`, no longer as `stage`",
        ),
        (FILES + "sinks: strict\n", FILES, "`sinks` is no longer `strict`"),
        (FILES + "isolation: {runtime: gvisor}\n", FILES, "the runtime is `default`, no longer `gvisor`"),
        (RUN + "{image: a}\n", RUN + "{image: b}\n", "programs come from `b`, no longer from `a`"),
        (
            NET + "{allow: [{host: a.com}]}\n",
            NET + "{allow: [{host: a.com, private: true}]}\n",
            "`a.com` may be a private address",
        ),
        (
            NET + "{allow: [{host: a.com}]}\n",
            NET + "{allow: [{host: a.com, credential: c}]}\n",
            "requests to `a.com` carry the credential `c`",
        ),
        (FILES, FILES + "files: {visible: [.env]}\n", "`.env` is made visible"),
    ],
    ids=lambda value: repr(value)[-40:],
)
def test_what_no_single_action_shows_is_named(old: str, new: str, message: str) -> None:
    difference = diff(_policy(old), _policy(new), COMMANDS)

    assert message in [widening.message for widening in difference.widenings]
    assert difference.is_wider
    assert message not in [widening.message for widening in difference.narrowings]


@settings(max_examples=25, deadline=None)
@given(policies(), policies())
def test_a_joined_policy_is_never_called_wider(one: Policy, other: Policy) -> None:
    assert diff(one, join(one, other), COMMANDS).widenings == ()


def test_an_explanation_says_what_it_can_cannot_and_what_is_left() -> None:
    explanation = explain(
        _policy(
            "grant: [files, network]\nnetwork: {allow: [{host: a.com}]}\ncommands: {allow: [files read, slack post], ask: [mail send]}\n"
        ),
        COMMANDS,
    )

    text = explanation.text()

    assert [section.title for section in explanation.sections] == [
        "An agent under this policy can",
        "It cannot",
        "What is left possible",
        "What bounds that",
        "Where data can go",
        "What no rule here holds",
    ]
    assert "`a.com` with `GET`, `HEAD`" in text
    assert "lethal trifecta" in text
    assert "`slack post --channel`: fixed by the task's own words, or a person's approval" in text
    assert "the model's operator can read" in text
    assert "prevent" not in text


def test_a_decision_is_explained_with_its_rules() -> None:
    policy = _policy("grant: [files]\ncommands: {allow: [files read], ask: [files write]}\n")

    def explained(line: str) -> str:
        return explain_decision(request_from_line(line, COMMANDS), _decide(policy, line))

    assert explained("files read a") == "`files read` is allowed by the rule at p.yaml:4:20"
    assert explained("files write a --content x") == (
        "`files write` needs a person's approval; headless it is denied\n"
        "  command: command `files write` needs an approval by `files write`\n"
        "    rule: p.yaml:4:39\n"
        "    hint: a person approves this very action, or not"
    )
    assert explained("files read .env").startswith(
        "`files read` is denied\n  hidden: path `.env` is hidden by `.env`"
    )


def test_the_narrowest_policy_allows_what_was_recorded_and_nothing_that_is_near() -> None:
    lines = [
        "files read a.py",
        "http get https://x.com/a/b?q=1",
        "slack post --channel ci --text hi",
        "finish --status done",
    ]
    requests = [request_from_line(line, COMMANDS) for line in lines]

    policy = parse_policy(narrowest(requests, name="n").as_yaml(), origin="n.yaml")

    for line in lines:
        assert isinstance(_decide(policy, line), Allowed), line
    for near in [
        "files list a",
        "files write a.py --content x",
        "http get https://x.com/a/c",
        "http post https://x.com/a/b",
        "http get https://y.com/a/b",
        "slack post --channel dev --text hi",
    ]:
        assert not isinstance(_decide(policy, near), Allowed), near


def test_a_recording_of_all_three_has_no_policy() -> None:
    requests = [
        request_from_line(line, COMMANDS) for line in ("files read a", "run x", "http get https://a.com/")
    ]

    with pytest.raises(Exception, match="at most two") as refused:
        narrowest(requests, name="n")

    assert type(refused.value).__name__ == "ForbiddenGrantError"


def test_what_is_taken_away_is_told_as_it_was_and_as_it_is() -> None:
    wide = _policy("grant: [files]\ncommands: {allow: [files read, files write]}\nbudget: {turns: 9}\n")
    narrow = _policy(
        "grant: [files]\nsinks: strict\ncommands: {allow: [files read], ask: [files write]}\nbudget: {turns: 3}\n"
    )

    found = diff(wide, narrow, COMMANDS)

    assert not found.is_wider
    assert [change.message for change in found.narrowings] == [
        "`files write a.txt` was allowed and is asked",
        "taken away: `sinks` is no longer `strict`",
        "`budget.turns` falls from `9` to `3`",
    ]
    assert [change.message for change in diff(narrow, wide, COMMANDS).widenings] == [
        "`files write a.txt` was asked and is allowed",
        "`sinks` is no longer `strict`",
        "`budget.turns` grows from `3` to `9`",
    ]


def test_the_narrowest_policy_keeps_what_the_session_ran_under_and_asks_what_was_approved() -> None:
    under = parse_policy(
        "version: 1\nname: u\ngrant: [network]\nnetwork: {allow: [{host: '*.x.com', credential: c, private: true}], limits: {requests: 7}}\n"
        "commands: {allow: [http get], ask: [http post]}\nbudget: {turns: 99}\nisolation: {memory: 2GiB}\n",
        origin="u.yaml",
    )
    get, post = (
        request_from_line(f"http {word} https://a.x.com/{word}", COMMANDS) for word in ("get", "post")
    )

    text = narrowest([get], approved=[post], under=under, name="n").as_yaml()
    policy = parse_policy(text, origin="n.yaml")

    assert [pattern.text for pattern in policy.commands.allow] == ["http get"]
    assert [pattern.text for pattern in policy.commands.ask] == ["http post"]
    assert policy.network is not None
    assert [
        (rule.host.text, rule.methods, rule.credential, rule.private) for rule in policy.network.allow
    ] == [
        ("a.x.com", ("GET",), "c", True),
        ("a.x.com", ("POST",), None, False),
    ]
    assert (policy.network.limits.requests, policy.budget.turns, policy.isolation.memory) == (
        7,
        99,
        2 * 2**30,
    )


@pytest.mark.parametrize("path", ["/a/*", "/a**b", "/" + "a/" * 300 + "b"])
def test_a_recorded_path_with_stars_or_too_long_still_gives_a_policy_that_allows_it(path: str) -> None:
    request = request_from_line(f"http get https://x.com{path}", COMMANDS)

    policy = parse_policy(narrowest([request], name="n").as_yaml(), origin="n.yaml")

    assert isinstance(_decide(policy, f"http get https://x.com{path}"), Allowed)


def test_the_narrowest_policy_is_no_wider_than_the_one_that_the_session_ran_under() -> None:
    under = parse_policy(
        "version: 1\nname: u\ngrant: [files]\n"
        "files: {access: read, hide: [private/**], hide_defaults: false, protect: [src/**], protect_defaults: false}\n"
        "commands:\n  allow: [files *]\n"
        "  rules:\n    - {command: files read, arguments: {path: ['docs/**', a.py]}, max_calls: 3}\n"
        "    - {command: files *, max_calls: 40}\n    - {command: files write, max_calls: 1}\n",
        origin="u.yaml",
    )
    requests = [request_from_line(line, COMMANDS) for line in ("files read a.py", "files list .")]

    text = narrowest(requests, under=under, name="n").as_yaml()
    policy = parse_policy(text, origin="n.yaml")

    assert diff(under, policy, COMMANDS).widenings == ()
    assert policy.files == under.files
    assert {rule.command.text for rule in policy.commands.rules} == {"files read", "files list", "files *"}
    for line in ("files read a.py", "files list ."):
        assert isinstance(_decide(policy, line), Allowed), line
    for near in ("files read private/a", "files read b.py", "files write a.py --content x"):
        assert not isinstance(_decide(policy, near), Allowed), near


def test_twin_a_recorded_write_where_defaults_protect_is_allowed_if_it_was() -> None:
    under = parse_policy(
        "version: 1\nname: u\ngrant: [files]\nfiles: {access: stage, protect_defaults: false}\ncommands: {allow: [files write]}\n",
        origin="u.yaml",
    )
    line = "files write .git/config --content x"

    policy = narrowest([request_from_line(line, COMMANDS)], under=under, name="n")

    assert isinstance(_decide(policy, line), Allowed)
    assert diff(under, policy, COMMANDS).widenings == ()
