# ruff: noqa: E501 - tables of whole messages, one on each line
from __future__ import annotations

import random
import time
from contextlib import suppress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from policies.canonical import canonical_bytes
from policies.commands import ValuePattern
from policies.errors import BadValueError, ForbiddenGrantError, PolicyError, PolicyFileError, RuleAt
from policies.globs import Glob
from policies.grant import Grant
from policies.library import library_names, library_policy
from policies.policy import Policy
from policies.source import SourceText, parse_policy

HEAD = "version: 1\nname: p\n"
FULL = """\
version: 1
name: fix-tests
grant: [files, exec]
files:
  access: stage
  hide: [".env*", "**/*.pem"]
  protect: [".git/**", ".github/**"]
  limits: {written_bytes: 64MiB, written_files: 2000}
exec:
  image: pairlock/starter
  programs: [pytest, ruff]
commands:
  allow: ["files *", run]
  ask: ["slack upload"]
  rules: [{command: slack post, arguments: {channel: ["#ci"]}, max_calls: 3}]
sinks: default
isolation: {runtime: default, memory: 1GiB, cpus: 2, processes: 256, scratch: 512MiB}
budget: {turns: 60, tokens: 400k, cost_usd: 3, wall_time: 30m}
expect:
  - allow: files read src/app.py
  - deny: http get https://example.com/
    because: capability
"""


def _lines(text: str) -> list[str]:
    with pytest.raises(PolicyFileError) as refused:
        parse_policy(text, origin="p.yaml")
    return [str(problem) for problem in refused.value.problems]


def test_every_block_of_the_design_is_read() -> None:
    policy = parse_policy(FULL, origin="p.yaml")

    assert policy.grant is Grant.FILES_EXEC
    assert policy.files is not None
    assert policy.exec is not None
    assert policy.network is None
    assert policy.exec.programs.names == ("pytest", "ruff")
    assert policy.files.limits.written_bytes == 64 * 2**20
    assert policy.isolation.memory == 2**30
    assert policy.budget.tokens == 400_000
    assert policy.budget.wall_time == 1800
    assert policy.commands.rules[0].max_calls == 3


def test_rules_remember_where_they_were_written() -> None:
    policy = parse_policy(FULL, origin="p.yaml")

    assert policy.files is not None
    assert policy.files.hide[1].at == RuleAt("p.yaml", 6, 19)
    assert policy.commands.rules[0].at == RuleAt("p.yaml", 15, 21)
    assert policy.place("budget.turns") == RuleAt("p.yaml", 18, 10)
    assert policy.place("grant") == RuleAt("p.yaml", 3, 1)


def test_the_resolved_text_parses_to_an_equal_policy() -> None:
    policy = parse_policy(FULL, origin="p.yaml")

    again = parse_policy(policy.as_yaml(), origin="resolved", resolved=True)

    assert canonical_bytes(again) == canonical_bytes(policy)
    assert again == policy


def _written_down(hide: tuple[Glob, ...], value: ValuePattern | None) -> None:
    policy = parse_policy(FULL, origin="p.yaml")
    assert policy.files is not None
    rule = policy.commands.rules[0]
    arguments = {"channel": (value or rule.arguments["channel"][0],)}
    rules = (rule.model_copy(update={"arguments": arguments}),)
    wrote = policy.replaced(
        files=policy.files.model_copy(update={"hide": hide}),
        commands=policy.commands.model_copy(update={"rules": rules}),
    )

    assert parse_policy(wrote.as_yaml(), origin="again", resolved=True) == wrote


@given(st.text(min_size=1, max_size=12) | st.text("?-:,#&*!|>'\"%@`~ =<.0a1e", min_size=1, max_size=5))
@example("\ud7fc\u200b")
@example("\u202e a")
@example(": 0")
@settings(max_examples=60, deadline=None)
def test_whatever_a_value_or_glob_is_the_resolved_text_says_the_same(text: str) -> None:
    with suppress(BadValueError):
        _written_down((), ValuePattern(text))
    with suppress(BadValueError):
        _written_down((Glob(text),), None)


