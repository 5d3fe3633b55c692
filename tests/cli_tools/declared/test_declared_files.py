"""A file of declared commands that contradicts itself is refused, with line and column and the mend."""

from __future__ import annotations

import pytest

from cli_tools.action import Catalogue, LineProposal
from cli_tools.declared import declared_commands
from policies.capability import in_order
from policies.errors import PolicyFileError

GOOD = """version: 1
commands:
  - name: pdf text
    summary: Print the text of a file.
    program: pdftotext
    needs: [files, exec]
    sinks: {}
    arguments:
      path: {type: path, access: read}
      pages: {type: integer, least: 1, most: 9, required: false}
    argv: [-layout, {with: pages, words: [-l, "{pages}"]}, --, "{path}", "-"]
    examples: [{line: pdf text a.pdf}]
"""


def problems(text: str) -> list[str]:
    with pytest.raises(PolicyFileError) as caught:
        declared_commands(text, origin="x.yaml")
    return [str(problem) for problem in caught.value.problems]


def test_a_sound_file_is_a_command() -> None:
    ((declared, made),) = declared_commands(GOOD, origin="x.yaml")

    assert (made.name, made.summary, in_order(made.needs)) == (
        "pdf text", "Print the text of a file.", ("files", "exec"),
    )  # fmt: skip
    assert made.examples == ("pdf text a.pdf",)
    assert float(declared.seconds) == 60


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("    needs: [files, exec]\n", "", "x.yaml:3:5: key `needs` is missing"),
        ("    sinks: {}\n", "", "x.yaml:3:5: key `sinks` is missing"),
        ("needs: [files, exec]", "needs: [files]", "x.yaml:6:12: a declared command starts a program"),
        ("needs: [files, exec]", "needs: [exec]", "x.yaml:6:12: an argument is a path of the workspace"),
        ("needs: [files, exec]", "needs: [files, network, exec]", "x.yaml:6:12: no session holds `files`"),
        ("name: pdf text", "name: files text", "x.yaml:3:11: `files` begins the built-in commands"),
        ("name: pdf text", "name: PDF", "`PDF` is not a command's name"),
        ("program: pdftotext", "program: sh -c", "`sh -c` is not a program"),
        ("program: pdftotext", "program: ./x", "`./x` is not a program"),
        ("program: pdftotext", "program: /usr/../workspace/x", "holds a part `.` or `..`"),
        ("program: pdftotext", "program: /usr/./bin/x", "holds a part `.` or `..`"),
        ("program: pdftotext", "program: /workspace/x", "is not of the image"),
        ("program: pdftotext", "program: -x", "`-x` is not a program"),
        ("access: read", "pattern: x", "`pattern` belongs to `type: pattern`"),
        ('"{path}", "-"', '"{path}{pages}", "-"', "holds two values"),
        ('"{path}", "-"', '"{path}", "{other}"', "`{other}` names no argument"),
        ('"{path}", "-"', '"{path}", "-{path}"', "a value would be the name of an option"),
        ('"{path}", "-"', '"{path}", "--{path}"', "a value would be the name of an option"),
        ('"{path}", "-"', '"{path}", "-o{path}"', "could be read as further short options"),
        ('"{path}", "-"', '"{path}", "{pages}"', "`pages` may be left out"),
        ('--, "{path}", "-"', '"-"', "`path` stands nowhere in `argv`"),
        ("least: 1, most: 9", "least: 1", "an integer has bounds"),
        ("least: 1, most: 9", "least: 9, most: 1", "an integer has bounds"),
        ("with: pages", "with: page", "`with: page` names no argument"),
        ("    sinks: {}\n", "    sinks: {path2: text}\n", "`path2` is no argument"),
        ("    argv:", "    seconds: 1h\n    argv:", "expected 1s to 300s"),
        ("    argv:", "    output: {keep: ['(?=x)']}\n    argv:", "is no pattern"),
        ("    argv:", "    shell: true\n    argv:", "key `shell` is not known"),
        ("    argv:", "    environment: {A: b}\n    argv:", "key `environment` is not known"),
        ("    examples: [{line: pdf text a.pdf}]\n", "    examples: []\n", "expected at least one"),
        ("access: read}", "access: read}\n      to: {type: host}", "an argument is a host"),
        ("access: read}", "access: read}\n      to: {type: text}", "should be 'path', 'enum'"),
        ("access: read}", "access: read}\n      q: {type: pattern}", "a pattern has 1 to 500 characters"),
        ("access: read}", "access: read}\n      q: {type: flag, many: true}", "a flag is given or not"),
        ("access: read}", "access: read}\n      stdin: {type: flag}", "`stdin` is what comes beside"),
        ("access: read}", "access: read}\n      a_b: {type: flag}", "`a_b` is not an argument's name"),
        ("access: read}", "access: read}\n      q: {type: enum, values: [a], default: b}", "none of the"),
    ],
)  # fmt: skip
def test_what_contradicts_itself_is_told_with_its_place(old: str, new: str, expected: str) -> None:
    assert old in GOOD

    found = problems(GOOD.replace(old, new, 1))

    assert any(expected in problem for problem in found), found
    assert all(problem.startswith("x.yaml:") for problem in found)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ("/a: x", "file `/a` is not one of the workspace"),
        ("../a: x", "file `../a` is not one of the workspace"),
        ("a/./b: x", "file `a/./b` is not one of the workspace"),
        ("a//b: x", "file `a//b` is not one of the workspace"),
        ("'': x", "file `` is not one of the workspace"),
        ('"a\\nb": x', "file 'a\\nb' holds control characters"),
        ('"a\\ud800b": x', "file 'a\\ud800b' holds control characters"),
        (f"{'a' * 256}: x", "is too long"),
        ("\u00e9" * 128 + ": x", "is too long"),
        (f"? {'a/' * 512}a : x", "is too long"),
        ("a: x, a/b: x", "`a` is a file, and a folder of another"),
        ('a: "\\ud800"', "unable to parse raw data as a unicode string"),
    ],
)
def test_a_file_of_an_example_that_cannot_be_written_is_told(files: str, expected: str) -> None:
    """It is refused before anything is made; the twin names files as deep and long as may be."""
    text = GOOD.replace("[{line: pdf text a.pdf}]", f"[{{line: pdf text a.pdf, files: {{{files}}}}}]")
    good = f"{'a' * 255}: x, a/b: x, {'b/' * 511}b: x"

    assert any(expected in problem for problem in problems(text)), problems(text)
    assert declared_commands(text.replace(files, good), origin="x.yaml")


