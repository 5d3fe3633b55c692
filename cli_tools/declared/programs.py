"""Know the programs that start what a word names or read a word as program text: no value stands there.

The names are those of common images; a program that is none of them and does the same is for whoever declares
it to know (docs/declared-commands.md).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from cli_tools.declared.document import PROGRAM
from cli_tools.declared.executing import executed
from cli_tools.declared.families import family_of, stem
from cli_tools.declared.reading import may_read_program, names_input, program_texts
from cli_tools.declared.slots import befores

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cli_tools.declared.slots import Slot

_STARTERS_TEXT: Final = """
    env nice nohup timeout setsid ionice chrt taskset stdbuf xargs parallel watch sudo doas su runuser pkexec
    chroot unshare nsenter setpriv capsh strace ltrace script flock ssh dbclient time entr systemd-run
    start-stop-daemon dbus-run-session xvfb-run fakeroot fakechroot proot bwrap firejail softlimit chpst
    envdir setuidgid s6-setuidgid gosu su-exec tini dumb-init numactl cgexec prlimit unbuffer expect gdb lldb
    valgrind perf npx uvx pipx bunx run-parts chronic ifne eatmydata setarch linux32 linux64 i386 x86_64
    faketime proxychains proxychains4 torsocks hyperfine screen tmux ssh-agent sshpass coreutils
"""
STARTERS: Final = frozenset(_STARTERS_TEXT.split())
"""They start the program that their own words name (env(1), xargs(1), timeout(1), ssh(1))."""
_LOADER: Final = re.compile(r"ld-(?:linux|musl|[0-9]).*|ld\.so.*|ld64\.so.*")
"""The dynamic loader starts the program that its first word names (ld.so(8))."""
_BOXES: Final = frozenset({"busybox", "toybox"})
"""Their first word is the program."""
_ASSIGNED: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=.*", re.DOTALL)
_PARTS: Final = re.compile(r"[\s'\"]+")
"""Between the options that a variable such as NODE_OPTIONS holds."""
_WRITTEN: Final = ("/workspace/", "/scratch/", "/proc/", "/tmp/", "/dev/")  # noqa: S108 - the container's
"""Where an agent can put a program."""
_NO_DASHES_TEXT: Final = """
    find ffmpeg ffprobe ffplay convert magick gm identify mogrify composite montage import stream compare
    conjure animate display dd openssl test [ expr echo sox gs unzip zipinfo gcc g++ cc c++ cpp ld tcpdump ip
"""
_NO_DASHES: Final = frozenset(_NO_DASHES_TEXT.split())
"""For them a `--` ends no options: it is a word like others."""

Fault = tuple[str, str]
"""What is wrong, and the mend."""


def path_faults(program: str) -> Iterator[Fault]:
    """Yield why a program is none that only the image can hold."""
    if program.startswith(_WRITTEN):
        yield f"`{program}` is not of the image", "name one that an agent cannot write"
    if {".", ".."} & set(program.split("/")):
        yield f"`{program}` holds a part `.` or `..`", "write the path without"


def started_by(program: str, slots: Sequence[Slot]) -> str:
    """Return the name under which a program starts others that its words name; empty where it starts none."""
    name, _ = _meant(program, slots)
    return name if name in STARTERS or _LOADER.fullmatch(name) else ""


def value_faults(program: str, slots: Sequence[Slot]) -> Iterator[Fault]:
    """Yield the words in which a value would be program text, or be executed by an option.

    Args:
        program: As it is declared, a name or a path.
        slots: The words of its argv.
    """
    name, rest = _meant(program, slots)
    if family := family_of(name):
        for word in program_texts(family, rest):
            what = f"in `{word}` a value would be program text of `{name}`"
            yield what, "write the text out, and give the value as a word of its own behind it"
    for word, option in executed(name, rest):
        what = f"in `{word}` a value would decide what `{option}` of `{name}` executes"
        yield what, "write it out; where the option takes no value, write `--` before yours"


def input_faults(program: str, slots: Sequence[Slot]) -> Iterator[Fault]:
    """Yield why a program may take no content of an agent's: it would be its program text.

    Args:
        program: As it is declared, a name or a path.
        slots: The words of its argv.
    """
    name, rest = _meant(program, slots)
    family = family_of(name)
    assigned = slots[: len(slots) - len(rest)]  # `env BASH_ENV=/dev/stdin bash …`
    parts = (part for slot in assigned for part in _PARTS.split(slot.text))
    if family and (may_read_program(family, rest) or any(map(names_input, parts))):
        what = f"`{name}` may read its program text from standard input"
        yield what, "write the text out in `argv`, or name a script of the image"


def behind_dashes(program: str, slots: Sequence[Slot]) -> tuple[bool, ...]:
    """Say of each word whether it stands behind a `--` that ends the program's options.

    It ends none for some programs, nor where an option may take it for its value, as in `grep -e -- {x}`, nor
    where what the words say goes to a program text, as in `sh -c 'sort "$1"' -- {x}`.
    """
    name, rest = _meant(program, slots)
    family = family_of(name)
    believes = not stem(name, _NO_DASHES) and (family is None or family.has_dashes)
    found = [believes and _ends_options(rest, place) for place in range(len(rest))]
    skipped = [False] * (len(slots) - len(rest))
    return (*skipped, *(any(found[:place]) for place in range(len(rest))))


def _ends_options(slots: Sequence[Slot], place: int) -> bool:
    if slots[place].text != "--" or not slots[place].is_certain:
        return False
    return not any(slot.text.startswith("-") and "=" not in slot.text for slot in befores(slots, place))


def _meant(program: str, slots: Sequence[Slot]) -> tuple[str, Sequence[Slot]]:
    """Return the program that runs, and its words: behind `busybox`, and behind what `env` assigns."""
    name = program.rpartition("/")[2]
    if name in _BOXES and slots:
        return _meant(slots[0].literal, slots[1:])
    assigned = 0
    while name == "env" and assigned < len(slots) and _is_fixed(slots[assigned], _ASSIGNED):
        assigned += 1
    if assigned and assigned < len(slots) and _is_fixed(slots[assigned], PROGRAM):
        meant = slots[assigned].text
        return (name, slots) if any(path_faults(meant)) else _meant(meant, slots[assigned + 1 :])
    return name, slots


def _is_fixed(slot: Slot, expected: re.Pattern[str]) -> bool:
    return slot.is_certain and "{" not in slot.text and expected.fullmatch(slot.text) is not None
