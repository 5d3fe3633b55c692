"""Leave the egress process nothing to read but what it needs: libraries, certificates, the resolver's files.

Landlock (Linux 5.13, docs.kernel.org/userspace-api/landlock.html): unprivileged, for good, for this process
and its threads. A kernel without it leaves the process what its user can read.
"""

from __future__ import annotations

import ctypes
import errno
import os
import ssl
import sys
import sysconfig
from pathlib import Path
from struct import pack
from typing import TYPE_CHECKING, Final

from sandbox.guest.linux import prctl

if TYPE_CHECKING:
    from collections.abc import Iterator

_CREATE_RULESET: Final = 444
_ADD_RULE: Final = 445
_RESTRICT_SELF: Final = 446
_PATH_BENEATH: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38
_READ_FILE: Final = 1 << 2
_READ_FOLDER: Final = 1 << 3
_EVERY_ACCESS: Final = (1 << 13) - 1
"""Everything that the first version of Landlock knows: running, writing, reading, making, removing."""
_ABSENT: Final = frozenset({errno.ENOSYS, errno.EOPNOTSUPP})
_OURS: Final = ("audit", "policies", "sandbox")
_SYSTEM: Final = ("/etc", "/usr", "/lib", "/lib64", "/run/systemd/resolve")


def bound_reading() -> bool:
    """Bound for good what this process can open.

    Returns:
        Whether it is bound; False on a kernel without Landlock.

    Raises:
        OSError: When a kernel that has it refuses.
    """
    system = ctypes.CDLL(None, use_errno=True).syscall
    attributes = ctypes.create_string_buffer(pack("=Q", _EVERY_ACCESS), 8)
    rules: int = system(_CREATE_RULESET, attributes, 8, 0)
    if rules < 0:
        if ctypes.get_errno() in _ABSENT:
            return False
        raise OSError(ctypes.get_errno(), "landlock_create_ruleset")
    for path in {path.resolve() for path in _needed()}:
        if path.exists():
            _allow(system, rules, path)
    prctl(_PR_SET_NO_NEW_PRIVS, 1)
    if system(_RESTRICT_SELF, rules, 0) < 0:
        raise OSError(ctypes.get_errno(), "landlock_restrict_self")
    os.close(rules)
    return True


def _allow(system: ctypes._NamedFuncPointer, rules: int, path: Path) -> None:
    """Allow reading below a path; what is in /proc stays open, for its entries are made anew when unused."""
    opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    access = _READ_FILE | _READ_FOLDER if path.is_dir() else _READ_FILE
    rule = ctypes.create_string_buffer(pack("=Qi", access, opened), 12)
    if system(_ADD_RULE, rules, _PATH_BENEATH, rule, 0) < 0:
        raise OSError(ctypes.get_errno(), "landlock_add_rule", str(path))
    if not path.is_relative_to("/proc"):
        os.close(opened)


def _needed() -> Iterator[Path]:
    yield from map(Path, _SYSTEM)
    yield Path("/etc/resolv.conf").resolve().parent
    yield Path(f"/proc/{os.getpid()}/net")
    root = Path(__file__).parent.parent.parent
    yield from (root / name for name in _OURS)
    yield from (Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib"))
    yield Path(sys.base_prefix) / "lib"
    yield from (Path(entry) for entry in sys.path if entry.endswith("-packages"))
    trust = ssl.get_default_verify_paths()
    yield from (Path(found) for found in (trust.cafile, trust.capath) if found)
