"""A command line and a tool call mean the same action, and it is exactly the words that were given."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli_tools.action import Catalogue, LineProposal, ToolProposal, tool_name
from cli_tools.catalogue import built_in
from cli_tools.command import (
    MAXIMUM_BODY_BYTES,
    MAXIMUM_LINE_CHARACTERS,
    MAXIMUM_WORDS,
    Body,
    Command,
    Outcome,
    Surroundings,
    Url,
    WorkspacePath,
    command,
)
from cli_tools.errors import DeclarationError, UsageError
from policies.request import HttpUse, PathUse

if TYPE_CHECKING:
    from cli_tools.action import Action

CATALOGUE = built_in()
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
WORD = st.one_of(
    TEXT, st.sampled_from(["--", "-", "--stdin", "--stdin=x", "--cwd", "-x", "; id", "$(id)", "*"])
)
BLANKS = " \t\r\n\v\f\x1c\x1d\x1e\x1f\x85\u00a0\u2028\u3000#;&|ab\"'\\"
PATH = st.text("abc/.- ;$'\"\n\\\u27e6\u27e7é", min_size=1, max_size=20).filter(
    lambda text: not text.startswith("/") and ".." not in text.split("/") and "\u27e6" not in text
)


def refusal(line: str = "", **tool: object) -> UsageError:
    proposal = (
        LineProposal(line=line)
        if line
        else ToolProposal(tool=str(tool["tool"]), arguments=str(tool["arguments"]))
    )
    with pytest.raises(UsageError) as caught:
        CATALOGUE.parse(proposal)
    return caught.value


@given(program=TEXT.filter(bool), rest=st.lists(WORD, max_size=6), cwd=TEXT)
def test_a_program_s_argv_is_what_was_given_byte_for_byte(program: str, rest: list[str], cwd: str) -> None:
    """For any values: nothing is split, expanded, unquoted or taken for an option of `run`."""
    arguments = json.dumps({"argv": [program, *rest], "cwd": cwd, "stdin": "in"})

    action = CATALOGUE.parse(ToolProposal(tool="run", arguments=arguments))

    assert action.parameters["argv"] == (program, *rest)
    assert action.parameters["cwd"] == cwd
    assert action.body == b"in"
    assert action.request().program == program


@given(rest=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")) | st.text(BLANKS))
def test_a_line_is_taken_apart_as_a_shell_s_quotes_have_it_whichever_way_it_is_read(rest: str) -> None:
    """Also where nothing is quoted, among blanks that only Python takes for some, and comments."""
    line = f"run -- program {rest}"
    try:
        words = tuple(shlex.split(line))
    except ValueError:
        words = ()

    if words:
        assert CATALOGUE.parse(LineProposal(line=line)).argv == words
    else:
        assert "the quotes do not close" in refusal(line).message


@given(program=TEXT.filter(bool), rest=st.lists(WORD, max_size=6))
def test_a_line_and_a_tool_call_mean_the_same_program(program: str, rest: list[str]) -> None:
    line = shlex.join(["run", "--stdin", "in", "--", program, *rest])

    by_line = CATALOGUE.parse(LineProposal(line=line))
    by_tool = CATALOGUE.parse(
        ToolProposal(tool="run", arguments=json.dumps({"argv": [program, *rest], "stdin": "in"}))
    )

    assert by_line == by_tool
    assert by_line.argv == ("run", "--", program, *rest)


@given(path=PATH, content=st.binary(max_size=50))
def test_what_the_ledger_keeps_is_parsed_into_the_same_action_again(path: str, content: bytes) -> None:
    """An action's argv, with its body beside it, is that action: the record is enough to repeat it."""
    text = content.decode("latin-1")
    first = CATALOGUE.parse(
        ToolProposal(tool="files_write", arguments=json.dumps({"path": path, "content": text}))
    )

    again = CATALOGUE.parse(LineProposal(line=shlex.join(first.argv), body=first.body))

    assert again == first
    assert first.body == text.encode()
    assert first.request().paths == (PathUse(path=path, access="write"),)


@given(program=TEXT.filter(lambda text: text and not text.startswith("-")), rest=st.lists(WORD, max_size=6))
def test_a_program_s_own_words_are_never_taken_for_the_body(program: str, rest: list[str]) -> None:
    """The ledger names every word of the program's: `--stdin` behind it is its own."""
    action = CATALOGUE.parse(LineProposal(line=shlex.join(["run", "--stdin=in", program, *rest])))

    assert action.argv == ("run", program, *rest)
    assert action.parameters["argv"] == (program, *rest)
    assert action.body == b"in"


def test_words_after_two_dashes_are_never_taken_for_the_body() -> None:
    action = CATALOGUE.parse(LineProposal(line="files write --content one -- --content"))

    assert action.argv == ("files", "write", "--", "--content")
    assert action.parameters == {"path": "--content"}
    assert action.body == b"one"