def test_two_arguments_by_position_cannot_both_have_several_values() -> None:
    """Click could not tell where one ends; with one of them named, it can."""
    text = (
        GOOD.replace("access: read}", "access: read, many: true}", 1)
        .replace("      pages:", "      also: {type: path, access: read, many: true}\n      pages:")
        .replace('"{path}", "-"', '"{path}", "{also}"')
    )

    assert [problem.partition(";")[0] for problem in problems(text)] == [
        "x.yaml:10:13: `path` and `also` may both have several values, and stand by position"
    ]
    named = text.replace("also: {", "also: {required: false, ")
    ((_, made),) = declared_commands(named, origin="x.yaml")
    action = Catalogue([made]).parse(LineProposal(line="pdf text a b --also c --also d"))
    assert action.command.started(action.parameters)[-4:] == ("./a", "./b", "./c", "./d")


@pytest.mark.parametrize(
    "text", ["", "[]", "version: 1", "version: 2\ncommands: []", "a: &b c\nd: *b", "\x00", "- " * 40]
)
def test_a_file_that_is_none_is_refused(text: str) -> None:
    assert problems(text)


@pytest.mark.parametrize(
    ("old", "new", "block", "hint"),
    [
        ("access: read", "acess: read", "commands.0.arguments.path", "hint: did you mean `access`?"),
        ("words:", "word:", "commands.0.argv.1", "hint: did you mean `words`?"),
        ("sinks: {}", "sink: {}", "commands.0", "hint: did you mean `sinks`?"),
    ],
)
def test_a_key_that_is_not_known_is_told_with_the_nearest_of_its_own_block(
    old: str, new: str, block: str, hint: str
) -> None:
    """A block below a name of the writer's own, and one that may be a text as well, have keys like others."""
    found = problems(GOOD.replace(old, new, 1))

    word = new.partition(":")[0]
    assert any(f"key `{word}` is not known in `{block}`; {hint}" in problem for problem in found), found
    assert not any("Declared" in problem for problem in found)


@pytest.mark.parametrize("second", ["pdf text", "pdf-text", "pdf"])
def test_two_commands_that_cannot_be_told_apart_are_refused(second: str) -> None:
    """`pdf text x` could be either of them, and both would be the tool `pdf_text`."""
    again = GOOD.partition("commands:\n")[2].replace("pdf text", second)

    assert any("cannot be told from" in problem for problem in problems(GOOD + again))
