"""Files that no person writes: long lists and rules that all meet each other are refused, or done in time."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from policies.check import check
from policies.containment import lies_within, url_steps, witness
from policies.diff import diff
from policies.document import LARGEST_TEXT
from policies.errors import PolicyFileError, UnjoinableError
from policies.facts import ArgumentFacts, CommandFacts
from policies.faults import MOST_ENTRIES, MOST_NAMES
from policies.join import join
from policies.source import LARGEST_RESOLVED, SourceText, parse_policy

GET = CommandFacts(
    path=("http", "get"),
    needs=frozenset(),
    arguments=(ArgumentFacts(name="url", role="url", positional=True),),
    method="GET",
)
READ = CommandFacts(
    path=("files", "read"),
    needs=frozenset(),
    arguments=(ArgumentFacts(name="path", role="read", positional=True),),
)
HOSTS = "version: 1\nname: p\ngrant: [network]\ncommands: {{allow: [http get]}}\nnetwork:\n  allow: [{}]\n"


def _listing(key: str, number: int) -> str:
    names = ", ".join(f"a{place}" for place in range(number))
    return f"version: 1\nname: p\ngrant: [files]\n{key}: [{names}]\n"


def _hosts(number: int, rule: str) -> str:
    return HOSTS.format(", ".join(rule.replace("#", str(place)) for place in range(number)))


@pytest.mark.parametrize(
    ("text", "key", "line", "most"),
    [
        (_hosts(257, "{host: h#.com}"), "network.allow", 6, 256),
        (_listing("files:\n  hide", 2049), "files.hide", 5, 2048),
        (_listing("files:\n  visible", 2049), "files.visible", 5, 2048),
        (_listing("files:\n  protect", 2049), "files.protect", 5, 2048),
        (_listing("commands:\n  deny", 2049), "commands.deny", 5, 2048),
        (_listing("commands:\n  allow", 257), "commands.allow", 5, 256),
        (_listing("commands:\n  ask", 257), "commands.ask", 5, 256),
        (_hosts(1, f"{{host: h.com, ports: [{'1, ' * 256}2]}}"), "network.allow.0.ports", 6, 256),
        (_hosts(1, f"{{host: h.com, paths: [{'/a, ' * 256}/b]}}"), "network.allow.0.paths", 6, 256),
    ],
)
def test_a_list_longer_than_any_person_writes_is_refused_with_its_place(
    text: str, key: str, line: int, most: int
) -> None:
    with pytest.raises(PolicyFileError) as refused:
        parse_policy(text, origin="p.yaml")

    [problem] = refused.value.problems
    assert (problem.at.line, problem.message) == (
        line,
        f"`{key}` has {most + 1} entries; expected at most {most}",
    )


@pytest.mark.parametrize("key", ["hide", "protect", "visible"])
def test_a_list_of_files_is_as_long_as_a_repository_needs(key: str) -> None:
    text = _listing(f"files:\n  {key}", MOST_NAMES)

    policy = parse_policy(f"{text}commands: {{allow: [files read]}}\n", origin="p.yaml")
    own = parse_policy(
        f"version: 1\nname: c\nextends: b\nfiles: {{{key}: [a1]}}\n",
        origin="c",
        find=lambda _: SourceText("b", text),
    )
    check(policy, [READ])
    found = diff(policy, own, [READ])

    assert policy.files is not None
    assert len(getattr(policy.files, key)) == MOST_NAMES
    assert found.is_wider is False


def test_the_longest_list_is_read_and_expectations_are_not_counted() -> None:
    expect = "".join("  - deny: http get https://x.com/\n" for _ in range(300))

    policy = parse_policy(_hosts(MOST_ENTRIES, "{host: h#.com}") + f"expect:\n{expect}", origin="p.yaml")

    assert policy.network is not None
    assert (len(policy.network.allow), len(policy.expect)) == (256, 300)


def test_what_a_lawful_file_resolves_to_is_read_back_however_much_longer_it_is() -> None:
    """With every default written, 256 short rules take more than the 64 KiB that a file may have."""
    rule = "{host: h#.com, methods: [GET, POST, PUT, PATCH], paths: ['/a/*', '/b', '/c', '/d', '/e', '/f']}"
    text = _hosts(MOST_ENTRIES, rule)
    policy = parse_policy(text, origin="p.yaml")
    kept = policy.as_yaml()

    assert len(text) < 30_000
    assert len(kept) > LARGEST_TEXT
    assert parse_policy(kept, origin="kept", resolved=True) == policy
    with pytest.raises(PolicyFileError, match="the file is larger than 64 KiB"):
        parse_policy(kept, origin="p.yaml")
    with pytest.raises(PolicyFileError, match="the file is larger than 4096 KiB"):
        parse_policy("#" * (LARGEST_RESOLVED + 1), origin="kept", resolved=True)


def test_rules_that_all_meet_each_other_are_not_joined() -> None:
    """Each level of `extends` would square their number: one line instead of hours."""
    text = _hosts(30, "{host: h.com, methods: [GET], paths: ['/a#/*']}")
    own = text.replace("/a0/*", "/a0/b")

    with pytest.raises(PolicyFileError) as refused:
        parse_policy(f"extends: base\n{own}", origin="p.yaml", find=lambda _: SourceText("base", text))
    with pytest.raises(UnjoinableError):
        join(parse_policy(text, origin="a"), parse_policy(text, origin="b"))

    [problem] = refused.value.problems
    assert problem.message == "joined, the policies have more than 512 rules for hosts"
    assert (problem.at.line, problem.hint) == (7, "name each host in few rules of either")


@pytest.mark.parametrize("own", ["", "network: {deny: [x.com], limits: {requests: 7}}\n"])
def test_what_names_no_hosts_of_its_own_extends_however_many_rules_one_host_has(own: str) -> None:
    base = SourceText("base", _hosts(60, "{host: h.com, methods: [GET], paths: ['/a#/*']}"))

    policy = parse_policy(f"version: 1\nname: c\nextends: base\n{own}", origin="c", find=lambda _: base)

    assert policy.network is not None
    allowed = parse_policy(base.text, origin="base").network
    assert allowed is not None
    assert policy.network.allow == allowed.allow
    if "deny" in own:
        assert [host.text for host in policy.network.deny] == ["x.com"]
        assert policy.network.limits.requests == 7


def test_a_credential_of_the_base_still_counts_as_private_where_no_hosts_are_named() -> None:
    text = "version: 1\nname: b\ngrant: [network]\nnetwork: {allow: [{host: a.com, credential: c}]}\n"
    find = {"base": SourceText("base", text)}.get

    child = parse_policy("version: 1\nname: c\nextends: base\n", origin="c", find=find)
    without = parse_policy("version: 1\nname: c\nextends: base\ngrant: []\n", origin="c", find=find)

    assert child.counts_sinks
    assert child == parse_policy(text, origin="base")
    assert without.network is None
    assert without.sinks == "strict"


def test_many_hosts_that_do_not_meet_are_joined() -> None:
    text = _hosts(MOST_ENTRIES, "{host: h#.com}")

    joined = parse_policy(f"extends: base\n{text}", origin="p", find=lambda _: SourceText("base", text))

    assert joined.network is not None
    assert len(joined.network.allow) == MOST_ENTRIES


@pytest.mark.parametrize(
    "rule",
    ["{host: h.com, methods: [GET], paths: ['/a#/*/b']}", "{host: h.com, limits: {requests: 1#}}"],
)
def test_the_longest_policies_are_checked_and_compared_within_bounds(rule: str) -> None:
    """Generous: before the bound, each of these took from half a minute to hours."""
    policy = parse_policy(_hosts(60, rule), origin="p")
    began = time.process_time()

    report = check(policy, [GET])
    found = diff(policy, parse_policy(_hosts(60, rule.replace("h.com", "g.com")), origin="q"), [GET])

    assert found.widenings
    assert "shadowed" not in {finding.topic for finding in report.findings}
    assert time.process_time() - began < 60


def test_what_adds_nothing_is_still_found_among_many() -> None:
    rules = _hosts(20, "{host: h.com, methods: [GET], paths: ['/a#/*/b']}").replace("'/a7/*/b'", "'/a3/x/b'")

    topics = check(parse_policy(rules, origin="p"), [GET]).findings

    assert [item.message for item in topics if item.topic == "shadowed"] == [
        "the rule for `h.com` adds nothing to the one for `h.com`"
    ]


def test_many_globs_are_compared_and_each_has_its_witness() -> None:
    def hiding(part: str) -> str:
        globs = ", ".join(f"'**/{part}{number}*'" for number in range(MOST_ENTRIES))
        return (
            f"version: 1\nname: p\ngrant: [files]\nfiles: {{hide: [{globs}]}}\n"
            "commands: {allow: [files read]}\n"
        )

    found = diff(parse_policy(hiding("a*b"), origin="a"), parse_policy(hiding("b*c"), origin="b"), [READ])

    hidden = [change.witness for change in found.widenings if change.topic == "file"]
    assert len(hidden) == MOST_ENTRIES
    assert hidden[0] == "files read axb0x"


def test_hard_patterns_of_a_whole_policy_are_compared_in_one_budget() -> None:
    """Generous: with a budget for each glob and argument, each of 60 globs took several seconds."""
    note = ArgumentFacts(name="note", role="value", positional=False)
    command = replace(READ, arguments=(*READ.arguments, note))
    middle = "*".join("bcdefgh" * 3)
    head = "version: 1\nname: p\ngrant: [files]\n"
    globs = ", ".join(f"'**/*a*b*c*{place}*'" for place in range(60))

    def noting(pattern: str) -> str:
        values = ", ".join(f"'*{pattern}*{place}'" for place in range(7))
        rule = f"{{command: files read, arguments: {{note: [{values}]}}}}"
        return f"commands: {{allow: [files read], rules: [{rule}]}}\n"

    old = parse_policy(f"{head}files: {{hide: [{globs}]}}\n{noting(f'a*{middle}')}", origin="old")
    new = parse_policy(f"{head}{noting(f'{middle}*a*b')}", origin="new")
    began = time.process_time()

    found = diff(old, new, [command])

    assert sum(change.topic == "file" for change in found.widenings) == 60
    assert time.process_time() - began < 60


@pytest.mark.parametrize(
    ("inner", "outer", "within"),
    [
        ("/a/*", ["/a/**"], True),
        ("/a/*", ["/a/x"], False),
        ("/a/*", ["/a/x", "/a/y*"], False),
        ("/**", ["/a/**"], False),
        ("/a/b", ["/x", "/*/b"], True),
    ],
)
def test_lying_within_says_what_the_walk_says(inner: str, outer: list[str], *, within: bool) -> None:
    steps = [url_steps(text) for text in outer]

    assert lies_within(url_steps(inner), steps, of="url") is within
    assert (witness(url_steps(inner), steps, of="url") is None) is within
