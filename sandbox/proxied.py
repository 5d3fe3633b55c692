"""Tell programs where their way out is, and whom they may trust, by variables that they read. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sandbox.guest.doors import PORT
from sandbox.guest.trust import JAVA_NAME, NAME

if TYPE_CHECKING:
    from collections.abc import Mapping

BUNDLE: Final = NAME.decode()
"""The file of authorities, in the scratch folder."""
PROXY: Final = f"http://127.0.0.1:{PORT}"
_PROXY_NAMES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_DIRECT: Final = "localhost,127.0.0.1,::1"
"""Servers that the agent's own programs start are in the container, and the proxy is not the way to them."""
_JAVA_PROXY: Final = " ".join(
    f"-D{scheme}.proxyHost=127.0.0.1 -D{scheme}.proxyPort={PORT}" for scheme in ("http", "https")
)
_JAVA_DIRECT: Final = "-Dhttp.nonProxyHosts=localhost|127.0.0.1|[::1]"
_JAVA: Final = "JAVA_TOOL_OPTIONS"
"""Read by every Java virtual machine, which says so on stderr; it reads no variable for proxies."""
_NODE: Final = {"NODE_USE_ENV_PROXY": "1"}
"""Since Node 22.21 and 24.0, `fetch` and `http` read the usual variables when this one says so."""
_TRUST_NAMES: Final = (
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "NODE_EXTRA_CA_CERTS",
    "PIP_CERT",
    "CARGO_HTTP_CAINFO",
    "AWS_CA_BUNDLE",
)

_CHOICES: Final = frozenset({_JAVA, *_NODE, *_TRUST_NAMES})


def proxy_environment() -> Mapping[str, str]:
    """Return what points programs to the loopback proxy; some read capital names, some small ones."""
    names = {**dict.fromkeys(_PROXY_NAMES, PROXY), "NO_PROXY": _DIRECT}
    small = {name.lower(): value for name, value in names.items()}
    return {**names, **small, **_NODE, _JAVA: f"{_JAVA_PROXY} {_JAVA_DIRECT}"}


def program_environment(given: Mapping[str, str], ways: Mapping[str, str]) -> Mapping[str, str]:
    """Return the variables that a program has beside its usual ones.

    Those that only spare it an option, such as its authorities, are its own to set, and Java's options are
    added to, or left out when they are given empty; where its proxy and its commands are is no choice.

    Args:
        given: What it is to be started with.
        ways: What points programs to the proxy and to commands.
    """
    chosen = {name: value for name, value in given.items() if name in _CHOICES}
    if chosen.get(_JAVA) and _JAVA in ways:
        chosen[_JAVA] = f"{ways[_JAVA]} {chosen[_JAVA]}"
    whole = {**given, **ways, **chosen}
    if not whole.get(_JAVA):
        whole.pop(_JAVA, None)  # Java tells on stderr of an empty one as well
    return whole


def trust_environment(bundle: str) -> Mapping[str, str]:
    """Return what points programs to a file of authorities.

    Args:
        bundle: Its path inside the container; Java's form of it stands beside it.
    """
    store = f"{bundle.rpartition('/')[0]}/{JAVA_NAME.decode()}"
    trust = f"-Djavax.net.ssl.trustStore={store} -Djavax.net.ssl.trustStoreType=JKS"
    return {**dict.fromkeys(_TRUST_NAMES, bundle), _JAVA: f"{_JAVA_PROXY} {_JAVA_DIRECT} {trust}"}
