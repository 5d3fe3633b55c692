# ruff: noqa: E501 - a table of whole reasons, one case on each line
"""Every reason as it is told, whole: its code, message, mend and rule."""

from __future__ import annotations

import pytest
from policy_vocabulary import COMMANDS

from policies.action_line import request_from_line
from policies.capability import Capability
from policies.decide import decide
from policies.grant import Grant
from policies.lineage import Label, decide_continuation, decide_delegation, decide_lineage
from policies.request import Allowed, Reason, SessionFacts
from policies.source import parse_policy

POLICY = """\
version: 1
name: p
grant: [files, network]
files:
  hide: ["*.db"]
  protect: [locked]
network:
  allow:
    - {host: a.com, paths: ["/x"]}
    - {host: b.com, ports: [8443]}
    - {host: "*.c.com"}
  deny: [bad.c.com]
commands:
  allow: ["files *", "http *", slack post, mail send]
  ask: [files move]
  deny: [files remove]
  rules:
    - {command: files search, arguments: {pattern: [one, two]}, max_calls: 2}
"""


def _told(reason: Reason) -> str:
    rule = f" @ {reason.rule.origin}:{reason.rule.line}:{reason.rule.column}" if reason.rule else ""
    return f"{reason.code}: {reason.message} | {reason.hint}{rule}"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("run pytest", ["capability: session holds `files`, `network`; action `run` needs `exec` | no approval adds a capability: use another session @ p:3:1", "command: command `run` is not allowed | allowed are `files *`, `http *`, `slack post`, `mail send`, `finish` @ p:14:3"]),
        ("files remove a", ["command: command `files remove` is denied by `files remove` | `deny` wins over whatever allows it: use another command @ p:16:10"]),
        ("files move a b", ["command: command `files move` needs an approval by `files move` | nobody can be asked, because the session is headless: use another command @ p:15:9"]),
        ("git log", ["command: command `git log` is not allowed | allowed are `files *`, `http *`, `slack post`, `mail send`, `finish` @ p:14:3"]),
        ("mail list", ["command: command `mail list` is not allowed | did you mean `mail send`? @ p:14:3"]),
        ("files search three a", ["argument: argument `pattern` is `three`; expected one of `one`, `two` | give one of these, whole @ p:18:17", "budget: `files search` was called 2 times; the most is 2 | do without it: nothing raises `max_calls` in this session @ p:18:17"]),
        ("files search", ["argument: argument `pattern` is not given; expected one of `one`, `two` | give it @ p:18:17", "budget: `files search` was called 2 times; the most is 2 | do without it: nothing raises `max_calls` in this session @ p:18:17"]),
        ("files read x.db", ["hidden: path `x.db` is hidden by `*.db` | `files.hide` keeps it out of this session: do without it @ p:5:10"]),
        ("files write locked/x --content y", ["protected: path `locked/x` is protected by `locked` | `files.protect` lets it be read and never written: write elsewhere @ p:6:13"]),
        ("files write . --content y", ["protected: the workspace itself cannot be replaced, moved or removed | name what is in it @ p:4:1"]),
        ("files read ../x", ["path: `../x` climbs with `..` | name the path from the workspace's root @ p:4:1"]),
        ("http get https://a.com/y", ["path: no rule for `a.com` allows the path `/y` | the policy's `paths:` names what may be asked for @ p:9:14"]),
        ("http post https://a.com/x", ["method: `a.com` may be asked with `GET`, `HEAD`; the request is `POST` | the policy's `methods:` names what may be used @ p:9:14"]),
        ("http get https://b.com/", ["host: `b.com` may be reached on `8443`; the request goes to port `443` | add `ports: [443]` to its rule @ p:10:14"]),
        ("http get https://bad.c.com/", ["host: `bad.c.com` is denied by `bad.c.com` | `deny` wins over whatever allows it: ask another host @ p:12:10"]),
        ("http get https://d.com/", ["host: `d.com` is none of the hosts allowed: `a.com`, `b.com`, `*.c.com` | add `- host: d.com` to `network.allow` @ p:8:3"]),
        ("http get ftp://d.com/", ["host: `ftp://d.com/` is not an http or https URL | as in `https://api.example.com/path` @ p:8:3"]),
        ("http get https://x.c.com/z", ["origin: the URL sends to `https://x.c.com:443`, which neither a rule nor the task names | it has to come from a rule without wildcards, from the task's own words, or from a person's approval @ p:11:14"]),
        ("slack post --channel general --text hi", ["origin: argument `channel` sends to `general`, which neither a rule nor the task names | it has to come from a rule for `slack post` that names it, from the task's own words, or from a person's approval @ p:14:32"]),
        ("mail send --text x", ["origin: argument `to` decides where data goes, and is not given | give it @ p:14:44"]),
        ("mail send --to a,b@c.com", ["origin: argument `to`: `a,b@c.com` is not one address | as in `name@example.com`, without a display name or a route @ p:14:44"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_denial_tells_code_message_mend_and_rule(line: str, told: list[str]) -> None:
    policy = parse_policy(POLICY, origin="p")
    session = SessionFacts(grant=policy.grant, task="tell them", headless=True, calls={"files search": 2})

    decision = decide(policy, session, request_from_line(line, COMMANDS))

    assert not isinstance(decision, Allowed)
    assert [_told(reason) for reason in decision.reasons] == told


@pytest.mark.parametrize(
    ("body", "line", "told"),
    [
        ("grant: [exec]\nexec: {programs: [a]}\ncommands: {allow: [run]}", "run b", "argument: program `b` is not allowed; allowed are `a` | `exec.programs` lists what `run` may name, whole @ p:4:19"),
        ("grant: [exec]\nexec: {programs: []}\ncommands: {allow: [run]}", "run b", "argument: program `b` is not allowed; allowed are nothing | `exec.programs` lists what `run` may name, whole @ p:4:8"),
        ("grant: [exec]\nexec: {}\ncommands: {allow: [run]}", "run b", "argument: program `b` is not allowed; allowed are nothing | `exec.programs` lists what `run` may name, whole @ p:4:1"),
        ("grant: [files]\nfiles: {access: read}\ncommands: {allow: ['files *']}", "files write a --content x", "path: path `a` cannot be written: `access` is `read` | `files: {access: stage}` lets changes wait for a review @ p:4:9"),
        ("grant: []\ncommands: {allow: ['files *']}", "files read a", "capability: session holds no capability; action `files read` needs `files` | no approval adds a capability: use another session @ p:3:1"),
        ("grant: [network]\nsinks: strict\ncommands: {allow: [http get]}\nnetwork: {allow: [{host: '*.c.com'}]}", "http get https://x.c.com/", "origin: the URL sends to `https://x.c.com:443`, which neither a rule nor a task typed on a terminal or trusted names | it has to come from a rule without wildcards, from the task's own words, or from a person's approval @ p:6:26"),
    ],
    ids=lambda value: value[:24],
)  # fmt: skip
def test_other_grants_tell_theirs(body: str, line: str, told: str) -> None:
    policy = parse_policy(f"version: 1\nname: p\n{body}\n", origin="p")

    decision = decide(policy, SessionFacts(grant=policy.grant), request_from_line(line, COMMANDS))

    assert not isinstance(decision, Allowed)
    assert [_told(reason) for reason in decision.reasons] == [told]


def test_what_may_be_asked_is_told_without_the_word_headless() -> None:
    policy = parse_policy(POLICY, origin="p")
    session = SessionFacts(grant=policy.grant, headless=False)

    decision = decide(policy, session, request_from_line("files move a b", COMMANDS))

    assert not isinstance(decision, Allowed)
    assert _told(decision.reasons[0]) == (
        "command: command `files move` needs an approval by `files move` | a person approves this very action, or not @ p:15:9"
    )


def test_lineage_tells_who_made_the_label_and_what_to_do() -> None:
    label = Label().written_by("abc", frozenset({Capability.FILES, Capability.NETWORK}))
    refusals = [
        decide_lineage(Grant.EXEC, label),
        decide_delegation(Grant.FILES, Grant.FILES_EXEC),
        decide_continuation(Grant.FILES, Grant.NONE),
    ]

    told = [
        [_told(reason) for reason in refusal.reasons]
        for refusal in refusals
        if not isinstance(refusal, Allowed)
    ]

    assert told == [
        [
            "lineage: the workspace holds unreviewed writes of `abc`, which exercised `files`, `network`; with `exec` that makes three | `pairlock review DIR` shows them, and `--endorse` takes the label off; or use a narrower grant"
        ],
        ["lineage: a child of `files` would hold `exec` | a child's grant is within its parent's"],
        [
            "lineage: the session holds `files` for its whole life; it cannot go on with `none` | start another session"
        ],
    ]


@pytest.mark.parametrize("headless", [False, True])
@pytest.mark.parametrize(
    "line",
    ["run pytest", "files remove a", "files move a b", "git log", "files search three a", "files search", "files read x.db",
     "files read .env", "files write .git/config --content x", "files write locked/x --content y", "files write . --content y",
     "files read ../x", "http get https://a.com/y", "http post https://a.com/x", "http get https://b.com/",
     "http get https://bad.c.com/", "http get https://d.com/", "http get ftp://d.com/", "http get https://x.c.com/z",
     "slack post --channel general --text hi", "mail send --text x", "mail send --to a,b@c.com", "mail send --to a\u200b@c.com"],
)  # fmt: skip
def test_every_reason_has_a_mend_and_the_rule_that_says_so(line: str, headless: bool) -> None:  # noqa: FBT001 - both kinds of session
    policy = parse_policy(POLICY, origin="p")
    session = SessionFacts(grant=policy.grant, task="t", headless=headless, calls={"files search": 2})

    decision = decide(policy, session, request_from_line(line, COMMANDS))

    assert not isinstance(decision, Allowed)
    for reason in decision.reasons:
        assert reason.hint, reason
        assert reason.rule is not None, reason
        assert reason.rule.origin in {"p", "defaults/hide", "defaults/protect"}


def test_a_default_is_told_apart_from_the_policys_own_glob() -> None:
    policy = parse_policy(POLICY, origin="p")
    session = SessionFacts(grant=policy.grant)
    lines = ("files read .env", "files write .git/x --content y")

    decisions = [decide(policy, session, request_from_line(line, COMMANDS)) for line in lines]

    assert [_told(decision.reasons[0]) for decision in decisions if not isinstance(decision, Allowed)] == [
        "hidden: path `.env` is hidden by `.env` | a usual place of secrets, hidden by default: `files.visible` makes exceptions @ defaults/hide:1:1",
        "protected: path `.git/x` is protected by `.git` | the host runs or obeys it later, so it is protected by default: write elsewhere @ defaults/protect:1:1",
    ]
