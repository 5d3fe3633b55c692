"""Name what went wrong on the way to a model's server and back, by what the SDKs and HTTP raise."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import httpx2

from agent_runner.backends.failure import (
    Failure,
    ModelServerError,
    one_line,
    retry_after,
    status_error,
    stream_error,
)

if TYPE_CHECKING:
    from agent_runner.backends.server import Server


def from_chain(error: BaseException, server: Server) -> ModelServerError:
    """Name an error by the first of its causes that says what happened; the SDKs wrap the others."""
    link: BaseException | None = error
    while link is not None:
        found = _named(link, server)
        if found is not None:
            return found
        link = link.__cause__
    # An SDK that takes text, or a list, for an object says so in words of its own code.
    its_own = isinstance(error, AttributeError | TypeError)
    words = "" if its_own else f": {type(error).__name__}: {one_line(str(error))}"
    message = f"{server.where} answered with what is no reply{words}"
    return ModelServerError(message, failure=Failure(kind="broken"))


def _named(error: BaseException, server: Server) -> ModelServerError | None:
    if isinstance(error, ModelServerError):
        return error
    response = getattr(error, "response", None)
    if isinstance(response, httpx2.Response) and response.status_code != 200:
        return _status_error(error, response, server)
    if isinstance(error, httpx2.TransportError):
        return _transport_error(error, server)
    if hasattr(error, "body") and error.__cause__ is None:
        return stream_error(server.where, error.body or str(error))
    if isinstance(error, ssl.SSLError):  # of a record that is damaged: no error of HTTP's wraps it
        words = one_line(str(error)) or type(error).__name__
        return ModelServerError(f"{server.where} broke off: {words}", failure=Failure(kind="broken"))
    return None


def _status_error(error: BaseException, response: httpx2.Response, server: Server) -> ModelServerError:
    if not response.is_redirect:
        wait = retry_after(response.headers)
        body = getattr(error, "body", None)
        return status_error(server.where, response.status_code, body, retry_after_seconds=wait)
    place = one_line(response.headers.get("location", "")) or "nowhere"
    return ModelServerError(
        f"{server.where} answered {response.status_code}: it redirects to `{place}`, which is not followed",
        failure=Failure(kind="refused", status=response.status_code),
        hint="see `base_url` of this model in the configuration: is it `https://`, and whole?",
    )


def _transport_error(error: httpx2.TransportError, server: Server) -> ModelServerError:
    words = one_line(str(error)) or type(error).__name__
    if isinstance(error, httpx2.ConnectTimeout | httpx2.ConnectError | httpx2.ProxyError):
        return ModelServerError(
            f"{server.where} cannot be reached: {words}",
            failure=Failure(kind="unreachable"),
            hint=_mend(words, server),
        )
    if isinstance(error, httpx2.TimeoutException):
        message = f"{server.where} was silent for {server.silence_seconds:g} s"
        hint = "a long conversation may take longer: see `silence` of this model in the configuration"
        return ModelServerError(message, failure=Failure(kind="timeout"), hint=hint)
    return ModelServerError(f"{server.where} broke off: {words}", failure=Failure(kind="broken"))


def _mend(words: str, server: Server) -> str:
    """Return what to look at when there is no connection, by OpenSSL's words where it was asked."""
    if "CERTIFICATE_VERIFY_FAILED" in words:
        return (
            "this machine does not trust its certificate; `SSL_CERT_FILE` names a file with the authority's, "
            "and a host that is not the one of `base_url` is never trusted"
        )
    if "WRONG_VERSION_NUMBER" in words or "record layer failure" in words.lower():
        return "it speaks no TLS there: is its `base_url` one of `http://`?"
    if server.proxy is not None:
        return "does the proxy let that server through? see `proxy` of this model in the configuration"
    return "is the server up? see `base_url` of this model in the configuration"
