"""Find the engine as Docker's own client does: DOCKER_HOST, then a context, then the usual socket.

Source: docker/cli, `resolveContextName` in cli/command/cli.go, and the folder of contexts described in
cli/context/store. What is named and cannot be used is an error, never a reason to take another engine.
"""

from __future__ import annotations

import hashlib
import json
import os
import ssl
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from sandbox.endpoint import Endpoint, SshEndpoint, TlsEndpoint, UnixEndpoint
from sandbox.errors import EngineAddressError

if TYPE_CHECKING:
    from collections.abc import Mapping

USUAL_SOCKET: Final = "/var/run/docker.sock"
TLS_PORT: Final = 2376
DEFAULT_CONTEXT: Final = "default"
_ADDRESS_HINT: Final = "use unix://PATH, tcp://HOST:PORT with TLS, or ssh://USER@HOST"
_MEND_HINT: Final = "mend it, or name an engine with DOCKER_HOST"
_TLS_HINT: Final = "set DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH, or reach the engine by ssh://"


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """Where the certificates are; each is None where there is none."""

    authority: Path | None
    """Who signs the engine's certificate; the machine's usual authorities when None."""
    certificate: Path | None
    """What this client shows."""
    key: Path | None
    """Of that certificate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineAddress:
    """Where the engine is, and how that was found."""

    url: str
    found: str
    """For people: what named it, and what protects the way there."""
    endpoint: Endpoint


def find_engine(environment: Mapping[str, str] = os.environ, *, usual: str = USUAL_SOCKET) -> EngineAddress:
    """Return the engine's address.

    Args:
        environment: The process's.
        usual: The socket that is taken when nothing else is named.

    Raises:
        EngineAddressError: When what is named is not there, is no address, or is not protected.
    """
    if host := environment.get("DOCKER_HOST"):
        return _address(host, "DOCKER_HOST", _tls_of_environment(environment))
    folder = _configuration(environment)
    if name := environment.get("DOCKER_CONTEXT"):
        by = "DOCKER_CONTEXT"
    else:
        name, by = _current_context(folder / "config.json"), "`docker context use`"
    if name and name != DEFAULT_CONTEXT:
        return _of_context(folder, name, by)
    runtime = environment.get("XDG_RUNTIME_DIR", "")
    rootless = f"{runtime}/docker.sock"
    if runtime.startswith("/") and _mode(Path(usual)) is None and _is_socket(rootless):
        return _address(f"unix://{rootless}", "the rootless engine in XDG_RUNTIME_DIR", None)
    return _address(f"unix://{usual}", "the usual socket", None)


def _mode(path: Path) -> int | None:
    """Return what stands at a path, as its mode; None when nothing does.

    Raises:
        EngineAddressError: When that cannot be told, as in a folder that `sudo docker` made for root alone.
    """
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        why = (error.strerror or "it cannot be looked at").lower()
        raise EngineAddressError(f"`{path}` cannot be read: {why}", hint=_MEND_HINT) from error


def _is_socket(path: str) -> bool:
    """Tell whether a socket is there for this user; one in a folder that is closed to it is none."""
    try:
        return stat.S_ISSOCK(Path(path).stat().st_mode)
    except OSError:
        return False


def _configuration(environment: Mapping[str, str]) -> Path:
    if given := environment.get("DOCKER_CONFIG"):
        return Path(given)
    home = environment.get("HOME")
    return (Path(home) if home else Path.home()) / ".docker"


def _current_context(file: Path) -> str:
    """Return the name that `docker context use` wrote down; empty when there is none."""
    read = _read_object(file) if _mode(file) is not None else {}
    name = read.get("currentContext", "")
    return name if isinstance(name, str) else ""


def _of_context(folder: Path, name: str, by: str) -> EngineAddress:
    """Return the address that a context holds; its folders are named by the hash of its name."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()
    file = folder / "contexts" / "meta" / digest / "meta.json"
    if _mode(file) is None:
        raise EngineAddressError(
            f"docker context `{name}`, named by {by}, is not there",
            hint="`docker context ls` lists what is; unset DOCKER_CONTEXT, or `docker context use default`",
        )
    endpoints = _read_object(file).get("Endpoints")
    found = endpoints.get("docker") if isinstance(endpoints, dict) else None
    host = found.get("Host") if isinstance(found, dict) else None
    if not isinstance(found, dict) or not isinstance(host, str) or not host:
        raise EngineAddressError(f"docker context `{name}` names no engine", hint=f"look at `{file}`")
    if found.get("SkipTLSVerify") and _is_tcp(host):
        raise EngineAddressError(
            f"docker context `{name}` does not verify who answers at `{host}`",
            hint="make it again with a `ca=` and without `skip-tls-verify`",
        )
    tls = _files(folder / "contexts" / "tls" / digest / "docker")
    return _address(host, f"docker context `{name}`, {by}", tls)


