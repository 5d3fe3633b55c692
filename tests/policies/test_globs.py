from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.errors import BadValueError
from policies.globs import Glob, GlobSet, canonical_path

TABLE = [
    (".env", ".env", True),
    (".env", "app/.env", True),
    (".env", ".env/inside", True),
    (".env", ".environment", False),
    (".env", "x.env", False),
    (".env*", ".env.local", True),
    ("*.pem", "keys/a.pem", True),
    ("*.pem", "keys/a.pem.txt", False),
    ("**/*.pem", "a.pem", True),
    ("**/*.pem", "a/b/c.pem", True),
    (".git/**", ".git", True),
    (".git/**", ".git/hooks/pre-commit", True),
    (".git/**", "sub/.git/config", False),
    ("**/.git/**", "sub/.git/config", True),
    ("**/.git", ".git", True),
    (".gitignore", ".git", False),
    (".git", ".gitignore", False),
    ("docs/*.md", "docs/a.md", True),
    ("docs/*.md", "docs/x/a.md", False),
    ("docs/**/a.md", "docs/a.md", True),
    ("docs/**/a.md", "docs/x/y/a.md", True),
    ("docs/**/x/**/a.md", "docs/1/x/2/x/3/a.md", True),
    ("docs/**/x/**/a.md", "docs/1/2/a.md", False),
    ("a/*/c", "a/b/c", True),
    ("a/*/c", "a/c", False),
    ("a?c", "abc", True),
    ("a?c", "ac", False),
    ("a?c", "a/c", False),
    ("*", "anything/at/all", True),
    ("*/x", "a/x", True),
    ("*/x", "x", False),
    ("x**", "x", None),
    ("a*b*c", "aXbYc", True),
    ("a*b*c", "aXcYb", False),
    ("*a*", "bab", True),
    ("~/.aws", "x", None),
    (".aws/", ".aws/credentials", True),
    (".aws", ".aws/credentials", True),
    (".ENV", ".env", True),
    (".env", ".ENV", True),
    (".git/hooks", ".Git/Hooks/x", True),
    ("caf\u00e9", "cafe\u0301", True),
    ("cafe\u0301", "caf\u00e9", True),
    (".git", ".g\u200cit/config", True),
    (".git", "\u200b/.git/config", True),
    ("**/.git/hooks/**", "a/\u2060\u200b/b/.git/hooks/x", True),
    ("*/x", "\u200b/x", True),
    ("\u00e9*/**/x", "\u00e91/\u200b/x", True),
    ("a/b", "a/\u200b/b", False),
    ("stra\u00dfe", "STRASSE", True),
    ("a+b", "a+b", True),
    ("a.b", "axb", False),
    ("a$", "a$", True),
    (".env", ".env\n", False),
    ("a/*.pem", "a/x.pem\n", False),
    (".env*", ".env\n", True),
    (".env?", ".env\n", True),
    ("**/.env", "a\n/.env", True),
]


@pytest.mark.parametrize(("pattern", "path", "expected"), TABLE)
def test_globs_mean_what_the_reference_says(pattern: str, path: str, expected: bool | None) -> None:  # noqa: FBT001 - a column of the table
    if expected is None:
        with pytest.raises(BadValueError):
            Glob.parse(pattern)
    else:
        assert Glob.parse(pattern).matches(path) is expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "/etc",
        "..",
        "a/../b",
        "./a",
        "a//b",
        "!a",
        "[a]",
        "{a,b}",
        "a\\b",
        "**",
        "**/**",
        "a\u202eb",
        "a\0",
        "x" * 600,
    ],
)
def test_a_glob_without_a_meaning_is_refused(text: str) -> None:
    with pytest.raises(BadValueError):
        Glob.parse(text)


@pytest.mark.parametrize("pattern", ["*a" * 100 + "b", "**/a/" * 50 + "b", "**/*a*/" * 60 + "b", "a*" * 200])
def test_a_hostile_path_is_matched_in_linear_time(pattern: str) -> None:
    glob = Glob.parse(pattern)
    paths = ["a" * 4000, "a/" * 2000 + "c", "/".join(["aaaa"] * 800)]

    start = time.process_time()
    for path in paths:
        glob.matches(path)

    assert time.process_time() - start < 5, "a backtracking matcher takes longer than the age of the universe"


