"""A server on loopback that is a Python index, an npm registry, an apt archive and a git host in one."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import subprocess
import tarfile
import threading
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator
    from pathlib import Path

SERVER = "127.0.0.2"
PAGE = b"hello from outside"


@dataclass
class Site:
    """What a server serves, and what it was asked for."""

    files: dict[str, bytes] = field(default_factory=dict)
    repositories: Path | None = None
    secret: str = ""
    """What `/echo` must have been sent for `/echo` to answer."""
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Host and path of each request."""
    headers: list[dict[str, str]] = field(default_factory=list)
    port: int = 0


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Site

    def do_GET(self) -> None:
        self._serve()

    def do_HEAD(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        path = urlsplit(self.path).path
        self.site.asked.append((self.headers["Host"].partition(":")[0], path))
        self.site.headers.append(dict(self.headers.items()))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if path.startswith("/git/") and self.site.repositories:
            self._git(path, body)
        elif path in self.site.files:
            self._answer(200, self.site.files[path], _kind(path))
        else:
            self._answer(404, b"no such page", "text/plain")

    def _answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _git(self, path: str, body: bytes) -> None:
        """Be git's own CGI program (git-http-backend(1))."""
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.site.repositories),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path.removeprefix("/git"),
            "QUERY_STRING": urlsplit(self.path).query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
        }
        done = subprocess.run(
            ["git", "http-backend"], input=body, env=environment, capture_output=True, check=True
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        found = dict(line.split(": ", 1) for line in head.decode().splitlines())
        status = int(found.get("Status", "200").split()[0])
        self._answer(status, content, found.get("Content-Type", "text/plain"))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        pass


class _Server(ThreadingHTTPServer):
    request_queue_size = 64
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients go when they like."""


@contextmanager
def serving(site: Site, *, tls: ssl.SSLContext | None = None) -> Iterator[Site]:
    """Serve a site on a port of loopback."""
    handler = type("_Handler", (_Handler,), {"site": site})
    with _Server((SERVER, 0), handler) as listening:
        if tls is not None:
            listening.socket = tls.wrap_socket(
                listening.socket, server_side=True, do_handshake_on_connect=False
            )
        site.port = listening.server_port
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        yield site
        listening.shutdown()
        thread.join()


def fill(site: Site, folder: Path) -> None:
    """Write the packages and the repository that clients ask for."""
    site.files["/open/page"] = PAGE
    _python_index(site)
    _npm_registry(site)
    _apt_archive(site, folder)
    site.repositories = folder / "repositories"
    _repository(site.repositories / "project.git")


def _kind(path: str) -> str:
    if path.startswith("/npm/") and not path.endswith(".tgz"):
        return "application/json"
    return "text/html" if path.endswith("/") else "application/octet-stream"


def _python_index(site: Site) -> None:
    info = "tinything-1.0.dist-info"
    texts = {
        "tinything.py": "WORD = 'from the index'\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: tinything\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as wheel:
        for name, text in texts.items():
            wheel.writestr(name, text)
        record = "".join(f"{name},sha256={_hash(text)},{len(text)}\n" for name, text in texts.items())
        wheel.writestr(f"{info}/RECORD", record + f"{info}/RECORD,,\n")
    name = "tinything-1.0-py3-none-any.whl"
    site.files[f"/simple/tinything/{name}"] = buffer.getvalue()
    site.files["/simple/tinything/"] = f'<a href="{name}">{name}</a>'.encode()


def _hash(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def _npm_registry(site: Site) -> None:
    package = {"name": "tinything", "version": "1.0.0", "main": "index.js"}
    files = {
        "package/package.json": json.dumps(package).encode(),
        "package/index.js": b"module.exports = 'from the registry'\n",
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    tarball = buffer.getvalue()
    site.files["/npm/tinything/-/tinything-1.0.0.tgz"] = tarball
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(tarball).digest()).decode()
    site.files["/npm/tinything"] = _lazy(package, integrity)


def _lazy(package: dict[str, str], integrity: str) -> bytes:
    """Write what a registry says of a package; its address is put in when the port is known: `npm_at`."""
    dist = {"tarball": "TARBALL", "integrity": integrity}
    document: dict[str, Any] = {
        "name": package["name"],
        "dist-tags": {"latest": "1.0.0"},
        "versions": {"1.0.0": {**package, "dist": dist}},
    }
    return json.dumps(document).encode()


def npm_at(site: Site, base: str) -> None:
    """Put the registry's address into what it says."""
    tarball = f"{base}/npm/tinything/-/tinything-1.0.0.tgz".encode()
    site.files["/npm/tinything"] = site.files["/npm/tinything"].replace(b"TARBALL", tarball)


def _apt_archive(site: Site, folder: Path) -> None:
    root = folder / "deb"
    (root / "DEBIAN").mkdir(parents=True)
    fields = "Package: tinything\nVersion: 1.0\nArchitecture: all\nMaintainer: tests <t@example.com>\n"
    (root / "DEBIAN/control").write_text(f"{fields}Description: tiny\n")
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "--build", root, folder / "tinything.deb"],
        check=True, capture_output=True,
    )  # fmt: skip
    content = (folder / "tinything.deb").read_bytes()
    packages = (
        f"{fields}Filename: tests/tinything.deb\nSize: {len(content)}\n"
        f"SHA256: {hashlib.sha256(content).hexdigest()}\nDescription: tiny\n\n"
    ).encode()
    release = f"Suite: tests\nSHA256:\n {hashlib.sha256(packages).hexdigest()} {len(packages)} Packages\n"
    site.files["/apt/tests/tinything.deb"] = content
    site.files["/apt/tests/Packages"] = packages
    site.files["/apt/tests/Release"] = release.encode()


def _repository(bare: Path) -> None:
    work = bare.parent / "work"
    author = {"GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@example.com"}
    committer = {"GIT_COMMITTER_NAME": "t", "GIT_COMMITTER_EMAIL": "t@example.com"}
    environment = {"PATH": os.environ["PATH"], "HOME": str(bare.parent), **author, **committer}

    def git(*words: str) -> None:
        subprocess.run(["git", *words], env=environment, check=True, capture_output=True)

    work.mkdir(parents=True)
    (work / "README").write_text("from the repository\n")
    git("init", "-q", str(work))
    git("-C", str(work), "add", "README")
    git("-C", str(work), "commit", "-qm", "first")
    git("clone", "-q", "--bare", str(work), str(bare))
