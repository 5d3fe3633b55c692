"""A credential end to end: its server is sent it, and neither the container nor the ledger holds it."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from agent_runner import models
from tests.promises.conftest import lab  # noqa: F401 - the fixture
from tests.sandbox.egress.ground import make_authority

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.promises.conftest import Lab

pytestmark = pytest.mark.engine

SERVER = "127.0.0.2"
SECRET = "tok-Qx7f/3+kz90Lw"  # noqa: S105 - made up
LOOK = """
import os, urllib.request
found = []
def look(name, data):
    if "NEEDLE".encode()[::-1] in data:
        found.append(name)
asked = urllib.request.Request("URL/open", headers={"Authorization": "Bearer mine"})
with urllib.request.urlopen(asked, timeout=60) as answer:
    body = answer.read()
    print("answered", answer.status, body.decode())
    look("body", body)
    look("headers", str(answer.headers).encode())
for process in filter(str.isdecimal, os.listdir("/proc")):
    for name in ("environ", "cmdline"):
        try:
            with open(f"/proc/{process}/{name}", "rb") as file:
                look(f"/proc/{process}/{name}", file.read())
        except OSError:
            pass
for folder, _, names in os.walk("/tmp"):
    for name in names:
        with open(os.path.join(folder, name), "rb") as file:
            look(name, file.read())
print("found", found)
"""


@dataclass
class Api:
    """A server that answers with the Authorization that it was sent."""

    port: int
    sent: list[str]


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """Serve over TLS that the gate trusts."""
    (tmp_path / "authority").mkdir()
    authority = make_authority(tmp_path / "authority")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))  # the gate's own trust, on the host
    sent: list[str] = []

    class Echo(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            given = self.headers["Authorization"]
            sent.append(given)
            body = f"you sent {given}".encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("X-Echo", given)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
            pass

    with ThreadingHTTPServer((SERVER, 0), Echo) as listening:
        listening.socket = authority.server(SERVER).wrap_socket(listening.socket, server_side=True)
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        yield Api(listening.server_port, sent)
        listening.shutdown()
        thread.join()


@pytest.mark.parametrize("keyed", [True, False])
def test_b101_b102_a_credential_reaches_its_server_and_nothing_else(
    lab: Lab,  # noqa: F811 - the fixture
    api: Api,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    keyed: bool,  # noqa: FBT001 - a parameter of the test's
) -> None:
    """The twin is a rule without it: there the agent's own header goes out and comes back."""
    config = tmp_path / "config.yaml"
    (tmp_path / "token").write_text(f"{SECRET}\n")
    config.write_text(f"version: 1\ncredentials:\n  c: {{file: {tmp_path}/token, hosts: [{SERVER}]}}\n")
    monkeypatch.setattr(models, "configuration_path", lambda: config)
    more = "credential: c, data: public" if keyed else 'paths: ["/**"]'
    policy = f"""\
version: 1
name: keyed
grant: [network, exec]
commands: {{allow: [run]}}
exec: {{programs: any, contents: public}}
network: {{allow: [{{host: {SERVER}, ports: [{api.port}], private: true, {more}}}]}}
"""
    code = LOOK.replace("URL", f"https://{SERVER}:{api.port}").replace("NEEDLE", SECRET[::-1])
    quoted = code.strip().replace("'", '"')

    ran = lab.run(policy, [f"run -- python3 -c '{quoted}'"])

    seen = ran.seen[0].text
    ledger = ran.result.ledger.read_text()
    assert "found []" in seen, seen
    assert SECRET not in seen
    assert SECRET not in ledger
    if keyed:
        assert api.sent == [f"Bearer {SECRET}"]
        assert f"answered 200 you sent Bearer {'*' * len(SECRET)}" in seen
    else:
        assert api.sent == ["Bearer mine"]
        assert "answered 200 you sent Bearer mine" in seen
