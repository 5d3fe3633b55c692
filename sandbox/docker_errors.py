"""Turn the Docker SDK's errors into ours: the one table."""

from __future__ import annotations

import re
import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import docker.errors
import requests

from sandbox.errors import (
    EngineMissingError,
    EnginePermissionError,
    EngineRefusedError,
    EngineSilentError,
    ImageNotFoundError,
    MountRefusedError,
    SandboxError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

START_HINT: Final = "start it (`systemctl start docker`, or `dockerd` as root), or name one with DOCKER_HOST"
ACCESS_HINT: Final = "join the group `docker` (`usermod -aG docker $USER`, then log in again), or run as root"
HANGS_HINT: Final = "look at its log (`journalctl -u docker`), or start it again"
TLS_HINT: Final = "the certificates of DOCKER_CERT_PATH or of the docker context must be those of this engine"
ROOM_HINT: Final = "free some room where the engine keeps its data (`docker system df`, `docker info`)"
CORE_HINT: Final = (
    "let the engine's service have core files of 1 byte: `LimitCORE=1` (or more) in its unit, "
    "and no `hard core 0` for its user"
)

_CORE_LIMIT: Final = re.compile(r"setting rlimit type 4\b|setrlimit `?RLIMIT_CORE\b")  # runc, crun
_MOUNT_FAILED: Final = ("failed to mount local volume", "error while mounting volume")
_NO_ROOM: Final = ("no space left on device", "disk quota exceeded")


class GoneError(EngineRefusedError):
    """Raised when the engine says that a thing is gone, or is going."""


@contextmanager
def gone_is_fine() -> Iterator[None]:
    """Take a thing that is gone already for removed."""
    try:
        yield
    except GoneError:
        return


@contextmanager
def ours(address: str, *, last_words: Callable[[], str]) -> Iterator[None]:
    """Turn errors of the SDK into ours.

    Args:
        address: The engine's, for the message.
        last_words: What the program behind the connection said last; empty where there is none.
    """
    try:
        yield
    except docker.errors.ImageNotFound as error:
        raise ImageNotFoundError(f"no such image: {_explanation(error)}") from error
    except docker.errors.NotFound as error:
        raise GoneError(_explanation(error)) from error
    except docker.errors.APIError as error:
        raise refused(_explanation(error), status=error.status_code) from error
    except (docker.errors.DockerException, requests.RequestException, OSError) as error:
        raise unreachable(address, error, said=last_words()) from error


def refused(text: str, *, status: int | None) -> EngineRefusedError:
    """Return the error for what an engine answered.

    Args:
        text: Its explanation.
        status: The HTTP status.
    """
    if status == 409 and ("is not running" in text or "already in progress" in text):
        return GoneError(f"the engine refused: {text}")
    if any(words in text.lower() for words in _NO_ROOM):
        return EngineRefusedError(f"the engine has no room left: {text}", hint=ROOM_HINT)
    if any(words in text for words in _MOUNT_FAILED):
        return MountRefusedError(f"the engine refused a mount: {text}")
    if _CORE_LIMIT.search(text):
        return EngineRefusedError(f"the engine may not set the limit of core files: {text}", hint=CORE_HINT)
    return EngineRefusedError(f"the engine refused: {text}")


def unreachable(address: str, error: BaseException, *, said: str = "") -> SandboxError:
    """Return the error for an engine that did not answer.

    Args:
        address: The engine's.
        error: What came instead of an answer.
        said: What ssh said, where there is one.
    """
    for cause in _causes(error):
        match cause:
            case PermissionError():
                return EnginePermissionError(
                    f"no permission to use the engine at `{address}`", hint=ACCESS_HINT
                )
            case ssl.SSLCertVerificationError():
                return EngineMissingError(
                    f"who answers at `{address}` is not the engine: {cause.verify_message}", hint=TLS_HINT
                )
            case ssl.SSLError():
                why = (getattr(cause, "reason", "") or str(cause)).lower().replace("_", " ")
                return EngineMissingError(f"no TLS with the engine at `{address}`: {why}", hint=TLS_HINT)
            case TimeoutError() | requests.Timeout():
                return EngineSilentError(
                    f"the engine at `{address}` does not answer in time", hint=HANGS_HINT
                )
    if said:
        return EngineMissingError(
            f"no Docker engine answers at `{address}`: {said}",
            hint="try `ssh` by hand, then `docker version` there",
        )
    return EngineMissingError(f"no Docker engine answers at `{address}`", hint=START_HINT)


def _causes(error: BaseException | None) -> Iterable[BaseException]:
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        current = waiting.pop()
        if not isinstance(current, BaseException) or id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        waiting += [current.__cause__, current.__context__, *current.args]


def _explanation(error: docker.errors.APIError) -> str:
    text = str(error.explanation or error)
    return " ".join(text.split())[:300]
