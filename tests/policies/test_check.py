# ruff: noqa: E501 - a table of policies and what is found in them, one on each line
from __future__ import annotations

import pytest
from policy_vocabulary import COMMANDS

from policies.check import Report, check, check_neighbours
from policies.source import parse_policy

FILES = "grant: [files]\ncommands: {allow: [files read]}\n"
BOTH = "grant: [files, network]\n"
CODE = "grant: [network, exec]\n"


def _check(body: str) -> Report:
    return check(parse_policy("version: 1\nname: p\n" + body, origin="p.yaml"), COMMANDS)


def _topics(body: str) -> list[str]:
    return [finding.topic for finding in _check(body).findings]


@pytest.mark.parametrize(
    ("body", "topics"),
    [
        (FILES, []),
        ("grant: [files]\n", ["unused-capability", "no-commands"]),
        ("grant: [files]\ncommands: {allow: [files raed, files read]}\n", ["unknown-command"]),
        ("grant: [files]\ncommands: {allow: [files read, http get]}\n", ["never-usable"]),
        ("grant: [files]\ncommands: {allow: [files read, 'files *']}\n", ["shadowed"]),
        (
            "grant: [files]\nfiles: {access: read}\ncommands: {allow: [files read, files write]}\n",
            ["never-usable"],
        ),
        (
            "grant: [files]\nfiles: {access: read}\ncommands: {allow: [files read], ask: [files write]}\n",
            ["never-usable"],
        ),
        ("grant: [files]\nfiles: {access: read}\ncommands: {allow: ['files *']}\n", []),
        ("grant: [files]\nfiles: {access: stage}\ncommands: {allow: [files read, files write]}\n", []),
        (
            "grant: [files]\ncommands: {allow: ['files *', files read], deny: [files read]}\n",
            ["shadowed", "shadowed"],
        ),
        ("grant: [files]\ncommands: {allow: [files read], ask: ['files *']}\n", ["shadowed"]),
        (
            "grant: [files]\ncommands: {allow: [files read], rules: [{command: files write, max_calls: 1}]}\n",
            ["unused-rule"],
        ),
        (
            "grant: [files]\ncommands: {allow: [files read], rules: [{command: files read, arguments: {paht: [a]}}]}\n",
            ["unknown-argument"],
        ),
        (BOTH + "commands: {allow: [files read]}\n", ["unused-capability"]),
        ("grant: [files, exec]\nexec: {programs: [a]}\ncommands: {allow: [run]}\n", []),
        (
            "grant: [files, exec]\nexec: {programs: [a]}\ncommands: {allow: [files read]}\n",
            ["unused-capability", "unused-rule"],
        ),
        ("grant: [files, exec]\nexec: {programs: any}\ncommands: {allow: [run]}\n", ["any-program"]),
        (
            "grant: [files, exec]\nexec: {programs: [a], image: me/img:1}\ncommands: {allow: [run]}\n",
            ["image-by-tag"],
        ),
        (
            "grant: [files, exec]\nexec: {programs: [a], image: 'me/img@sha256:"
            + "0" * 64
            + "'}\ncommands: {allow: [run]}\n",
            [],
        ),
        (
            "grant: [files, exec]\nexec: {programs: [a]}\ncommands: {allow: [run, 'files *'], rules: [{command: files write, max_calls: 1}]}\n",
            ["not-binding"],
        ),
        (
            "grant: [files, exec]\nexec: {programs: [a]}\ncommands: {allow: [run, 'files *'], deny: [files remove]}\n",
            ["not-binding"],
        ),
        (FILES + "files: {hide_defaults: false}\n", ["secrets-visible"]),
        (FILES + "files: {visible: [.env]}\n", ["secrets-visible"]),
        (FILES + "files: {protect_defaults: false}\n", ["unprotected"]),
        (FILES + "files: {access: direct}\n", ["direct-access"]),
        (BOTH + "commands: {allow: [files read, slack post]}\n", ["open-sink"]),
        (BOTH + "commands: {allow: [files read], ask: [slack post]}\n", []),
        (
            BOTH
            + "commands: {allow: [files read, slack post], rules: [{command: slack post, arguments: {channel: ['#ci']}}]}\n",
            [],
        ),
        (
            BOTH
            + "commands: {allow: [files read, slack post], rules: [{command: slack post, arguments: {channel: ['#c*']}}]}\n",
            ["open-sink"],
        ),
        (
            BOTH
            + "commands: {allow: [files read, slack post], rules: [{command: slack post, sink_pattern: {channel: ['#c*']}}]}\n",
            ["sink-pattern"],
        ),
        ("grant: [network]\nnetwork: {allow: [{host: api.github.com}]}\ncommands: {allow: [http get]}\n", []),
        (
            "grant: [network]\nnetwork: {allow: [{host: api.github.com, methods: [GET, POST]}]}\ncommands: {allow: [http get, http post]}\n",
            ["shared-host"],
        ),
        (
            "grant: [network]\nnetwork: {allow: [{host: a.example.com, private: true}]}\ncommands: {allow: [http get]}\n",
            ["private-address"],
        ),
        (
            "grant: [network]\nnetwork: {allow: [{host: a.example.com, credential: c, data: public}]}\ncommands: {allow: [http get]}\n",
            ["public-data"],
        ),
        (
            "grant: [network]\nnetwork: {allow: [{host: '*.example.com', sink_pattern: true}]}\ncommands: {allow: [http get]}\n",
            ["sink-pattern"],
        ),
        (
            "grant: [network]\nnetwork: {allow: [{host: a.example.com}, {host: '*.example.com'}]}\ncommands: {allow: [http get]}\n",
            ["shadowed"],
        ),
        (
            "grant: [network]\nnetwork: {allow: [{host: a.com}, {host: a.com, paths: [/x]}]}\ncommands: {allow: [http get]}\n",
            ["shadowed"],
        ),
        (
            "grant: [network]\nnetwork: {allow: [{host: a.com, paths: ['/x/**']}, {host: a.com, paths: [/x/y]}]}\ncommands: {allow: [http get]}\n",
            ["shadowed"],
        ),
        (
            "grant: [network]\nnetwork: {allow: [{host: a.com, paths: [/z]}, {host: a.com, paths: [/x/y]}]}\ncommands: {allow: [http get]}\n",
            [],
        ),
        (
            "grant: [network]\nnetwork: {allow: [{host: a.com}, {host: a.com}]}\ncommands: {allow: [http get]}\n",
            ["shadowed"],
        ),
        (
            "grant: [network]\nnetwork: {allow: [{host: x.a.com}], deny: ['*.a.com']}\ncommands: {allow: [http get]}\n",
            ["shadowed"],
        ),
        (
            CODE
            + "exec: {programs: [a], contents: public}\nnetwork: {allow: [{host: a.example.com}]}\ncommands: {allow: [run]}\n",
            ["all-methods"],
        ),
        (
            CODE
            + "exec: {programs: [a], contents: public}\nnetwork: {allow: [{host: pypi.org}]}\ncommands: {allow: [run]}\n",
            ["shared-host"],
        ),
        (
            CODE
            + "exec: {programs: [a], contents: public}\nnetwork: {allow: [{host: pypi.org, methods: [GET]}]}\ncommands: {allow: [run]}\n",
            [],
        ),
        ("grant: [files]\nfiles: {hide: [.env]}\ncommands: {allow: [files read]}\n", ["shadowed"]),
        ("grant: [files]\nfiles: {hide: ['deploy/*.pem']}\ncommands: {allow: [files read]}\n", ["shadowed"]),
        ("grant: [files]\nfiles: {hide: ['*.db']}\ncommands: {allow: [files read]}\n", []),
        ("grant: [files]\nfiles: {protect: ['.git/**']}\ncommands: {allow: [files read]}\n", ["shadowed"]),
        (
            "grant: [network]\nnetwork: {allow: [{host: localhost, ports: [8080]}]}\ncommands: {allow: [http get]}\n",
            ["unreachable"],
        ),
        (
            "grant: [network]\nnetwork: {allow: [{host: 10.0.0.1}]}\ncommands: {allow: [http get]}\n",
            ["unreachable"],
        ),
        (
            "grant: [network]\nnetwork: {allow: [{host: 'fd00::1'}]}\ncommands: {allow: [http get]}\n",
            ["unreachable"],
        ),
        (
            "grant: [network]\nnetwork: {allow: [{host: 169.254.169.254}]}\ncommands: {allow: [http get]}\n",
            ["unreachable"],
        ),
        (
            "grant: [network]\nnetwork: {allow: [{host: '*.corp.internal'}]}\ncommands: {allow: [http get]}\n",
            ["unreachable"],
        ),
        (
            "grant: [network]\nnetwork: {allow: [{host: api.corp.internal, private: true}]}\ncommands: {allow: [http get]}\n",
            ["private-address"],
        ),
        ("grant: [network]\nnetwork: {allow: [{host: 1.1.1.1}]}\ncommands: {allow: [http get]}\n", []),
        (
            "grant: [network]\nnetwork: {allow: [{host: webhook.site, methods: [GET]}]}\ncommands: {allow: [http get]}\n",
            ["shared-host"],
        ),
        (
            "grant: [network]\nnetwork: {allow: [{host: x.workers.dev}]}\ncommands: {allow: [http get]}\n",
            ["shared-host"],
        ),
        (
            "grant: [network]\nnetwork: {allow: [{host: a.example.com, methods: [GET, POST]}]}\ncommands: {allow: [http get]}\n",
            ["unused-rule"],
        ),
        (
            "grant: [network]\nnetwork: {allow: [{host: a.example.com, methods: [GET, POST]}]}\ncommands: {allow: [http get, http post]}\n",
            [],
        ),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_each_lint_finds_its_case_and_spares_the_lawful_twin(body: str, topics: list[str]) -> None:
    assert _topics(body) == topics


def test_hosts_without_a_command_that_asks_them_are_unused() -> None:
    body = BOTH + "network: {allow: [{host: a.com}]}\ncommands: {allow: [files read, slack list]}\n"

    assert _topics(body) == ["unused-rule"]


def test_a_finding_is_one_line_with_its_place_and_mend() -> None:
    finding = _check("grant: [files]\ncommands: {allow: [files raed, files read]}\n").findings[0]

    assert str(finding) == (
        "p.yaml:4:20: error: command `files raed` does not exist; hint: did you mean `files read`? [unknown-command]"
    )


def test_absent_commands_are_told_with_the_line_to_add() -> None:
    finding = next(found for found in _check("grant: [files]\n").findings if found.topic == "no-commands")

    assert finding.hint == 'add `commands: {allow: ["files *", "git *"]}`, or fewer of them'


def test_warnings_fail_only_a_strict_check_and_errors_any() -> None:
    clean, warned = _check(FILES), _check(FILES + "files: {access: direct}\n")
    wrong = _check("grant: [files]\ncommands: {allow: [files read, nothing]}\n")

    assert [report.fails(strict=False) for report in (clean, warned, wrong)] == [False, False, True]
    assert [report.fails(strict=True) for report in (clean, warned, wrong)] == [False, True, True]
    assert [report.verdict for report in (clean, warned, wrong)] == ["ok", "warnings", "errors"]


def test_a_host_through_which_two_policies_make_three_is_named() -> None:
    def named(name: str, rest: str) -> str:
        return f"version: 1\nname: {name}\n{rest}"

    writer = parse_policy(
        named("w", BOTH + "network: {allow: [{host: drop.example.com, methods: [PUT]}]}"), origin="w.yaml"
    )
    reader = parse_policy(
        named(
            "r",
            CODE + "exec: {contents: public}\nnetwork: {allow: [{host: '*.example.com', methods: [GET]}]}",
        ),
        origin="r.yaml",
    )
    apart = parse_policy(
        named(
            "a", CODE + "exec: {contents: public}\nnetwork: {allow: [{host: example.org, methods: [GET]}]}"
        ),
        origin="a.yaml",
    )
    alike = parse_policy(named("s", BOTH + "network: {allow: [{host: drop.example.com}]}"), origin="s.yaml")

    found = check_neighbours([writer, reader, apart, alike]).findings

    assert [(finding.topic, finding.message) for finding in found] == [
        ("neighbours", "`w` may write to `drop.example.com`, and `r` may read from it")
    ]


@pytest.mark.parametrize(
    ("glob", "said"),
    [
        (".env", "hidden by default: "),
        ("keys/*.pem", "hidden by default"),
        ("deep/**/.env", "hidden by default"),
        ("pairlock.yaml", "not hidden by default"),
        ("docs/**", "not hidden by default"),
    ],
)
def test_what_is_made_visible_is_called_hidden_by_default_only_where_it_is(glob: str, said: str) -> None:
    found = _check(FILES + f"files: {{visible: ['{glob}']}}\n").findings

    assert [each.topic for each in found] == ["secrets-visible"]
    assert found[0].message.partition(", which is ")[2].startswith(said)