def _tls_of_environment(environment: Mapping[str, str]) -> TlsFiles | None:
    if not environment.get("DOCKER_TLS_VERIFY"):
        return None
    given = environment.get("DOCKER_CERT_PATH")
    folder = Path(given) if given else _configuration(environment)
    if not stat.S_ISDIR(_mode(folder) or 0):
        raise EngineAddressError(
            f"DOCKER_TLS_VERIFY is set, and there is no folder `{folder}` with certificates",
            hint="set DOCKER_CERT_PATH to the folder of ca.pem, cert.pem and key.pem",
        )
    return _files(folder)


def _files(folder: Path) -> TlsFiles | None:
    authority, certificate, key = (folder / name for name in ("ca.pem", "cert.pem", "key.pem"))
    if not stat.S_ISDIR(_mode(folder) or 0):
        return None
    return TlsFiles(
        authority=authority if _mode(authority) is not None else None,
        certificate=certificate if _mode(certificate) is not None else None,
        key=key if _mode(key) is not None else None,
    )


def _address(url: str, found: str, tls: TlsFiles | None) -> EngineAddress:
    """Check an address and return it, with what protects the way there."""
    text = url if "://" in url else f"tcp://{url}"  # as Docker's client reads `host:port`
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise _not_an_address(url, found) from error
    match parts.scheme:
        case "unix" if parts.path.startswith("/") and not parts.netloc:
            return EngineAddress(url=text, found=found, endpoint=UnixEndpoint(path=parts.path))
        case "tcp" if parts.hostname and parts.path in ("", "/"):
            if tls is None:
                raise EngineAddressError(
                    f"`{text}`, from {found}, has no TLS: whoever is on the way can take its machine",
                    hint=_TLS_HINT,
                )
            endpoint = TlsEndpoint(host=parts.hostname, port=port or TLS_PORT, tls=_context(tls))
            shown = "with a certificate of ours" if tls.certificate else "without a certificate of ours"
            return EngineAddress(url=text, found=f"{found}; TLS, verified, {shown}", endpoint=endpoint)
        case "ssh" if parts.hostname and parts.password is None:
            user = f"{parts.username}@" if parts.username else ""
            endpoint_by_ssh = SshEndpoint(
                destination=f"{user}{parts.hostname}", port=port, socket=parts.path.rstrip("/")
            )
            return EngineAddress(url=text, found=f"{found}; ssh", endpoint=endpoint_by_ssh)
    raise _not_an_address(url, found)


def _not_an_address(url: str, found: str) -> EngineAddressError:
    return EngineAddressError(
        f"`{url}`, from {found}, is not an engine's address that pairlock can use", hint=_ADDRESS_HINT
    )


def _is_tcp(host: str) -> bool:
    return host.startswith("tcp://") or "://" not in host


def _context(files: TlsFiles) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=files.authority)
        if files.certificate is not None:
            context.load_cert_chain(files.certificate, files.key)
    except OSError as error:  # ssl.SSLError is one
        why = getattr(error, "reason", None) or error.strerror or str(error)
        where = (files.certificate or files.authority or Path("?")).parent
        raise EngineAddressError(
            f"the certificates in `{where}` cannot be used: {str(why).lower()}",
            hint="expected ca.pem, cert.pem and key.pem there",
        ) from error
    return context


def _read_object(file: Path) -> dict[str, object]:
    try:
        read = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise EngineAddressError(f"`{file}` cannot be read: {error}", hint=_MEND_HINT) from error
    if not isinstance(read, dict):
        raise EngineAddressError(f"`{file}` is not a JSON object", hint=_MEND_HINT)
    return read
