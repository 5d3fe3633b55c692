"""Tell programs where their way out is, and whom they may trust, by variables that they read. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sandbox.guest.doors import PORT
from sandbox.guest.trust import NAME

if TYPE_CHECKING:
    from collections.abc import Mapping

BUNDLE: Final = NAME.decode()
"""The file of authorities, in the scratch folder."""
PROXY: Final = f"http://127.0.0.1:{PORT}"
_PROXY_NAMES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_DIRECT: Final = "localhost,127.0.0.1,::1"
"""Servers that the agent's own programs start are in the container, and the proxy is not the way to them."""
_TRUST_NAMES: Final = (
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "NODE_EXTRA_CA_CERTS",
    "PIP_CERT",
)


def proxy_environment() -> Mapping[str, str]:
    """Return what points programs to the loopback proxy; some read capital names, some small ones."""
    names = {**dict.fromkeys(_PROXY_NAMES, PROXY), "NO_PROXY": _DIRECT}
    return {**names, **{name.lower(): value for name, value in names.items()}}


def trust_environment(bundle: str) -> Mapping[str, str]:
    """Return what points programs to a file of authorities.

    Args:
        bundle: Its path inside the container.
    """
    return dict.fromkeys(_TRUST_NAMES, bundle)
