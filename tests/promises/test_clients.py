"""Real clients from inside real sessions: what each needs to get through the gate, and what it is told.

docs/egress.md has the table. Each is tried with TLS that passes through and with TLS that ends at the gate,
at a named host and at another, and in a session without `network`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

import sandbox
from tests.conftest import shared_folder
from tests.promises import client_session
from tests.promises.client_servers import SERVER, Site, fill, npm_at, serving
from tests.promises.shared_clients import Clients, shared_clients

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.sandbox.egress.ground import Authority

pytestmark = [pytest.mark.engine, pytest.mark.long]

ROOT: Final = Path(sandbox.__file__).parent.parent
HERE, ELSEWHERE = "named.test", "elsewhere.test"
PAGE = "hello from outside"


def node_reads_variables() -> bool:
    """Tell whether this machine's Node, which is put into the image, reads the variables for the proxy."""
    node = shutil.which("node")
    if node is None:
        return False
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    major, minor = map(int, said.strip().removeprefix("v").split(".")[:2])
    return major >= 24 or (major == 22 and minor >= 21)


NODE: Final = node_reads_variables()
CLIENTS: Final = {
    "curl": PAGE,
    "git": "from the repository",
    "pip": "from the index",
    "npm": "from the registry",
    "apt": "tinything_1.0_all.deb",
    "urllib": PAGE,
    "requests": PAGE,
    "httpx": PAGE,
    "aiohttp": PAGE,
    "go": PAGE,
    "java": PAGE,
    "java.net.http": PAGE,
    **({"node": PAGE} if NODE else {}),
}
"""What each prints when it got what it asked for; client_code/client.sh has how it is called."""
FETCHES: Final = tuple(name for name, printed in CLIENTS.items() if printed == PAGE)
DIRECT: Final = (*(() if NODE else ("node",)), "aiohttp-direct", "curl-direct", "socket")
"""Those that read no variable for the proxy; Node's `fetch` reads them from 22.21 and 24.0 on."""
TRUSTING: Final = (
    "SSL_CERT_FILE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "REQUESTS_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
)


@dataclass(frozen=True)
class Field:
    """Servers, an image, and a way to run sessions."""

    site: Site
    image: str
    authority: Authority
    folder: Path
    new_state: Callable[[], Path]

    def policy(self, *, more: str = "", network: bool = True) -> str:
        """Write a policy that names one host."""
        rule = f"{{host: {HERE}, ports: [{self.site.port}], private: true{more}}}"
        grant, block = ("[network, exec]", f"network: {{allow: [{rule}]}}\n") if network else ("[exec]", "")
        contents = ", contents: public" if network else ""
        return (
            f"version: 1\nname: clients\ngrant: {grant}\ncommands: {{allow: [run]}}\n"
            f'exec: {{image: "{self.image}", programs: any{contents}}}\n{block}'
            "isolation: {memory: 2GiB, processes: 512}\nbudget: {turns: 100}\n"
        )

    def ask(self, client: str, host: str = HERE, page: str = "/open/page", *, trust: bool = True) -> str:
        """Write the action that asks a host with a client.

        Args:
            client: Its name in client.sh.
            host: Who is asked.
            page: What for, where the client fetches pages.
            trust: Whether it is told to trust the tests' authority, as it would be by its image.
        """
        told = "".join(f"--env {name}=/opt/ca.pem " for name in TRUSTING) if trust else ""
        told += "--env JAVA_TRUST=-Djavax.net.ssl.trustStore=/opt/ca.jks " if trust else ""
        return f"run {told}-- sh /opt/code/client.sh {client} https://{host}:{self.site.port} {page}"

    def run(self, policy: str, actions: list[str]) -> dict[str, Any]:
        """Run a session whose runner finds the tests' names on loopback."""
        hosts = self.folder / "hosts"
        hosts.write_text(f"127.0.0.1 localhost\n{SERVER} {HERE} {ELSEWHERE}\n")
        wanted = {
            "hosts": str(hosts), "root": str(ROOT), "state": str(self.new_state()),
            "policy": policy, "actions": actions,
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, client_session.__file__],
            input=json.dumps(wanted), capture_output=True, text=True, timeout=900, check=False,
            env={**os.environ, "SSL_CERT_FILE": str(self.authority.file)}, cwd=ROOT,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        ran: dict[str, Any] = json.loads(done.stdout)
        return ran


