"""For any values, a declared command's argv is its template with these values in it, or it is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cli_tools.action import Catalogue, LineProposal, ToolProposal
from cli_tools.declared import declared_commands
from cli_tools.errors import UsageError

if TYPE_CHECKING:
    from cli_tools.action import Action

EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "commands"
HOSTILE = [
    "-x", "--output=x", "--", "-", "@file", "+x", "~", "~root", "$HOME", "${X}", "`id`", "$(id)", "*", "a*",
    "?", "[a]", "{a,b}", "a b", "a\tb", "a\nb", "a\0b", "", " ", ";id",
    "a;b", "|id", "&", ">x", "<x", "'", '"',
    "\\", "!x", "%s", "%PATH%", "a,b", "a=b", "a:b", "\u202e", "\u2028",
    "\x1b[2J", "\ud800", "../x", "/etc/passwd",
    "a/../../b", "-rf", "--checkpoint-action=exec=sh", "\u2010x", "\uff0dx", ".", "./-x", "-.txt",
]  # fmt: skip
DECLARED = """version: 1
commands:
  - name: x many
    summary: Print every kind of value.
    program: printargs
    needs: [network, exec]
    sinks: {to: host}
    arguments:
      text: {type: pattern, pattern: '(?s).*'}
      raw: {type: pattern, pattern: '(?s).*', literal: true}
      kind: {type: enum, values: [one, -two]}
      count: {type: integer, least: -5, most: 5}
      to: {type: host}
      last: {type: pattern, pattern: '(?s).*', required: false}
      loud: {type: flag}
    argv:
      - "{text}"
      - "--raw={raw}"
      - "-Wl={text}"
      - "{text}.txt"
      - "{text}=1"
      - "--count={count}"
      - {with: loud, words: [--loud]}
      - {with: last, words: [--last, "{last}"]}
      - "{to}"
      - --
      - "{kind}"
      - "{raw}"
    examples: [{line: x many a b one 1 c.example, runs: false}]
  - name: y files
    summary: Print paths.
    program: printargs
    needs: [files, exec]
    sinks: {}
    arguments:
      paths: {type: path, access: read, many: true}
      out: {type: path, access: write, literal: true, required: false}
    argv: ["{paths}", {with: out, words: ["--out={out}"]}, "-"]
    examples: [{line: y files a, runs: false}]
"""


CATALOGUE = Catalogue(made for _, made in declared_commands(DECLARED, origin="x"))


def parsed(**arguments: object) -> Action:
    tool = "y_files" if "paths" in arguments else "x_many"
    return CATALOGUE.parse(ToolProposal(tool=tool, arguments=json.dumps(arguments)))


def written(word: str, value: str, *, kind: str = "type: pattern, pattern: '.*'") -> str:
    """Return the one word of a command's argv with a value in it."""
    text = f"""version: 1
commands:
  - name: one
    summary: Print one word.
    program: printargs
    needs: [files, exec]
    sinks: {{}}
    arguments: {{text: {{{kind}}}}}
    argv: ['{word}']
    examples: [{{line: one a, runs: false}}]
"""
    catalogue = Catalogue(made for _, made in declared_commands(text, origin="x"))
    action = catalogue.parse(ToolProposal(tool="one", arguments=json.dumps({"text": value})))
    return action.command.started(action.parameters)[1]


VALUE = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=12), st.text("ab-@=*./$ ", max_size=8))


@settings(max_examples=150)
@given(text=VALUE, raw=VALUE, last=st.none() | VALUE, loud=st.booleans(), count=st.integers(-7, 7))
def test_the_argv_is_the_template_with_these_very_values_or_the_line_is_refused(
    text: str, raw: str, last: str | None, count: int, *, loud: bool
) -> None:
    """No value is an option, a second argument or a word of a shell; none is changed on its way."""
    values = {"text": text, "raw": raw, "kind": "-two", "count": count, "to": "A.example.", "loud": loud}
    if last is not None:
        values["last"] = last

    try:
        action = parsed(**values)
    except UsageError:
        return

    assert action.command.started(action.parameters) == (
        "printargs", text, f"--raw={raw}", f"-Wl={text}", f"{text}.txt", f"{text}=1", f"--count={count}",
        *(["--loud"] if loud else []), *([] if last is None else ["--last", last]), "a.example", "--", "-two",
        raw,
    )  # fmt: skip
    assert text[0] not in "-@+~"
    assert "=" not in text + raw
    for value in (text, *([] if last is None else [last])):
        assert not set(value) & set("*?[]{}$`~!%\\\n\0\x1b")
    assert last is None or last[0] not in "-@+~"


@settings(max_examples=150)
@given(paths=st.lists(VALUE, min_size=1, max_size=4), out=st.none() | VALUE)
def test_a_path_is_a_word_of_its_own_that_begins_with_a_dot(paths: list[str], out: str | None) -> None:
    try:
        action = parsed(paths=paths, **({} if out is None else {"out": out}))
    except UsageError:
        return

    program, *words = action.command.started(action.parameters)
    assert program == "printargs"
    assert len(words) == len(paths) + (out is not None) + 1
    assert all(word == "." or word.startswith("./") for word in words[: len(paths)])
    assert [use.path for use in action.request().paths][: len(paths)] == [
        word.removeprefix("./") if not paths[place].startswith("./") else word
        for place, word in enumerate(words[: len(paths)])
    ]


