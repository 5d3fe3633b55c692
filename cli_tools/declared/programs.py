"""Know the programs that read a word as program text, or start what a word names: no value stands there.

The names are those of common images; a program that is none of them and does the same is for whoever declares
it to know (docs/declared-commands.md).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Kind = Literal["", "path", "text"]
"""What stands in a word: nothing that an agent could write code with, a file of the workspace, or a text."""

_STARTERS_TEXT: Final = """
    env nice nohup timeout setsid ionice chrt taskset stdbuf xargs parallel watch sudo doas su runuser pkexec
    chroot unshare nsenter setpriv capsh strace ltrace script flock ssh dbclient time entr systemd-run
    start-stop-daemon dbus-run-session xvfb-run fakeroot fakechroot proot bwrap firejail softlimit chpst
    envdir setuidgid s6-setuidgid gosu su-exec tini dumb-init numactl cgexec prlimit unbuffer expect gdb lldb
    valgrind perf npx uvx pipx bunx
"""
STARTERS: Final = frozenset(_STARTERS_TEXT.split())
"""They start the program that their own words name (env(1), xargs(1), timeout(1), ssh(1))."""
_BOXES: Final = frozenset({"busybox", "toybox"})
"""Their first word is the program."""
_VERSIONED: Final = re.compile(r"(?:python|pypy|perl|ruby|php|lua|tclsh|guile|node|gawk)[0-9.]*")
_INTERPRETERS_TEXT: Final = """
    sh bash rbash dash ash zsh ksh mksh yash fish csh tcsh nu pwsh awk mawk nawk sed gsed jq gojq jaq yq
    deno bun luajit nodejs jruby wish Rscript R julia groovy elixir erl escript racket osascript m4 bc dc
    ed ex vi vim emacs sqlite3 psql mysql mariadb
"""
_INTERPRETERS: Final = frozenset(_INTERPRETERS_TEXT.split())
_TALKERS: Final = frozenset({"sqlite3", "psql", "mysql", "mariadb", "ed", "ex", "vi", "vim", "emacs"})
"""Any text may be a command of theirs, wherever it stands: `.shell` of sqlite3(1), `!` of ed(1)."""
_PERMUTING: Final = frozenset({"sed", "gsed", "jq", "gojq", "jaq", "yq"})
"""They read options behind their program text too."""
_CODE: Final = re.compile(
    r"-[A-Za-z]*[ceEmr]|--(?:eval|exec|execute|command|expression|run|require|import|module)=?"
)
"""Options whose value is program text, or names it: `-c`, `-e`, `-lc`, `--eval`."""
_NAMED: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
"""How a word for awk's `-v` begins: what follows is a variable's value, a text."""

Fault = tuple[str, str]
"""What is wrong, and the mend."""


def started_by(program: str, first: str) -> str:
    """Return the name under which a program starts others that its words name; empty where it starts none.

    Args:
        program: As it is declared, a name or a path.
        first: The first word of its argv; empty for none.
    """
    name = _name(program, first)
    return name if name in STARTERS else ""


def program_texts(program: str, words: Iterable[tuple[str, Kind]]) -> Iterator[Fault]:
    """Yield the words in which a value would be program text.

    Args:
        program: As it is declared.
        words: Each word of the argv as it is declared, and what its value is.
    """
    rest = list(words)
    name = _name(program, rest[0][0] if rest else "")
    if _base(program) in _BOXES:
        del rest[:1]
    if name in _INTERPRETERS or _VERSIONED.fullmatch(name):
        for word in _read_as_text(name, rest):
            what = f"in `{word}` a value would be program text of `{name}`"
            yield what, "write the text out, and give the value as a word of its own behind it"


def _read_as_text(name: str, words: Iterable[tuple[str, Kind]]) -> Iterator[str]:
    before, has_text, ended = "", False, False
    for word, kind in words:
        follows_code = bool(_CODE.fullmatch(before)) and not ended
        if kind == "text" and name in _TALKERS:
            yield word
        elif kind and (follows_code or _CODE.fullmatch(word.partition("{")[0]) or not has_text):
            is_variable = name.endswith("awk") and not follows_code and _NAMED.match(word)
            if not is_variable and name not in _TALKERS:
                yield word
        elif not kind and (follows_code or not word.startswith("-")):
            # A word behind some other option may be that option's value, and the program text yet to come.
            ended = ended or (name not in _PERMUTING and (follows_code or not before.startswith("-")))
            has_text = True
        before = word


def _name(program: str, first: str) -> str:
    base = _base(program)
    return _base(first) if base in _BOXES else base


def _base(program: str) -> str:
    return program.rpartition("/")[2]
