"""The one table in which the SDK's errors become ours."""

from __future__ import annotations

import ssl

import docker.errors
import pytest
import requests
import urllib3.exceptions

from sandbox.docker_errors import CORE_HINT, GoneError, gone_is_fine, ours, refused, unreachable
from sandbox.errors import (
    EngineMissingError,
    EnginePermissionError,
    EngineRefusedError,
    EngineSilentError,
    ImageNotFoundError,
    MountRefusedError,
    SandboxError,
)


def nothing_said() -> str:
    """Say nothing."""
    return ""


@pytest.mark.parametrize(
    ("text", "status", "kind"),
    [
        ("container x is not running", 409, GoneError),
        ("removal of container x is already in progress", 409, GoneError),
        ("conflict: the name is already in use", 409, EngineRefusedError),
        ("write /var/lib/docker/x: no space left on device", 500, EngineRefusedError),
        (
            "error while mounting volume '/x': failed to mount local volume: invalid argument",
            500,
            MountRefusedError,
        ),
        ("anything else", 500, EngineRefusedError),
    ],
)
def test_what_an_engine_answers(text: str, status: int, kind: type[SandboxError]) -> None:
    error = refused(text, status=status)

    assert type(error) is kind
    assert text in error.message
    assert bool(error.hint) == ("no space" in text)


RUNC = (
    "failed to create shim task: OCI runtime create failed: runc create failed: "
    "unable to start container process: error during container init: "
    "error setting rlimits for ready process: error setting rlimit type {}: operation not permitted: unknown"
)
CRUN = "OCI runtime create failed: setrlimit `RLIMIT_{}`: Operation not permitted: unknown"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (RUNC.format(4), CORE_HINT),
        (CRUN.format("CORE"), CORE_HINT),
        (RUNC.format(8), ""),
        (RUNC.format(44), ""),
        (CRUN.format("MEMLOCK"), ""),
    ],
    ids=["runc, core", "crun, core", "runc, locked memory", "runc, none there is", "crun, locked memory"],
)
def test_an_engine_that_may_have_no_core_files_at_all_is_told_apart(text: str, hint: str) -> None:
    """A rootless one below `* hard core 0` cannot set the 1 byte that a session needs."""
    error = refused(text, status=400)

    assert type(error) is EngineRefusedError
    assert error.hint == hint
    assert text in error.message


@pytest.mark.parametrize(
    ("cause", "kind", "words"),
    [
        (PermissionError(13, "Permission denied"), EnginePermissionError, "no permission"),
        (FileNotFoundError(2, "No such file"), EngineMissingError, "no Docker engine answers"),
        (ConnectionRefusedError(111, "refused"), EngineMissingError, "no Docker engine answers"),
        (TimeoutError("timed out"), EngineSilentError, "does not answer in time"),
        (ssl.SSLError(1, "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] x"), EngineMissingError, "no TLS with"),
    ],
)
def test_what_comes_instead_of_an_answer_is_found_however_deep_it_lies(
    cause: BaseException, kind: type[SandboxError], words: str
) -> None:
    """The SDK, requests and urllib3 each wrap it once more."""
    inner = urllib3.exceptions.ProtocolError("Connection aborted.", cause)
    wrapped = docker.errors.DockerException(requests.ConnectionError(inner))

    error = unreachable("unix:///x", wrapped)

    assert type(error) is kind
    assert words in error.message
    assert "`unix:///x`" in error.message
    assert error.hint


def test_what_ssh_said_is_told() -> None:
    error = unreachable("ssh://x", requests.ConnectionError("gone"), said="Permission denied (publickey).")

    assert error.message == "no Docker engine answers at `ssh://x`: Permission denied (publickey)."


def test_the_sdks_errors_never_leave() -> None:
    """Each becomes one of ours, with the cause kept."""
    with pytest.raises(ImageNotFoundError), ours("unix:///x", last_words=nothing_said):
        raise docker.errors.ImageNotFound("no such image")
    with pytest.raises(EngineRefusedError), ours("unix:///x", last_words=nothing_said):
        raise docker.errors.APIError("broken")
    with pytest.raises(EngineMissingError) as caught, ours("unix:///x", last_words=nothing_said):
        raise requests.ConnectionError("refused")
    assert isinstance(caught.value.__cause__, requests.ConnectionError)


def test_gone_is_fine_and_nothing_else_is() -> None:
    with gone_is_fine(), ours("unix:///x", last_words=nothing_said):
        raise docker.errors.NotFound("no such container")
    with pytest.raises(EngineRefusedError), gone_is_fine(), ours("unix:///x", last_words=nothing_said):
        raise docker.errors.APIError("broken")