@pytest.mark.parametrize("text", ["?", "?x", "??*", "? x", "-?", "x?"])
def test_a_question_mark_in_front_is_written_down_as_text(text: str) -> None:
    _written_down((Glob(text), Glob("b")), ValuePattern(text))


@pytest.mark.parametrize("name", library_names())
def test_each_library_policy_survives_being_written_down(name: str) -> None:
    source = library_policy(name)
    assert source is not None
    policy = parse_policy(source.text, origin=source.origin)

    assert parse_policy(policy.as_yaml(), origin="resolved", resolved=True).digest == policy.digest


def test_the_digest_ignores_order_and_names_and_notices_meaning() -> None:
    one = parse_policy(FULL, origin="a")
    reordered = FULL.replace('"files *", run', 'run, "files *"').replace("name: fix-tests", "name: other")
    wider = FULL.replace("[pytest, ruff]", "[pytest, ruff, sh]")

    assert parse_policy(reordered, origin="b").digest == one.digest
    assert parse_policy(wider, origin="b").digest != one.digest


def test_a_policy_cannot_be_changed() -> None:
    policy = parse_policy(FULL, origin="a")

    with pytest.raises(ValueError, match="frozen"):
        policy.sinks = "strict"
    with pytest.raises(TypeError):
        policy.commands.rules[0].arguments["x"] = ()  # type: ignore[index]  # the very thing that must not work


def test_a_copied_block_forgets_what_was_computed_from_the_old_one() -> None:
    policy = parse_policy(FULL, origin="a")
    assert policy.files is not None
    assert policy.files.hidden_by("secret.txt") is None
    digest = policy.digest

    narrowed = policy.files.model_copy(update={"hide": (Glob.parse("secret.txt"),)})

    assert narrowed.hidden_by("secret.txt") is not None
    assert policy.model_copy(update={"files": narrowed}).digest != digest


