"""Read from a check's command which files of a workspace it would run: names alone, nothing is looked up."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_SHELL: Final = re.compile(r"(ba|da|z|k)?sh")
_PYTHON: Final = re.compile(r"(python|pypy)[0-9.]*")
_OTHER: Final = re.compile(r"(perl|ruby|lua)[0-9.]*|node|php|deno|bun")
_WRAPPERS: Final = frozenset(
    {"env", "timeout", "nice", "nohup", "setsid", "stdbuf", "time", "xargs", "busybox"}
)
"""They run the program that their own words name."""
LOOK_ALONE: Final = frozenset(
    {
        "pytest",
        "py.test",
        "unittest",
        "mypy",
        "ruff",
        "flake8",
        "pylint",
        "pyright",
        "cmp",
        "diff",
        "grep",
        "test",
    }
)
"""Programs and modules whose words say what they look at, and that run no other tool's files."""
_PYTHON_TEXT: Final = re.compile(r"-([bBdEhiIOPqRsSuvVx]*)([cm])(.*)", re.DOTALL)
_PYTHON_SAFE: Final = re.compile(r"-[bBdEhiOqRsSuvVx]*[IP].*")
"""Python's `-I` and `-P`: no module is imported from the folder of the script, or the current one."""
_SHELL_TEXT: Final = re.compile(r"-[abefhikmnprstuvxBCEHPT]*c[abefhikmnprstuvxBCEHPT]*")
_OTHER_TEXT: Final = re.compile(r"-[anplsw]*[eE]|--eval")
_HAS_OTHER_TEXT: Final = re.compile(r"(perl|ruby|lua)[0-9.]*|node|bun")


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """Which files a command would run. Paths are relative to the workspace."""

    scripts: frozenset[str] = frozenset()
    """They decide what it does, new or changed."""
    stand_ins: frozenset[str] = frozenset()
    """They decide it where they are new: they come in the place of an installed module."""
    import_folders: frozenset[str] = frozenset()
    """Where a Python looks for modules before its own library; empty is the workspace itself."""


def runs_of(words: Sequence[str]) -> Runs:
    """Return what a command runs.

    Args:
        words: The command.
    """
    program, arguments = words[0], words[1:]
    name = posixpath.basename(program)
    own = {_inside(program)} if "/" in program else set()
    if name in _WRAPPERS:
        return _both(own, _wrapped(arguments))
    if _PYTHON.fullmatch(name):
        return _both(own, _python(arguments))
    if _SHELL.fullmatch(name) or _OTHER.fullmatch(name):
        return Runs(scripts=frozenset(own | {*_named(_before_text(name, arguments))}))
    folders = {posixpath.dirname(path) for path in own if path.endswith(".py")}
    return Runs(scripts=frozenset(own), import_folders=frozenset(folders))


def looks_alone(words: Sequence[str]) -> bool:
    """Tell whether a command is a tool that runs no other tool's files."""
    if "/" in words[0] or not _PYTHON.fullmatch(words[0]):
        return words[0] in LOOK_ALONE
    found = next(filter(None, map(_PYTHON_TEXT.fullmatch, words[1:])), None)
    return found is not None and found[2] == "m" and _module(words[1:]) in LOOK_ALONE


def _both(own: set[str], inner: Runs) -> Runs:
    return Runs(scripts=inner.scripts | own, stand_ins=inner.stand_ins, import_folders=inner.import_folders)


def _wrapped(arguments: Sequence[str]) -> Runs:
    words = [piece for word in arguments for piece in word.split()]  # `env -S` takes several as one
    for place, word in enumerate(words):
        name = posixpath.basename(word)
        if name in LOOK_ALONE or name in _WRAPPERS or _is_interpreter(name):
            return _both({*_named(words[:place])}, runs_of(words[place:]))
    return Runs(scripts=frozenset(_named(words)))


def _is_interpreter(name: str) -> bool:
    return any(kind.fullmatch(name) for kind in (_PYTHON, _SHELL, _OTHER))


def _python(arguments: Sequence[str]) -> Runs:
    for place, word in enumerate(arguments):
        found = _PYTHON_TEXT.fullmatch(word)
        if found is None:
            continue
        before = arguments[:place]
        safe = any(map(_PYTHON_SAFE.fullmatch, (*before, f"-{found[1]}")))
        folders = frozenset() if safe else frozenset({""})
        if found[2] == "c":
            return Runs(scripts=frozenset(_named(before)), import_folders=folders)
        module = _module(arguments)
        after = () if module in LOOK_ALONE else arguments[place:]
        path = module.replace(".", "/")
        top = module.partition(".")[0]
        return Runs(
            scripts=frozenset({*_named((*before, *after)), f"{path}.py", f"{path}/__main__.py"}),
            stand_ins=frozenset({f"{top}.py", f"{top}/__init__.py", f"{path}/__init__.py"}),
            import_folders=folders,
        )
    scripts = frozenset(_named(arguments))
    if any(map(_PYTHON_SAFE.fullmatch, arguments)):
        return Runs(scripts=scripts)
    return Runs(scripts=scripts, import_folders=frozenset(map(posixpath.dirname, scripts)))


def _module(arguments: Sequence[str]) -> str:
    """Return what stands behind the first `-m`; empty where nothing does."""
    for place, word in enumerate(arguments):
        if (found := _PYTHON_TEXT.fullmatch(word)) and found[2] == "m":
            return found[3] or next(iter(arguments[place + 1 :]), "")
    return ""


def _before_text(name: str, arguments: Sequence[str]) -> Sequence[str]:
    """Return the words before a program's text, which stands in the task file; what follows it is data."""
    if _SHELL.fullmatch(name):
        text = _SHELL_TEXT
    elif _HAS_OTHER_TEXT.fullmatch(name):
        text = _OTHER_TEXT
    else:
        return arguments
    places = [place for place, word in enumerate(arguments) if text.fullmatch(word)]
    return arguments[: places[0]] if places and not name.startswith("lua") else arguments


def _named(words: Sequence[str]) -> Iterator[str]:
    """Yield what words may name: any of them may be the script, and an option's value a file that is run."""
    for word in words:
        if not word.startswith("-"):
            yield _inside(word)
        elif len(word) > len("-r"):
            yield from (_inside(value) for value in (word[2:], word.partition("=")[2]) if value)


def _inside(word: str) -> str:
    """Return a path as changes name it."""
    return posixpath.normpath(word.removeprefix("/workspace/"))
