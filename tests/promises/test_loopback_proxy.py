"""Programs of a network + exec session reach what the policy names, through the loopback proxy only."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from tests.sandbox.egress.ground import make_authority

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.promises.conftest import Lab

pytestmark = pytest.mark.engine
RUNTIMES = ["runc", pytest.param("runsc", marks=pytest.mark.gvisor)]
SERVER = "127.0.0.2"
"""A loopback address of this machine's that NO_PROXY in the container does not name."""
LARGE_BYTES = 3_000_000
AT_ONCE = 64
BUNDLE = "/tmp/.pairlock-authorities.pem"


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._answer(b"x" * LARGE_BYTES if self.path == "/large" else b"hello from outside")

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


def script(code: str) -> str:
    """Return the command line that runs a Python program in the container."""
    quoted = code.strip().replace("'", "'\\''")
    return f"run -- python3 -c '{quoted}'"


def fetch(url: str, *, more: str = "") -> str:
    """Return the command line of a program that fetches a page as most programs do, and prints it."""
    return script(f"""
import urllib.request, urllib.error
try:
    with urllib.request.urlopen(urllib.request.Request("{url}"{more}), timeout=60) as answer:
        body = answer.read()
        print(answer.status, len(body), body[:100].decode())
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode())
""")


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_program_reaches_the_host_that_the_policy_names(lab: Lab, server: int, runtime: str) -> None:
    """Small, large, and with a body; each connection is in the ledger."""
    url = f"http://{SERVER}:{server}"

    ran = lab.run(
        policy(runtime, server, more=", methods: [GET, POST]"),
        [fetch(f"{url}/"), fetch(f"{url}/large"), fetch(f"{url}/", more=", data=bytes(1000000)")],
    )

    small, large, sent = (seen.text for seen in ran.seen[:3])
    assert "200 18 hello from outside" in small
    assert f"200 {LARGE_BYTES} " in large
    assert "got 1000000" in sent
    opened = ran.entries("egress.opened")
    assert [(entry["host"], entry["port"], entry["verdict"]) for entry in opened] == [
        (SERVER, server, "allowed")
    ] * 3
    assert len(ran.entries("egress.closed")) == 3


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_program_is_refused_every_other_host_and_told_why(lab: Lab, server: int, runtime: str) -> None:
    """HTTP, a tunnel, and another port of a host that is named: each a 403, each in the ledger."""
    tunnel = script("""
import socket
connection = socket.create_connection(("127.0.0.1", 3128), timeout=60)
connection.sendall(b"CONNECT elsewhere.example:443 HTTP/1.1\\r\\nHost: elsewhere.example:443\\r\\n\\r\\n")
print(connection.recv(65536).decode())
""")

    ran = lab.run(
        policy(runtime, server),
        [fetch("http://elsewhere.example/"), fetch(f"http://{SERVER}:{server + 1}/"), tunnel],
    )

    for seen in ran.seen[:3]:
        assert "403" in seen.text
        assert '"error": "denied"' in seen.text
        assert '"code": "host"' in seen.text
    refused = ran.entries("egress.opened")
    assert [(entry["host"], entry["verdict"], entry["reasons"][0]["code"]) for entry in refused] == [
        ("elsewhere.example", "denied", "host"),
        (SERVER, "denied", "host"),
        ("elsewhere.example", "denied", "host"),
    ]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_program_that_passes_the_proxy_by_gets_nowhere(lab: Lab, server: int, runtime: str) -> None:
    """No route, no resolver, nothing on the server's own address; the same program through the proxy does."""
    directly = script(f"""
import socket, urllib.request
def tried(act):
    try:
        act()
    except OSError as error:
        return type(error).__name__
    return "reached"
print("address", tried(lambda: socket.create_connection(("192.0.2.1", 80), timeout=10)))
print("server", tried(lambda: socket.create_connection(("{SERVER}", {server}), timeout=10)))
print("name", tried(lambda: socket.getaddrinfo("example.com", 80)))
print("datagram", tried(lambda: socket.socket(2, 2).sendto(b"x", ("192.0.2.1", 53))))
print("proxy", tried(lambda: urllib.request.urlopen("http://{SERVER}:{server}/", timeout=60)))
""")

    ran = lab.run(policy(runtime, server), [directly])

    said = dict(line.split() for line in ran.seen[0].text.splitlines() if len(line.split()) == 2)
    assert said["proxy"] == "reached"
    for way in ("address", "server", "name", "datagram"):
        assert said[way] != "reached", ran.seen[0].text
    assert len(ran.entries("egress.opened")) == 1


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_many_connections_at_once_are_all_served(lab: Lab, server: int, runtime: str) -> None:
    many = script(f"""
import concurrent.futures, urllib.request
def one(_):
    with urllib.request.urlopen("http://{SERVER}:{server}/", timeout=120) as answer:
        return answer.read()
with concurrent.futures.ThreadPoolExecutor({AT_ONCE}) as pool:
    got = list(pool.map(one, range({AT_ONCE})))
print("served", got.count(b"hello from outside"))
""")

    ran = lab.run(policy(runtime, server), [many])

    assert f"served {AT_ONCE}" in ran.seen[0].text
    assert len(ran.entries("egress.closed")) == AT_ONCE


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_servers_that_a_program_starts_itself_are_reached_without_the_proxy(
    lab: Lab, server: int, runtime: str
) -> None:
    """A test suite that serves on loopback goes on working, and the ledger hears nothing of it."""
    own = script("""
import http.server, threading, urllib.request
serving = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
threading.Thread(target=serving.serve_forever, daemon=True).start()
for name in ("127.0.0.1", "localhost"):
    try:
        print(name, urllib.request.urlopen(f"http://{name}:{serving.server_port}/", timeout=60).status)
    except OSError as error:
        print(name, error)
""")

    ran = lab.run(policy(runtime, server), [own])

    assert "127.0.0.1 200" in ran.seen[0].text
    assert ran.entries("egress.opened") == []


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_program_trusts_the_gate_where_tls_ends_there(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runtime: str
) -> None:
    """A rule with paths is held inside TLS: what it names is answered, what it does not is a 403."""
    (tmp_path / "authority").mkdir()
    authority = make_authority(tmp_path / "authority")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))  # the gate's own trust, on the host

    with _Server((SERVER, 0), _Answers) as listening:
        listening.socket = authority.server(SERVER).wrap_socket(listening.socket, server_side=True)
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        url = f"https://{SERVER}:{listening.server_port}"
        ran = lab.run(
            policy(runtime, listening.server_port, more=', paths: ["/open/**"]'),
            [fetch(f"{url}/open/x"), fetch(f"{url}/closed"), "run env", f"run grep -c BEGIN {BUNDLE}"],
        )
        listening.shutdown()
        thread.join()

    assert "200 18 hello from outside" in ran.seen[0].text
    assert "403" in ran.seen[1].text
    assert '"code": "path"' in ran.seen[1].text
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO"):
        assert f"{name}={BUNDLE}" in ran.seen[2].text
    assert int(ran.seen[3].text.split()[0]) > 1  # the image's own, and the session's


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_session_without_network_has_no_proxy_and_no_socket_to_ask_one(lab: Lab, runtime: str) -> None:
    files_and_exec = f"""\
version: 1
name: no-proxy
grant: [files, exec]
commands: {{allow: [run]}}
exec: {{programs: any}}
isolation: {{runtime: {runtime}}}
"""
    asks = script("""
import socket
for family in (socket.AF_INET, socket.AF_INET6):
    try:
        socket.socket(family, socket.SOCK_STREAM)
        print("made")
    except OSError as error:
        print("errno", error.errno)
""")

    ran = lab.run(files_and_exec, ["run env", asks], workspace=lab.workspace(note="x"))

    assert "proxy" not in ran.seen[0].text.lower()
    assert "made" not in ran.seen[1].text
    assert ran.seen[1].text.count("errno") == 2
    assert ran.entries("egress.opened") == []