@pytest.mark.parametrize("text", ["-x", "--output=x", "@file", "+x", "~", "$HOME", "*", "a\nb", ""])
def test_what_a_program_could_read_as_more_is_refused_and_a_plain_value_is_not(text: str) -> None:
    """The positive twin of the properties above: they do not hold because everything is refused."""
    plain = {"raw": "a b", "kind": "one", "count": 1, "to": "a.example"}

    with pytest.raises(UsageError) as caught:
        parsed(text=text, **plain)

    assert caught.value.code == "usage"
    assert parsed(text="plain, and more", **plain).command.name == "x many"


def test_a_value_holds_nothing_at_which_its_word_could_be_taken_apart() -> None:
    """`-Wl,{text}` with `a,--plugin` would be a second argument for the linker."""
    text = DECLARED.replace('"-Wl={text}"', '"--linker=-Wl,{text}"')
    catalogue = Catalogue(made for _, made in declared_commands(text, origin="x"))

    with pytest.raises(UsageError) as caught:
        catalogue.parse(LineProposal(line="x many a,--plugin b one 1 c.example"))

    assert "at which the program may take it apart" in caught.value.message
    assert catalogue.parse(LineProposal(line="x many a b one 1 c.example"))


def test_behind_two_dashes_a_value_may_begin_with_one() -> None:
    values = {"text": "a", "kind": "-two", "count": -5, "to": "a.example"}

    assert parsed(raw="-x", **values).command.started(parsed(raw="-x", **values).parameters)[-2:] == (
        "-two",
        "-x",
    )
    with pytest.raises(UsageError):
        parsed(raw="+x\n", **values)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_the_examples_of_the_shipped_files_mean_what_they_say(path: Path) -> None:
    declared = declared_commands(path.read_text(), origin=path.name)
    catalogue = Catalogue(made for _, made in declared)

    for one, made in declared:
        for example in one.examples:
            if example.refused:
                with pytest.raises(UsageError):
                    catalogue.parse(LineProposal(line=example.line))
            else:
                action = catalogue.parse(LineProposal(line=example.line))
                assert action.command is made
                assert action.command.started(action.parameters) == example.argv


@pytest.mark.parametrize(
    ("word", "value", "plain"),
    [
        ("{text}.txt", "-rf", "r-f"),
        ("{text}=1", "--output", "output"),
        ("{text}.txt", "@args", "args@"),
        ("--data={text}", "@secret", "-1"),
    ],
)
def test_a_value_that_begins_a_word_or_an_options_value_is_not_read_as_more(
    word: str, value: str, plain: str
) -> None:
    """`-rf` in `{text}.txt` is an option, and `@secret` in `--data={text}` a file to send."""
    with pytest.raises(UsageError) as caught:
        written(word, value)

    assert caught.value.message.endswith(f"begins with `{value[0]}`, which the program may read as more")
    assert written(word, plain) == word.replace("{text}", plain)


@pytest.mark.parametrize(("word", "value"), [("s/a/{text}/", "b/e,s/x"), ("y {text} z", "a b")])
def test_a_value_does_not_close_what_its_word_opens(word: str, value: str) -> None:
    """What a slash or a space of the word ends, a value must not end before it."""
    with pytest.raises(UsageError) as caught:
        written(word, value)

    assert "at which the program may take it apart" in caught.value.message
    assert written(word, "b") == word.replace("{text}", "b")


def test_a_path_holds_slashes_wherever_it_stands_and_a_text_behind_a_folder_does() -> None:
    path = "type: path, access: read"

    assert written("a/{text}/c.txt", "d/b", kind=path) == "a/./d/b/c.txt"
    assert written("a/{text}", "d/b") == "a/d/b"


@pytest.mark.parametrize("value", ["fix: see https://desk.example/1", "a: b", "don't"])
def test_a_message_is_taken_where_the_declaration_calls_it_literal_and_its_refusal_names_that(
    value: str,
) -> None:
    """Whether a program reads an address into an option's value is for whoever declares it to know."""
    text = """version: 1
commands:
  - name: one
    summary: Commit.
    program: git
    needs: [files, exec]
    sinks: {}
    arguments: {message: {type: pattern, pattern: '[^@-].*'}}
    argv: [commit, -m, "{message}"]
    examples: [{line: one a, runs: false}]
"""
    literal = text.replace("'[^@-].*'", "'[^@-].*', literal: true")
    call = ToolProposal(tool="one", arguments=json.dumps({"message": value}))

    with pytest.raises(UsageError) as caught:
        Catalogue(made for _, made in declared_commands(text, origin="x")).parse(call)
    taken = Catalogue(made for _, made in declared_commands(literal, origin="x")).parse(call)

    assert "`literal: true`" in caught.value.message + caught.value.hint
    assert taken.command.started(taken.parameters) == ("git", "commit", "-m", value)


def test_a_refusal_that_nothing_lifts_names_no_way_on() -> None:
    with pytest.raises(UsageError) as caught:
        written("{text}", "-x")

    assert caught.value.hint == "expected a plain value"