@pytest.fixture(scope="module")
def own_names() -> None:
    """See to it that a namespace of the test's own can be mounted in; in CI it has to be."""
    wanted = ["unshare", "--mount", *(["--user", "--map-root-user"] if os.geteuid() else []), "mount"]
    tried = subprocess.run(
        [*wanted, "--bind", "/etc/hosts", "/etc/hosts"],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    if tried.returncode and not os.environ.get("CI"):
        pytest.skip(f"this machine lets nobody but root mount in a namespace: {tried.stderr.strip()}")


@pytest.fixture(scope="module")
def clients(built: Path, own_names: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clients]:
    """Return an image with every client in it, and the authority that signs for the tests' servers."""
    with shared_clients(built, shared_folder(tmp_path_factory)) as held:
        yield held


@pytest.fixture
def field(clients: Clients, tmp_path: Path, new_state: Callable[[], Path]) -> Iterator[Field]:
    """Serve everything on one port, under the two names."""
    site = Site()
    fill(site, tmp_path)
    authority = replace(clients.authority, folder=tmp_path)
    with serving(site, tls=authority.server(HERE, ELSEWHERE)):
        npm_at(site, f"https://{HERE}:{site.port}")
        yield Field(site, clients.image, clients.authority, tmp_path, new_state)


def missed(ran: dict[str, Any]) -> dict[str, str]:
    """Return what those clients saw that did not get what they asked for."""
    seen = zip(CLIENTS.items(), ran["seen"], strict=False)
    return {client: text for (client, printed), text in seen if printed not in text}


def test_each_client_reaches_the_named_host_and_no_other_with_tls_passed_through(field: Field) -> None:
    actions = [field.ask(client) for client in CLIENTS]
    actions += [field.ask(client, ELSEWHERE) for client in CLIENTS]

    ran = field.run(field.policy(), actions)

    denied = ran["seen"][len(CLIENTS) :]
    refusal = f"the egress gate refused `{ELSEWHERE}` port {field.site.port} (host)"
    assert missed(ran) == {}
    assert {client: seen for client, seen in zip(CLIENTS, denied, strict=False) if refusal not in seen} == {}
    assert {host for host, _ in field.site.asked} == {HERE}
    opened = [body for kind, body in ran["entries"] if kind == "egress.opened"]
    assert {(body["host"], body["verdict"]) for body in opened} == {(HERE, "allowed"), (ELSEWHERE, "denied")}


def test_each_client_trusts_the_gate_and_is_told_what_a_rule_refuses_where_tls_ends(field: Field) -> None:
    """Nothing but the session's own variables is set; a path that no rule names is a 403."""
    http2 = ("curl-http2", "curl-socks")
    actions = [field.ask(client, trust=False) for client in (*CLIENTS, *http2)]
    actions += [field.ask(client, page="/closed", trust=False) for client in FETCHES]
    paths = ', methods: [GET, HEAD, POST], paths: ["/open/**", "/git/**", "/simple/**", "/npm/**", "/apt/**"]'

    ran = field.run(field.policy(more=paths), actions)

    assert missed(ran) == {}
    assert f"{PAGE} over HTTP/1.1" in ran["seen"][len(CLIENTS)]
    assert PAGE in ran["seen"][len(CLIENTS) + 1]
    refusals = zip(FETCHES, ran["seen"][len(CLIENTS) + len(http2) :], strict=False)
    words = "no rule for `named.test` allows the path `/closed`"
    assert {client: seen for client, seen in refusals if words not in seen} == {}
    assert "/closed" not in {path for _, path in field.site.asked}


def test_a_client_that_reads_no_proxy_reaches_nothing_and_is_told_what_to_do(field: Field) -> None:
    ran = field.run(field.policy(), [field.ask(client) for client in (*DIRECT, "curl")])

    words = "only through the proxy of HTTP_PROXY"
    assert {
        client: seen for client, seen in zip(DIRECT, ran["seen"], strict=False) if words not in seen
    } == {}
    assert PAGE not in "".join(ran["seen"][: len(DIRECT)])
    assert PAGE in ran["seen"][len(DIRECT)]
    assert len(field.site.asked) == 1


def test_no_client_reaches_anything_in_a_session_without_network(field: Field) -> None:
    """The twin is every test above: the same commands, granted."""
    ran = field.run(field.policy(network=False), [field.ask(client) for client in CLIENTS])

    assert missed(ran).keys() == CLIENTS.keys()
    assert all("exit code" in seen for seen in ran["seen"][: len(CLIENTS)])
    assert field.site.asked == []
    assert not [kind for kind, _ in ran["entries"] if kind.startswith("egress.")]