@pytest.mark.parametrize("declared", CATALOGUE.commands, ids=lambda declared: declared.name)
def test_every_example_of_a_command_is_that_command(declared: Command) -> None:
    assert declared.examples
    for example in declared.examples:
        assert CATALOGUE.parse(LineProposal(line=example)).command is declared


def test_a_path_below_the_workspace_is_the_same_with_and_without_its_prefix() -> None:
    plain = CATALOGUE.parse(LineProposal(line="files read src/app.py"))
    prefixed = CATALOGUE.parse(LineProposal(line="files read /workspace/src/app.py"))

    assert plain.parameters == prefixed.parameters == {"path": "src/app.py", "lines": None}


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../x",
        "a/../../x",
        "/workspace/../etc",
        "\u27e62e\u27e7\u27e62e\u27e7/x",
        "a\u27e60\u27e7b",
        "''",
    ],
)
def test_a_path_that_leaves_the_workspace_is_refused(path: str) -> None:
    """Escapes (neutral.py) are taken back before a path is looked at."""
    assert refusal(f"files read {path}").code == "usage"


def test_a_name_that_was_shown_with_escapes_is_taken_as_it_was_shown() -> None:
    action = CATALOGUE.parse(LineProposal(line="files read a\u27e61b\u27e7b\u27e6xff\u27e7"))

    assert action.parameters["path"] == "a\x1bb\udcff"
    assert action.request().paths == (PathUse(path="a\x1bb\udcff", access="read"),)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            '{"path": "a", "dangerously_disable_sandbox": true}',
            "has no argument `dangerously_disable_sandbox`",
        ),
        ('{"path": "a", "path": "b"}', "a name stands twice"),
        ('{"path": NaN}', "`NaN` is not JSON"),
        ('{"path": true}', "`path` must be text"),
        ('{"path": {"a": 1}}', "`path` must be text"),
        ('{"path": ["a", "b"]}', "`path` must be text"),
        ('{"path": "a\\u0000b"}', "a NUL or a lone surrogate"),
        ('{"path": "\\ud800"}', "a NUL or a lone surrogate"),
        ("[]", "must be a JSON object"),
        ("{", "are not JSON"),
        ("[" * 100_000, "are not JSON"),
        ("{}", "missing argument 'PATH'"),
    ],
)
def test_a_tool_call_that_is_not_exactly_declared_is_refused(arguments: str, message: str) -> None:
    """No further field exists (attack B44), and nothing may be read in two ways."""
    error = refusal(tool="files_read", arguments=arguments)

    assert error.code == "usage"
    assert message in error.message


def test_a_body_with_half_a_character_is_refused() -> None:
    error = refusal(tool="files_write", arguments='{"path": "a", "content": "\\udc80"}')

    assert error.message == "`files write`: `content` holds a lone surrogate, expected text"


def test_a_body_that_is_needed_is_asked_for_before_anything_is_decided() -> None:
    error = refusal("files write a")

    assert error.message == "`files write` needs `content`"
    assert error.hint == "give `--content`, or a body; an empty one as `--content ''`"
    assert CATALOGUE.parse(LineProposal(line="files write a --content ''")).body == b""


def test_a_body_given_twice_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        CATALOGUE.parse(LineProposal(line="files write a --content x", body=b"y"))

    assert caught.value.message == "`files write`: `--content` and a body: give one"


def test_what_is_too_long_is_refused_and_what_is_not_passes() -> None:
    """A length limit denies; it never shortens what is looked at (attack B50)."""
    longest = "files read " + "a" * (MAXIMUM_LINE_CHARACTERS - 11)

    assert CATALOGUE.parse(LineProposal(line=longest)).command.name == "files read"
    assert refusal(longest + "a").code == "too-long"
    assert refusal("run " + "a " * (MAXIMUM_WORDS + 1)).code == "too-long"
    with pytest.raises(UsageError) as caught:
        CATALOGUE.parse(LineProposal(line="files write a", body=b"x" * (MAXIMUM_BODY_BYTES + 1)))
    assert caught.value.code == "too-long"


def test_an_unknown_command_is_told_its_nearest_neighbour() -> None:
    error = refusal("files raed x")

    assert (error.code, error.message) == ("unknown-command", "`files raed` is not a command")
    assert error.hint == "did you mean `files read`?"


@pytest.mark.parametrize("name", ["files_read\n", "files_Read", "files read", "", "files_read;id"])
def test_a_tool_s_name_is_matched_whole(name: str) -> None:
    assert refusal(tool=name, arguments="{}").code == "unknown-command"


