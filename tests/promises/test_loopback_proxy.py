"""Programs of a network + exec session reach what the policy names, through the loopback proxy, and only so."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.promises.conftest import Lab

pytestmark = pytest.mark.engine
RUNTIMES = ["runc", pytest.param("runsc", marks=pytest.mark.gvisor)]
SERVER = "127.0.0.2"
"""A loopback address of this machine's that NO_PROXY in the container does not name."""
LARGE_BYTES = 3_000_000
AT_ONCE = 64


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._answer(bytes(LARGE_BYTES) if self.path == "/large" else b"hello from outside")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(f"got {len(body)}".encode())

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        pass


class _Server(ThreadingHTTPServer):
    request_queue_size = 128


@pytest.fixture
def server() -> Iterator[int]:
    """Serve on a loopback address of this machine and give the port."""
    with _Server((SERVER, 0), _Answers) as listening:
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        yield listening.server_port
        listening.shutdown()
        thread.join()


def policy(runtime: str, port: int, *, more: str = "") -> str:
    """Write a network + exec policy with one host."""
    return f"""\
version: 1
name: proxy
grant: [network, exec]
commands: {{allow: [run]}}
exec: {{programs: any, contents: public}}
isolation: {{runtime: {runtime}}}
network: {{allow: [{{host: {SERVER}, ports: [{port}], private: true{more}}}]}}
"""


def python(code: str) -> dict[str, str]:
    """Return the action that runs a Python program in the container."""
    return {"command": f"run python3 - {_quoted(code)}"}


def _quoted(code: str) -> str:
    return "'" + code.replace("'", "'\\''") + "'"


def script(code: str) -> str:
    """Return the command line that runs a Python program in the container."""
    return f"run -- python3 -c {_quoted(code)}"


FETCH = """
import sys, urllib.request, urllib.error
try:
    with urllib.request.urlopen(sys.argv[1] if len(sys.argv) > 1 else URL, timeout=60) as answer:
        print(answer.status, answer.read(100).decode())
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode())
"""


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_program_reaches_the_host_that_the_policy_names(lab: Lab, server: int, runtime: str) -> None:
    ran = lab.run(
        policy(runtime, server),
        [script(f"URL='http://{SERVER}:{server}/'\n{FETCH}"), "run env"],
    )

    print([s.text for s in ran.seen])
    assert "200 hello from outside" in ran.seen[0].text
    opened = ran.entries("egress.opened")
    assert [(e["host"], e["port"], e["verdict"]) for e in opened] == [(SERVER, server, "allowed")]
