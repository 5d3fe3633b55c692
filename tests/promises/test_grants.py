"""Each of the seven grants allows what it grants and refuses the rest, in real containers."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest

from policies.capability import Capability
from policies.grant import Grant

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.promises.conftest import Lab

pytestmark = pytest.mark.engine
RUNTIMES = ["runc", pytest.param("runsc", marks=pytest.mark.gvisor)]


class _Hello(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        pass


@pytest.fixture
def server() -> Iterator[int]:
    """Serve one word on loopback and give the port."""
    with HTTPServer(("127.0.0.1", 0), _Hello) as listening:
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        yield listening.server_port
        listening.shutdown()
        thread.join()


def policy_for(grant: Grant, runtime: str, port: int = 443) -> str:
    """Write the widest simple policy that a grant allows."""
    names = ", ".join(capability.value for capability in grant.capabilities)
    lines = [
        "version: 1",
        "name: probe",
        f"grant: [{names}]",
        'commands: {allow: ["files *", run, http get]}',
        f"isolation: {{runtime: {runtime}}}",
    ]
    if grant.holds(Capability.EXEC):
        public = ", contents: public" if grant.holds(Capability.NETWORK) else ""
        lines.append(f"exec: {{programs: any{public}}}")
    if grant.holds(Capability.NETWORK):
        lines.append(f"network: {{allow: [{{host: 127.0.0.1, ports: [{port}], private: true}}]}}")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("grant", list(Grant), ids=lambda grant: grant.label)
def test_a_grant_allows_what_it_grants_and_refuses_the_rest(
    lab: Lab, server: int, grant: Grant, runtime: str
) -> None:
    """The same three actions under every grant; each is carried out exactly when its capability is held."""
    workspace = lab.workspace(note="in the workspace") if grant.holds(Capability.FILES) else None
    url = f"http://127.0.0.1:{server}/"

    ran = lab.run(
        policy_for(grant, runtime, server),
        ["files read note", "run echo it ran", f"http get {url}"],
        workspace=workspace,
    )

    assert ran.result.status == "done", ran.result.error
    read, executed, fetched = ran.seen[:3]
    for seen, capability, text in (
        (read, Capability.FILES, "in the workspace"),
        (executed, Capability.EXEC, "it ran"),
        (fetched, Capability.NETWORK, "hello"),
    ):
        if grant.holds(capability):
            assert seen.kind == "done", seen.text
            assert text in seen.text
        else:
            assert seen.kind == "denied"
            assert seen.reasons[0].code == "capability"


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("grant", list(Grant), ids=lambda grant: grant.label)
def test_the_kernel_holds_a_session_to_its_grant(lab: Lab, grant: Grant, runtime: str) -> None:
    """Tried before the first action: execve is refused without `exec`, sockets without a proxy."""
    workspace = lab.workspace() if grant.holds(Capability.FILES) else None

    ran = lab.run(policy_for(grant, runtime), [], workspace=workspace)

    evidence = {piece["check"]: piece["observed"] for piece in ran.entries("sandbox.attested")[0]["evidence"]}
    if grant.holds(Capability.EXEC):
        assert evidence["try execve"] == "allowed"
    else:
        assert evidence["try execve"] == "EPERM"
    if grant is Grant.NETWORK_EXEC:
        assert evidence["try socket_inet"] == "allowed"
    else:
        assert evidence["try socket_inet"] in ("EPERM", "EAFNOSUPPORT")
    assert evidence["interfaces"] in ("['lo']", "[]")


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_program_writes_where_the_workspace_and_the_scratch_are_and_nowhere_else(
    lab: Lab, runtime: str
) -> None:
    """B15, B21: tried at every mount and at the root's own folders; there is no second root to protect."""
    tries = (
        "import os\n"
        "mounts = {line.split()[1] for line in open('/proc/self/mounts')}\n"
        "for place in sorted(mounts | {'/etc', '/usr/bin', '/root', '/var'}):\n"
        "    try: open(place + '/tried', 'w'); print('wrote', place, flush=True)\n"
        "    except OSError: pass\n"
    )
    ran = lab.run(
        policy_for(Grant.FILES_EXEC, runtime),
        [{"command": "run python3 -", "content": tries}],
        workspace=lab.workspace(),
    )

    wrote = {line.partition(" ")[2] for line in ran.seen[0].text.splitlines() if line.startswith("wrote ")}
    assert {"/tmp", "/workspace"} <= wrote <= {"/tmp", "/workspace", "/dev/shm"}, ran.seen[0].text


def test_all_three_is_refused_before_anything_starts(tmp_path: Path) -> None:
    """There is no such grant, and the refusal names the three lawful ways to split the work."""
    from policies.errors import ForbiddenGrantError
    from policies.source import parse_policy

    with pytest.raises(ForbiddenGrantError) as caught:
        parse_policy("version: 1\nname: x\ngrant: [files, network, exec]\n", origin="x.yaml")

    assert len(caught.value.splits) == 3