def _plainly(names: list[str], parts: list[str]) -> bool:
    """Match by the definition, slowly: a second opinion."""
    if not names:
        return True  # what is beneath is covered
    if names[0] == "**":
        return any(_plainly(names[1:], parts[index:]) for index in range(len(parts) + 1))
    return bool(parts) and _name(names[0], parts[0]) and _plainly(names[1:], parts[1:])


def _name(pattern: str, name: str) -> bool:
    if not pattern:
        return not name
    if pattern[0] == "*":
        return _name(pattern[1:], name) or (bool(name) and _name(pattern, name[1:]))
    return bool(name) and pattern[0] in {name[0], "?"} and _name(pattern[1:], name[1:])


NAMES = st.text(alphabet="ab*?", min_size=1, max_size=4).filter(lambda name: "**" not in name)
PATTERNS = st.lists(st.one_of(NAMES, st.just("**")), min_size=2, max_size=5)
PATHS = st.lists(st.text(alphabet="ab", min_size=1, max_size=3), min_size=1, max_size=6)


@given(PATTERNS.filter(lambda names: set(names) != {"**"}), PATHS)
def test_the_compiled_form_agrees_with_the_definition(names: list[str], parts: list[str]) -> None:
    trimmed = list(names)
    while trimmed and trimmed[-1] == "**":
        trimmed.pop()
    expected = _plainly(trimmed, parts)

    assert Glob.parse("/".join(names)).matches("/".join(parts)) is expected


@given(st.text(min_size=1, max_size=20))
def test_a_path_and_its_other_unicode_form_are_treated_alike(name: str) -> None:
    glob = Glob.parse("secret*")

    assert glob.matches(unicodedata.normalize("NFD", name)) == glob.matches(
        unicodedata.normalize("NFC", name)
    )


@given(st.lists(PATTERNS.map("/".join).filter(lambda text: set(text) - set("*/")), max_size=5), PATHS)
def test_a_set_finds_what_one_of_its_globs_finds(texts: list[str], parts: list[str]) -> None:
    globs = [Glob.parse(text) for text in texts]
    path = "/".join(parts)

    found = GlobSet(globs).find(path)

    assert found == next((glob for glob in globs if glob.matches(path)), None)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a", "a"),
        ("./a//b/", "a/b"),
        (".", "."),
        ("/workspace", "."),
        ("/workspace/a/b", "a/b"),
        ("a/./b", "a/b"),
        ("...", "..."),
    ],
)
def test_paths_have_one_form(path: str, expected: str) -> None:
    assert canonical_path(path) == expected


@pytest.mark.parametrize(
    "path", ["", "..", "a/../b", "/etc/passwd", "/workspace2/a", "/workspace/../etc", "a\0b", "x" * 5000, "/"]
)
def test_a_path_that_leaves_or_hides_something_is_refused(path: str) -> None:
    with pytest.raises(BadValueError):
        canonical_path(path)


@given(
    st.lists(
        st.sampled_from(
            [
                ".git",
                "*.pem",
                "a",
                "?",
                "*",
                "**/b",
                "a/b",
                "a/**/c",
                "**/a*b",
                "A*",
                "b/",
                "*a*",
                "\u00e9",
                ".e?v",
            ]
        ),
        min_size=1,
        max_size=5,
    ),
    st.lists(
        st.sampled_from(
            ["a", "b", "c", "ab", "aab", ".git", "x.pem", "\u00e9", "e\u0301", ".ENV", "a\nb", "x"]
        ),
        min_size=1,
        max_size=5,
    ),
)
def test_a_set_of_globs_finds_what_the_first_of_them_alone_would(texts: list[str], names: list[str]) -> None:
    """Names in a set, patterns of names together and the rest together say what each glob says."""
    globs, path = [Glob(text) for text in texts], "/".join(names)

    assert GlobSet(globs).find(path) is next((glob for glob in globs if glob.matches(path)), None)