def _declared(name: str, *parameters: click.Parameter) -> Command:
    @command(name, parameters=parameters)
    async def act(surroundings: Surroundings, **_: object) -> Outcome:
        """Do nothing."""
        return Outcome(exit_code=0)

    return act


def test_every_value_of_a_repeated_path_or_url_is_decided() -> None:
    """One path that is allowed must not carry the others past the policy."""
    many = _declared(
        "x many",
        click.Option(["--url"], type=Url("GET"), multiple=True),
        click.Argument(["paths"], type=WorkspacePath("write"), nargs=-1),
    )

    action = Catalogue((many,)).parse(
        LineProposal(line="x many a .env --url https://a.example/ --url https://b.example/")
    )

    assert action.request().paths == (PathUse(path="a", access="write"), PathUse(path=".env", access="write"))
    assert action.request().http == (
        HttpUse(method="GET", url="https://a.example/"),
        HttpUse(method="GET", url="https://b.example/"),
    )


@pytest.mark.parametrize(
    ("arguments", "missing"),
    [
        ({"files": ["a", "b"]}, "dest"),
        ({"files": ["a", "b"], "dest": None}, "dest"),
        ({"dest": "b"}, "files"),
    ],
)
def test_the_last_of_several_values_never_moves_to_the_argument_that_was_left_out(
    arguments: dict[str, object], missing: str
) -> None:
    """A copy of one file over the other is not what a copy without its destination means."""
    copy = _declared(
        "x copy",
        click.Argument(["files"], type=WorkspacePath("read"), nargs=-1, required=True),
        click.Argument(["dest"], type=WorkspacePath("write"), required=True),
        click.Option(["--note"]),
    )

    def parsed(given: dict[str, object]) -> Action:
        return Catalogue((copy,)).parse(ToolProposal(tool="x_copy", arguments=json.dumps(given)))

    with pytest.raises(UsageError) as caught:
        parsed(arguments)

    other = next(name for name in ("files", "dest") if name != missing)
    assert caught.value.message == f"`x copy` needs `{missing}` where `{other}` is given"
    whole = parsed({"files": ["a", "b"], "dest": "c"}).parameters
    assert (whole["files"], whole["dest"]) == (("a", "b"), "c")


def test_rules_are_asked_about_flags_numbers_defaults_and_the_body() -> None:
    declared = _declared(
        "x y",
        click.Option(["--all", "every"], is_flag=True),
        click.Option(["--count"], type=int, default=3),
        click.Option(["--text"], type=Body()),
        click.Option(["--absent"]),
    )

    action = Catalogue((declared,)).parse(LineProposal(line="x y --all --text hi"))

    assert action.request().arguments == {"every": True, "count": 3, "text": "hi"}


def test_two_commands_of_one_name_are_a_fault_of_the_declaration() -> None:
    with pytest.raises(DeclarationError):
        Catalogue((_declared("a b"), _declared("a b")))
    with pytest.raises(DeclarationError):
        Catalogue((_declared("a b"), _declared("a_b")))


def test_an_option_takes_the_next_word_whatever_it_begins_with() -> None:
    """A value is never read as an option: not one option of any command may stand without its value."""
    tried = 0
    for declared in CATALOGUE.commands:
        for option in (one for one in declared.options if not one.is_flag and not one.count):
            parser = declared.parser.make_parser(click.Context(declared.parser))
            taken, *_ = parser.parse_args([option.opts[0], "--x"])
            assert taken[str(option.name)] in ("--x", ["--x"])
            tried += 1

    assert tried > 10


def test_an_option_that_may_stand_without_its_value_cannot_be_declared() -> None:
    with pytest.raises(DeclarationError, match="may stand without their value"):
        _declared("x y", click.Option(["--text"], is_flag=False))
    with pytest.raises(DeclarationError, match="may stand without their value"):
        _declared("x y", click.Option(["--text"], is_flag=False, flag_value="z"))

    assert _declared("x y", click.Option(["--text"]), click.Option(["--loud"], is_flag=True))


def test_no_environment_variable_gives_a_parameter_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """Options can come from the environment in click; none does here (attack B43)."""
    for declared in CATALOGUE.commands:
        for parameter in declared.parameters:
            assert parameter.envvar is None
    for name in ("LINES", "FILES_READ_LINES", "PAIRLOCK_FILES_READ_LINES"):
        monkeypatch.setenv(name, "1-2")

    action = CATALOGUE.parse(LineProposal(line="files read a"))

    assert action.parameters["lines"] is None


def test_the_names_of_tools_are_fit_for_every_backend() -> None:
    """`^[a-zA-Z0-9_-]{1,64}$` is what the model APIs accept."""
    for declared in CATALOGUE.commands:
        name = tool_name(declared)
        assert name.replace("_", "").isalnum()
        assert len(name) <= 64
