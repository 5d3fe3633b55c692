"""B85, B87: a socket of the host's that lies in the workspace, under every access."""

from __future__ import annotations

import os
import shlex
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from sandbox.stage.errors import StageError
from tests.promises.conftest import lab  # noqa: F401 - the fixture

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.promises.conftest import Lab

pytestmark = pytest.mark.engine
RUNTIMES = ["runc", pytest.param("runsc", marks=pytest.mark.gvisor)]
POLICY = """
version: 1
name: look
grant: [files, exec]
files: {{access: {access}, hide: [], hide_defaults: false, protect_defaults: false}}
exec: {{programs: any}}
commands: {{allow: [run, "files *"]}}
isolation: {{runtime: {runtime}}}
"""
REACH = (
    "import os, socket, time\n"
    "open('/workspace/started', 'w').close()\n"
    "for _ in range(150):\n"
    "    if os.path.exists('/workspace/agent.sock'): break\n"
    "    time.sleep(0.1)\n"
    "for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):\n"
    "    try:\n"
    "        wire = socket.socket(socket.AF_UNIX, kind)\n"
    "        wire.connect('/workspace/agent.sock')\n"
    "        print('reached')\n"
    "    except OSError as error: print(error.errno)\n"
    "one, other = socket.socketpair()\n"
    "one.send(b'pairs work'); print(other.recv(16).decode())\n"
)
OWN = (
    "import socket\n"
    "listening, wire = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)\n"
    "listening.bind('/tmp/own.sock'); listening.listen(1); wire.connect('/tmp/own.sock')\n"
    "print('reached its own')\n"
)


def own(folder: Path) -> None:
    """Give a workspace to the session's user, so that nothing but the sandbox is in its way."""
    for path in (folder, *folder.iterdir()):
        os.chown(path, 65532, 65532)


@pytest.fixture
def late_socket(tmp_path: Path) -> Iterator[threading.Event]:
    """Open a socket in the workspace once the session runs; the event says that somebody connected."""
    reached, done = threading.Event(), threading.Event()
    workspace = tmp_path / "workspace"

    def serve() -> None:
        with socket.socket(socket.AF_UNIX) as listening:
            while not (workspace / "started").exists():
                if done.wait(0.1):
                    return
            listening.bind(str(workspace / "agent.sock"))
            (workspace / "agent.sock").chmod(0o777)
            listening.listen(1)
            listening.settimeout(0.2)
            while not done.is_set():
                with suppress(TimeoutError):
                    listening.accept()[0].close()
                    reached.set()

    thread = threading.Thread(target=serve)
    thread.start()
    yield reached
    done.set()
    thread.join()


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_socket_that_appears_in_a_bound_folder_is_out_of_reach(
    lab: Lab,  # noqa: F811 - the fixture
    late_socket: threading.Event,
    runtime: str,
) -> None:
    """B85, B87: no namespace keeps a socket away that has a path; a session beside one makes pairs only."""
    workspace = lab.workspace(note="x")
    own(workspace)

    ran = lab.run(
        POLICY.format(access="direct", runtime=runtime),
        [f"run python3 -c {shlex.quote(REACH)}"],
        workspace=workspace,
    )

    lines = ran.seen[0].text.splitlines()
    assert (workspace / "agent.sock").exists()
    assert not late_socket.is_set()
    assert lines[-3:] == ["1", "1", "pairs work"]  # EPERM


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_staged_session_has_unix_sockets_of_its_own(lab: Lab, runtime: str) -> None:  # noqa: F811 - the fixture
    """B87, the twin: what the filter leaves out beside a bound folder is there elsewhere."""
    workspace = lab.workspace(note="x")
    own(workspace)

    ran = lab.run(
        POLICY.format(access="stage", runtime=runtime),
        [f"run python3 -c {shlex.quote(OWN)}"],
        workspace=workspace,
    )

    assert ran.seen[0].text.strip().endswith("reached its own")


@pytest.mark.parametrize("access", ["stage", "read", "direct"])
def test_a_socket_that_lies_in_the_workspace_is_hidden_or_refused(lab: Lab, access: str) -> None:  # noqa: F811 - the fixture
    """B85, B87: staged it is not there at all; bound it cannot be hidden, so the session does not start."""
    workspace = lab.workspace(note="x")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(workspace / "agent.sock"))
        own(workspace)
        policy, actions = POLICY.format(access=access, runtime="runc"), ["run ls /workspace"]

        if access == "direct":
            with pytest.raises(StageError, match=r"agent\.sock"):
                lab.run(policy, actions, workspace=workspace)
        else:
            assert lab.run(policy, actions, workspace=workspace).seen[0].text.split()[-1] == "note"