def test_several_problems_are_told_at_once_each_with_its_place_and_mend() -> None:
    text = (
        FULL.replace("access: stage", "access: stagee")
        .replace("  hide:", "  hidee:")
        .replace("2000", "many")
        .replace("memory: 1GiB", "memory: 1")
        .replace("turns:", "tunrs:")
        .replace("version: 1", "version: true")
    )

    assert _lines(text) == [
        "p.yaml:1:10: version `true` is not known; hint: write `version: 1`",
        "p.yaml:5:11: `stagee` is none of `read`, `stage`, `direct`; hint: did you mean `stage`?",
        "p.yaml:6:3: key `hidee` is not known in `files`; hint: did you mean `hide`?",
        "p.yaml:8:49: `many` is not a count; hint: write a whole number and a unit, as in `400k`",
        "p.yaml:17:39: `1` is not a size; hint: write a whole number and a unit, as in `64MiB`",
        "p.yaml:18:10: key `tunrs` is not known in `budget`; hint: did you mean `turns`?",
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "p.yaml:1:1: the file holds no block; expected `version: 1` and more; hint: see `pairlock policy new`"),
        ("[]", "p.yaml:1:1: the file holds no block; expected `version: 1` and more; hint: see `pairlock policy new`"),
        ("name: p", "p.yaml:1:1: key `version` is missing; hint: add `version: …`"),
        (HEAD + "name: q", "p.yaml:3:1: key `name` stands twice; hint: the first is on line 2"),
        (HEAD + "grant: files", "p.yaml:3:8: `files` is no list of capabilities; hint: as in `[files, exec]`"),
        (HEAD + "grant: [file]", "p.yaml:3:9: `file` is not a capability; hint: did you mean `files`?"),
        (HEAD + "grant: [files, [exec]]", "p.yaml:3:8: `[exec]` is not a capability; hint: did you mean `exec`?"),
        (HEAD + "files: {}", "p.yaml:3:1: block `files` stands here, but the grant is `none`; hint: add `files` to `grant`, or remove the block"),
        (HEAD + "grant: [files]\nfiles: [a]", "p.yaml:4:8: `files` is `[a]`; expected a block; hint: its keys are `access`, `hide`, `hide_defaults`, `visible`, `protect`, `protect_defaults`, `limits`"),
        (HEAD + "grant: [files]\nfiles: {hide: .env}", "p.yaml:4:15: `files.hide` is `.env`; expected a list; hint: write `[.env]`"),
        (HEAD + "grant: [files]\nfiles: {hide: [1]}", "p.yaml:4:16: `1` is not a glob; hint: quote it if it is meant as text"),
        (HEAD + "grant: [files]\nfiles: {hide_defaults: no}", "p.yaml:4:24: `files.hide_defaults` is `no`; expected true or false; hint: YAML 1.2 knows only `true` and `false`"),
        (HEAD + "budget: {turns: 0}", "p.yaml:3:10: `budget.turns` is `0`; expected 1 to 100000"),
        (HEAD + "isolation: {memory: 1MiB}", "p.yaml:3:13: `isolation.memory` is `1MiB`; expected 32MiB to 1TiB"),
        (HEAD + "turns: 5", "p.yaml:3:1: key `turns` is not known; hint: it belongs in `budget`"),
        (HEAD + "a: &x 1\nb: *x", "p.yaml:3:4: anchors and aliases are not read; hint: write the value where it is meant"),
        (HEAD + "a: !!python/object:os.system x", "p.yaml:3:4: the tag `tag:yaml.org,2002:python/object:os.system` is not read; hint: write the plain value"),
        (HEAD + "commands: {rules: [{command: run}]}", "p.yaml:3:30: the rule for `run` bounds nothing; hint: add `arguments:` or `max_calls:`"),
        (HEAD + "commands: {allow: ['*']}", "p.yaml:3:20: command `*` allows whatever exists; hint: name each group, as in `files *`"),
        (HEAD + "x: \u202e", "p.yaml:3:4: the invisible character `U+202E` (right-to-left override) stands here; hint: remove it: a reviewer cannot see it"),
        (HEAD + "expect: [{allow: run, deny: run}]", "p.yaml:3:10: an expectation has one of `allow`, `ask`, `deny`; hint: as in `- deny: http get https://…`"),
    ],
    ids=lambda value: repr(value)[:24],
)  # fmt: skip
def test_one_mistake_gives_one_clear_line(text: str, line: str) -> None:
    found = _lines(text)

    assert found[0] == line


def test_all_three_is_refused_with_its_place_and_three_ways_to_split() -> None:
    with pytest.raises(ForbiddenGrantError) as refused:
        parse_policy(FULL.replace("[files, exec]", "[files, exec, network]"), origin="p.yaml")

    assert refused.value.at == RuleAt("p.yaml", 3, 8)
    assert len(refused.value.splits) == 3
    assert not isinstance(refused.value, PolicyFileError), "exit 3, not 2"


def test_a_ten_megabyte_file_is_refused_by_size() -> None:
    start = time.process_time()

    assert _lines("a: 1\n" * 2_500_000) == ["p.yaml:1:1: the file is larger than 64 KiB"]
    assert time.process_time() - start < 30  # parsing it would take minutes


@pytest.mark.parametrize(
    "bomb",
    [
        "[" * 30000,
        "{a: " * 15000,
        "- " * 30000,
        "? " * 30000,
        "&a [*a]",
        "a: &b [x]\nb: &c [*b,*b]\nc: [*c,*c]",
    ],
)
def test_a_bomb_is_refused_before_it_grows(bomb: str) -> None:
    start = time.process_time()

    assert _lines(bomb)
    assert time.process_time() - start < 10


