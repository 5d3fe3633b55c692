"""B93, B94: what has the kernel do something on the machine for a program, or tells of other sessions."""

from __future__ import annotations

import fcntl
import struct
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from policies.grant import Grant
from tests.attacks.test_kernel_session import with_starter
from tests.sandbox.conftest import ground  # noqa: F401 - the fixture

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sandbox.live import Ground

pytestmark = pytest.mark.engine
RUNTIMES = ["runc", pytest.param("runsc", marks=pytest.mark.gvisor)]

DISCIPLINES = """
import errno, fcntl, os, struct, termios
terminal = os.open('/dev/ptmx', os.O_RDWR | os.O_NOCTTY)
for number in (21, 13, 27):  # modems (n_gsm), frames (n_hdlc), none (n_null): the first two are modules
    try:
        fcntl.ioctl(terminal, 0x5423, struct.pack('i', number))
        print(number, 'done')
    except OSError as error:
        print(number, errno.errorcode[error.errno])
print(len(fcntl.ioctl(terminal, termios.TIOCGWINSZ, bytes(8))))
"""
LAST_DISCIPLINE = DISCIPLINES.replace("(21, 13, 27)", "(27,)")
LOOKING = """
for path in ('/proc/locks', '/proc/pressure/cpu'):
    try:
        with open(path) as file: print(path, bool(file.read()))
    except OSError: print(path, False)
"""


@pytest.mark.parametrize("runtime", RUNTIMES)
async def test_a_program_has_no_line_discipline_loaded(ground: Ground, runtime: str) -> None:  # noqa: F811 - the fixture
    """B94: a terminal of its own is enough for it elsewhere; its size can be asked all the same."""
    async with ground.opened_sandbox(await with_starter(ground, Grant.EXEC, runtime=runtime)) as sandbox:
        inside = await sandbox.spawn(("python3", "-c", DISCIPLINES))

    assert inside.output == b"21 EPERM\n13 EPERM\n27 EPERM\n8\n"
    assert here(LAST_DISCIPLINE) == "27 done\n8\n"


@pytest.mark.parametrize("runtime", RUNTIMES)
async def test_a_program_sees_neither_locks_nor_pressure_of_others(
    ground: Ground,  # noqa: F811 - the fixture
    runtime: str,
    tmp_path: Path,
) -> None:
    """B93: locks of open files stand in every namespace's list, and would carry bits between two sessions."""
    with (tmp_path / "locked").open("w") as file:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 271828, 1, 0))
        async with ground.opened_sandbox(await with_starter(ground, Grant.EXEC, runtime=runtime)) as sandbox:
            inside = await sandbox.spawn(("python3", "-c", LOOKING))
        outside = here(LOOKING)

    assert inside.output == b"/proc/locks False\n/proc/pressure/cpu False\n"
    assert outside.startswith("/proc/locks True\n")


def here(script: str) -> str:
    """Run a script on this machine, outside of any sandbox."""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    return ran.stdout
