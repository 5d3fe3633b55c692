# ruff: noqa: E501 - a table of mistakes and what is said of each, one on each line
"""What a tired person writes: each mistake gets one line with its place and the mend that helps."""

from __future__ import annotations

import pytest

from policies.check import check
from policies.errors import PolicyFileError, Problem, RuleAt
from policies.source import parse_policy
from policies.wording import nearest

HEAD = "version: 1\nname: p\n"
FILES = HEAD + "grant: [files]\n"
NET = HEAD + "grant: [network]\nnetwork:\n  allow:\n"
EXEC = HEAD + "grant: [exec]\nexec: "


def _problems(text: str) -> tuple[Problem, ...]:
    with pytest.raises(PolicyFileError) as refused:
        parse_policy(text, origin="p.yaml")
    return refused.value.problems


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (FILES + "files:\n\taccess: read\n", "p.yaml:5:1: not valid YAML: `found character '\\t' that cannot start any token`; hint: indent with spaces: YAML takes no tabs there"),
        (FILES + "files: {hide: *.pem}\n", 'p.yaml:4:15: anchors and aliases are not read: `*.pem`; hint: a value that begins with `*` is quoted, as in `"*.pem"`'),
        (NET + "    - host: *.a.com\n", 'p.yaml:6:13: anchors and aliases are not read: `*.a.com`; hint: a value that begins with `*` is quoted, as in `"*.pem"`'),
        (NET + "    - host: *\n", "p.yaml:6:14: not valid YAML: `expected alphabetic or numeric character, but found '\\n'`; hint: a value that begins with `*` is quoted, as in `\"*.pem\"`"),
        (FILES + "files:\n  <<: *base\n", "p.yaml:5:7: anchors and aliases are not read: `*base`; hint: write the keys where they are meant"),
        (HEAD + "description: a: b\n", "p.yaml:3:15: not valid YAML: `mapping values are not allowed here`; hint: indent keys of one block alike, and quote a value that holds `: `"),
        (HEAD + "@a: 1\n", 'p.yaml:3:1: not valid YAML: `found character \'@\' that cannot start any token`; hint: quote the value, as in `"…"`'),
        (FILES + "commands:\n  allow:\n  -files read\n", "p.yaml:7:1: not valid YAML: `could not find expected ':'`; hint: write `key: value`, and `- value` with a space"),
        ("version: 1\nname: 'p\n", "p.yaml:3:1: not valid YAML: `found unexpected end of stream`; hint: a quote or a bracket is not closed"),
        ("version: 1\rname: p\rgrant: []\n", "p.yaml:1:11: the invisible character `U+000D` stands here, and 1 more of it; hint: remove it: a reviewer cannot see it"),
        (HEAD + "grant: [files+exec]\n", "p.yaml:3:9: `files+exec` is not a capability; hint: one in each place, as in `[files, exec]`"),
        (HEAD + "grant: ['files, network']\n", "p.yaml:3:9: `files, network` is not a capability; hint: one in each place, as in `[files, exec]`"),
        (NET + "    - a.com\n", "p.yaml:6:7: `network.allow.0` is `a.com`; expected a block; hint: as in `host: …`"),
        (FILES + "files: true\n", "p.yaml:4:8: `files` is `true`; expected a block; hint: its keys are `access`, `hide`, `hide_defaults`, `visible`, `protect`, `protect_defaults`, `limits`"),
        (NET + "    - host: a.com:8443\n", "p.yaml:6:13: host `a.com:8443` has a port; hint: write `ports: [8443]` beside it"),
        (NET + "    - host: '[::1]:8443'\n", "p.yaml:6:13: host `[::1]:8443` has a port; hint: write `ports: [8443]` beside it"),
        (NET + "    - host: 10.0.0.0/8\n", "p.yaml:6:13: `10.0.0.0/8` is a path or a range, not a host; hint: the host alone; `paths:` and `ports:` exist"),
        (NET + "    - host: a.com\n      ports: 8080\n", "p.yaml:7:14: `network.allow.0.ports` is `8080`; expected a list; hint: write `[8080]`"),
        (NET + "    - host: a.com\n      ports: ['8080']\n", "p.yaml:7:15: `network.allow.0.ports.0` is `8080`; expected a whole number; hint: without quotes, as in `443`"),
        (NET + "    - host: a.com\n      methods: [get]\n", "p.yaml:7:17: `get` is none of `GET`, `HEAD`, `POST`, `PUT`, `PATCH`, `DELETE`, `OPTIONS`; hint: did you mean `GET`?"),
        (FILES + "files: {access: write}\n", "p.yaml:4:17: `write` is none of `read`, `stage`, `direct`; hint: write one of them, as in `read`"),
        (FILES + "commands: {allow: ['run pytest -q']}\n", "p.yaml:4:20: `run pytest -q` is not a command; hint: words with one space between, as in `files read` or `files *`; `rules` and `programs` bound what follows"),
    ],
    ids=lambda value: repr(value)[:40],
)  # fmt: skip
def test_a_common_mistake_is_told_in_one_line_with_its_mend(text: str, line: str) -> None:
    assert str(_problems(text)[0]) == line


@pytest.mark.parametrize(
    "text",
    [
        FILES + "files: {hide: ['*.pem']}\n",
        NET + "    - {host: '*.a.com', ports: [8443], methods: [GET]}\n",
        NET + "    - host: '::1'\n",
        HEAD + "grant: [files, exec]\n",
    ],
)
def test_twin_the_mend_is_taken(text: str) -> None:
    assert parse_policy(text, origin="p.yaml").name == "p"


def test_three_thousand_faults_are_told_in_fifty_lines_and_a_count() -> None:
    found = _problems(HEAD + "".join(f"k{number}: 1\n" for number in range(3000)))

    assert len(found) == 51
    assert str(found[-1]) == "p.yaml:53:1: 2950 more faults begin here"


def test_each_invisible_character_is_told_once_however_often_it_stands_there() -> None:
    found = _problems(HEAD + "a: \u200b\u200b\u202e\u200b\n")

    assert [str(problem).partition(";")[0] for problem in found] == [
        "p.yaml:3:4: the invisible character `U+200B` (zero width space) stands here, and 2 more of it",
        "p.yaml:3:6: the invisible character `U+202E` (right-to-left override) stands here",
    ]


def test_the_name_of_a_file_stays_within_its_line_and_is_seen() -> None:
    at = RuleAt("a\nhint: run evil\u202e`.yaml", 1, 2)

    assert str(at) == "a\\u{a}hint: run evil\\u{202e}\\u{60}.yaml:1:2"


def test_the_nearest_word_is_found_whatever_the_case() -> None:
    assert nearest("post", ["GET", "POST"]) == "POST"
    assert nearest("Hidee", ["hide", "protect"]) == "hide"
    assert nearest("zzz", ["hide"]) is None


@pytest.mark.parametrize(("name", "is_odd"), [("any", True), ("pytest -q", True), ("pytest", False)])
def test_a_list_of_programs_that_means_something_else_is_warned_of(name: str, is_odd: bool) -> None:  # noqa: FBT001 - a table
    policy = parse_policy(EXEC + f"{{programs: ['{name}']}}\n", origin="p.yaml")

    found = [str(finding) for finding in check(policy, ()).findings if finding.topic == "odd-program"]

    assert [line.startswith("p.yaml:4:19: warning: ") for line in found] == [True] * is_odd
