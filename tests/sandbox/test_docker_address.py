"""Which engine is taken, and by what road: as Docker's own client takes it, never one that nobody named."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from sandbox.docker_address import EngineAddress, find_engine
from sandbox.endpoint import SshEndpoint, TlsEndpoint, UnixEndpoint
from sandbox.errors import EngineAddressError
from tests.promises.engine_roads import Authority


class Home:
    """A home with a configuration of Docker's client."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.docker = path / ".docker"
        self.docker.mkdir()
        self.environment = {"HOME": str(path), "PATH": os.environ["PATH"]}

    def context(self, name: str, host: str, *, tls: Path | None = None, skip: bool = False) -> None:
        """Write a context as `docker context create` does."""
        digest = hashlib.sha256(name.encode()).hexdigest()
        meta = self.docker / "contexts" / "meta" / digest
        meta.mkdir(parents=True)
        endpoints = {"docker": {"Host": host, "SkipTLSVerify": skip}}
        (meta / "meta.json").write_text(json.dumps({"Name": name, "Metadata": {}, "Endpoints": endpoints}))
        if tls is not None:
            shutil.copytree(tls, self.docker / "contexts" / "tls" / digest / "docker")

    def use(self, name: str) -> None:
        """Write what `docker context use` does."""
        (self.docker / "config.json").write_text(json.dumps({"currentContext": name}))

    def find(self, **more: str) -> EngineAddress:
        """Return the engine's address with these variables too."""
        return find_engine({**self.environment, **more}, usual=str(self.path / "usual.sock"))

    def docker_says(self, **more: str) -> str:
        """Return the address that Docker's own client takes."""
        words = ["docker", "context", "inspect", "--format", "{{.Endpoints.docker.Host}}"]
        done = subprocess.run(
            words, env={**self.environment, **more}, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Return an empty one."""
    return Home(tmp_path)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with ca.pem, cert.pem and key.pem."""
    return Authority.make().issue(tmp_path_factory.mktemp("certificates"), "me")


@pytest.mark.parametrize(
    "variables",
    [
        {"DOCKER_HOST": "unix:///run/named.sock"},
        {"DOCKER_HOST": "unix:///run/named.sock", "DOCKER_CONTEXT": "other"},
        {"DOCKER_CONTEXT": "other"},
        {},
        {"DOCKER_HOST": ""},
        {"DOCKER_CONTEXT": ""},
    ],
    ids=str,
)
def test_what_is_named_goes_in_the_order_of_dockers_own_client(home: Home, variables: dict[str, str]) -> None:
    """DOCKER_HOST before DOCKER_CONTEXT before `docker context use`: the client itself is asked."""
    home.context("used", "unix:///run/used.sock")
    home.context("other", "ssh://me@other")
    home.use("used")

    assert home.find(**variables).url == home.docker_says(**variables)


def test_docker_config_names_another_folder(home: Home, tmp_path: Path) -> None:
    home.context("used", "unix:///run/used.sock")
    home.use("used")
    moved = home.docker.rename(tmp_path / "elsewhere")

    assert home.find(DOCKER_CONFIG=str(moved)).url == "unix:///run/used.sock"
    assert home.find().url == f"unix://{tmp_path}/usual.sock"


def test_how_it_was_found_is_told(home: Home) -> None:
    """For `pairlock doctor`: what named it, and what protects the way there."""
    home.context("far", "ssh://me@far:2222/run/d.sock")

    assert home.find(DOCKER_HOST="unix:///d.sock").found == "DOCKER_HOST"
    assert home.find(DOCKER_CONTEXT="far").found == "docker context `far`, DOCKER_CONTEXT; ssh"
    assert home.find().found == "the usual socket"


def test_ssh_runs_dockers_client_there_and_nothing_of_the_address_becomes_an_option(home: Home) -> None:
    endpoint = home.find(DOCKER_HOST="ssh://me@-oProxyCommand=x:22/run/a b;c.sock").endpoint

    assert isinstance(endpoint, SshEndpoint)
    assert endpoint.argv[-7:] == (
        *(
            "--",
            "me@-oproxycommand=x",
            "docker",
            "--host",
            "'unix:///run/a b;c.sock'",
            "system",
            "dial-stdio",
        ),
    )


@pytest.mark.parametrize(
    "address",
    [
        "ftp://host", "unix://relative", "unix://", "tcp://", "tcp://host:port", "tcp://host/path", "ssh://",
        "ssh://me:secret@host", "npipe:////./pipe/docker", "http://host", "://", "tcp://[::1",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused_and_no_other_engine_taken(home: Home, address: str) -> None:
    with pytest.raises(EngineAddressError) as caught:
        home.find(DOCKER_HOST=address, DOCKER_TLS_VERIFY="1", DOCKER_CERT_PATH=str(home.path))

    assert (
        caught.value.message
        == f"`{address}`, from DOCKER_HOST, is not an engine's address that pairlock can use"
    )
    assert "unix://" in caught.value.hint


@pytest.mark.parametrize("address", ["tcp://10.0.0.1:2375", "10.0.0.1:2375", "tcp://127.0.0.1"])
def test_tcp_without_tls_is_refused(home: Home, address: str) -> None:
    """Whoever can reach such an engine is root on its machine."""
    home.context("plain", address)

    for variables in (
        {"DOCKER_HOST": address},
        {"DOCKER_HOST": address, "DOCKER_TLS": "1"},
        {"DOCKER_CONTEXT": "plain"},
    ):
        with pytest.raises(EngineAddressError, match="has no TLS") as caught:
            home.find(**variables)
        assert "DOCKER_TLS_VERIFY" in caught.value.hint


def test_tcp_with_tls_verifies_the_engine_and_its_name(home: Home, certificates: Path) -> None:
    """From DOCKER_CERT_PATH, from Docker's own folder, and from a context."""
    home.context("far", "tcp://10.0.0.1:4444", tls=certificates)
    shutil.copytree(certificates, home.docker, dirs_exist_ok=True)
    named = {"DOCKER_HOST": "tcp://10.0.0.1:4444", "DOCKER_TLS_VERIFY": "1"}

    for variables in ({**named, "DOCKER_CERT_PATH": str(certificates)}, named, {"DOCKER_CONTEXT": "far"}):
        endpoint = home.find(**variables).endpoint

        assert isinstance(endpoint, TlsEndpoint)
        assert (endpoint.host, endpoint.port) == ("10.0.0.1", 4444)
        assert endpoint.tls.verify_mode is ssl.CERT_REQUIRED
        assert endpoint.tls.check_hostname
        assert [found["subject"] for found in endpoint.tls.get_ca_certs()] == [
            ((("commonName", "a test's authority"),),)
        ], "only the engine's own authority counts, none of the machine's"


def test_the_port_of_tls_is_dockers(home: Home, certificates: Path) -> None:
    named = {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(certificates)}
    endpoint = home.find(DOCKER_HOST="tcp://10.0.0.1", **named).endpoint

    assert isinstance(endpoint, TlsEndpoint)
    assert endpoint.port == 2376


def test_a_context_that_skips_verification_is_refused(home: Home, certificates: Path) -> None:
    home.context("loose", "tcp://10.0.0.1:2376", tls=certificates, skip=True)
    home.context("near", "unix:///run/near.sock", skip=True)

    with pytest.raises(EngineAddressError, match="does not verify who answers"):
        home.find(DOCKER_CONTEXT="loose")
    assert home.find(DOCKER_CONTEXT="near").url == "unix:///run/near.sock"


def test_certificates_that_are_not_there_or_none_are_told(home: Home, certificates: Path) -> None:
    named = {"DOCKER_HOST": "tcp://10.0.0.1", "DOCKER_TLS_VERIFY": "1"}
    shutil.copytree(certificates, home.path / "broken")
    (home.path / "broken" / "key.pem").write_text("no key")

    with pytest.raises(EngineAddressError, match="there is no folder"):
        home.find(**named, DOCKER_CERT_PATH=str(home.path / "absent"))
    with pytest.raises(EngineAddressError, match="cannot be used"):
        home.find(**named, DOCKER_CERT_PATH=str(home.path / "broken"))


@pytest.mark.parametrize("how", ["DOCKER_CONTEXT", "use"])
def test_a_context_that_is_not_there_is_an_error_and_not_the_usual_engine(home: Home, how: str) -> None:
    if how == "use":
        home.use("gone")

    with pytest.raises(EngineAddressError, match="docker context `gone`"):
        home.find(**({"DOCKER_CONTEXT": "gone"} if how == "DOCKER_CONTEXT" else {}))
    assert home.find(DOCKER_CONTEXT="default").found == "the usual socket"


@pytest.mark.parametrize("content", ["", "{", "[]", '"x"', "\x00"])
def test_a_configuration_that_cannot_be_read_is_an_error(home: Home, content: str) -> None:
    (home.docker / "config.json").write_text(content)

    with pytest.raises(EngineAddressError, match=r"config\.json"):
        home.find()
    assert home.find(DOCKER_HOST="unix:///d.sock").url == "unix:///d.sock"


@pytest.mark.parametrize("meta", ["{}", '{"Endpoints": []}', '{"Endpoints": {"docker": {"Host": 3}}}'])
def test_a_context_without_an_engine_is_an_error(home: Home, meta: str) -> None:
    home.context("odd", "unix:///x")
    file = next(home.docker.rglob("meta.json"))
    file.write_text(meta)

    with pytest.raises(EngineAddressError, match="names no engine"):
        home.find(DOCKER_CONTEXT="odd")


def test_a_rootless_engine_is_found_where_there_is_no_usual_one(home: Home) -> None:
    """Its setup makes a context; without one, its socket in XDG_RUNTIME_DIR is taken when nothing else is."""
    runtime = home.path / "run"
    runtime.mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(runtime / "docker.sock"))

        found = home.find(XDG_RUNTIME_DIR=str(runtime))
        (home.path / "usual.sock").touch()
        usual = home.find(XDG_RUNTIME_DIR=str(runtime))

    assert found.endpoint == UnixEndpoint(path=str(runtime / "docker.sock"))
    assert found.found == "the rootless engine in XDG_RUNTIME_DIR"
    assert usual.endpoint == UnixEndpoint(path=str(home.path / "usual.sock"))


CLOSED = """\
import os, sys
from sandbox.docker_address import find_engine
from sandbox.errors import EngineAddressError
if os.getuid() == 0:
    os.setgid(23456)
    os.setuid(23456)
environment = {"PATH": "/usr/bin", **dict(word.split("=", 1) for word in sys.argv[1:])}
try:
    print(find_engine(environment, usual="/no.sock").url)
except EngineAddressError as error:
    print(error)
    print(bool(error.hint))
"""


@pytest.mark.parametrize(
    "variables",
    [
        {"HOME": "{closed}"},
        {"DOCKER_CONFIG": "{closed}", "DOCKER_CONTEXT": "there"},
        {"DOCKER_HOST": "tcp://there:1", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "{closed}/certs"},
    ],
    ids=["configuration", "context", "certificates"],
)
def test_a_folder_that_is_closed_to_this_user_is_an_error_with_a_hint(variables: dict[str, str]) -> None:
    """`sudo docker` leaves a ~/.docker that is root's alone; the twin is the same folder, open."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        closed = Path(made) / "closed"
        (closed / "certs").mkdir(parents=True)
        closed.chmod(0o000)
        words = [f"{name}={value.format(closed=closed)}" for name, value in variables.items()]

        shut = _as_ordinary_user(words)
        closed.chmod(0o755)
        opened = _as_ordinary_user(words)

    assert "cannot be read: permission denied" in shut[0]
    assert shut[1:] == ["True"]
    assert "permission denied" not in opened[0]


def test_a_runtime_folder_that_is_closed_to_this_user_holds_no_engine() -> None:
    """`su` keeps XDG_RUNTIME_DIR, which stays the first user's."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        closed = Path(made) / "closed"
        closed.mkdir(mode=0o000)

        found = _as_ordinary_user([f"HOME={made}", f"XDG_RUNTIME_DIR={closed}"])

    assert found == ["unix:///no.sock"]


def _as_ordinary_user(words: list[str]) -> list[str]:
    """Look for the engine where modes count, and return what is printed."""
    command = [sys.executable, "-c", CLOSED, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()