def test_two_hundred_malformed_files_each_give_problems_or_a_policy_and_never_a_traceback() -> None:
    chance = random.Random(20240229)  # noqa: S311 - a repeatable fuzz, not a secret
    for _ in range(200):
        text = _spoilt(FULL, chance)
        start = time.process_time()
        outcome = _outcome(text)
        assert isinstance(outcome, Policy) or str(outcome).startswith("p.yaml:")
        assert time.process_time() - start < 10


def _outcome(text: str) -> Policy | PolicyError:
    try:
        return parse_policy(text, origin="p.yaml")
    except PolicyError as exc:
        return exc


def _spoilt(text: str, chance: random.Random) -> str:
    pieces = ["[", "]", "{", "}", ":", "\n", "  ", "\t", "&a ", "*a", "!x ", "|", ">", "'", '"', "%", "@", "`", "\0", "\u202e", "null", "999999999999999999999", "-1", "? ", "--- ", "...", "#", ",", "\\", "\ud800", "1e999", ".inf"]  # fmt: skip
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(len(text))
        match chance.randrange(4):
            case 0:
                text = text[:at] + chance.choice(pieces) + text[at:]
            case 1:
                text = text[:at] + text[at + chance.randint(1, 20) :]
            case 2:
                other = chance.randrange(len(text))
                text = text[:at] + text[other : other + 40] + text[at:]
            case _:
                text = text[:at] + chr(chance.randrange(0x250)) + text[at + 1 :]
    return text


def test_a_policy_may_extend_and_only_narrow() -> None:
    child = "version: 1\nname: c\nextends: fix-tests\nexec: {programs: [pytest, sh]}\nbudget: {turns: 500, tokens: 1k}\n"

    policy = parse_policy(child, origin="c.yaml", find=library_policy)

    assert policy.exec is not None
    assert policy.exec.programs.names == ("pytest",)
    assert policy.budget.turns == 60
    assert policy.budget.tokens == 1000
    assert policy.grant is Grant.FILES_EXEC
    assert [origin for origin, _ in policy.closure] == ["c.yaml", "library/fix-tests"]


def test_an_extending_policy_cannot_add_a_capability_a_command_or_a_host() -> None:
    base = (
        HEAD + "grant: [files, network]\nnetwork: {allow: [{host: a.com}]}\ncommands: {allow: [http get]}\n"
    )
    child = "version: 1\nname: c\nextends: base\ngrant: [network]\nnetwork: {allow: [{host: b.com}, {host: a.com, methods: [GET, POST]}]}\ncommands: {allow: [http post, 'http *']}\n"

    policy = parse_policy(child, origin="c.yaml", find=lambda _: SourceText("base.yaml", base))

    assert policy.grant is Grant.NETWORK
    assert policy.network is not None
    assert [(rule.host.text, rule.methods) for rule in policy.network.allow] == [("a.com", ("GET",))]
    assert [pattern.text for pattern in policy.commands.allow] == ["http get"]


@pytest.mark.parametrize(
    ("extends", "message"),
    [
        ("nothing", "policy `nothing` is not found"),
        ("self", "policy `self` extends itself, or too deep"),
    ],
)
def test_extending_what_is_not_there_or_oneself_is_refused(extends: str, message: str) -> None:
    text = f"version: 1\nname: c\nextends: {extends}\n"
    texts = {"self": SourceText("self.yaml", "version: 1\nname: s\nextends: self\n")}

    with pytest.raises(PolicyFileError) as refused:
        parse_policy(text, origin="c.yaml", find=texts.get)

    assert refused.value.problems[0].message == message


def test_another_image_than_the_base_fixes_is_refused() -> None:
    child = "version: 1\nname: c\nextends: fix-tests\nexec: {image: evil/image}\n"

    with pytest.raises(PolicyFileError) as refused:
        parse_policy(child, origin="c.yaml", find=library_policy)

    assert str(refused.value.problems[0].at) == "c.yaml:4:8"
