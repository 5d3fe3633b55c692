"""Commits fetched over real TLS on loopback: no credential leaves, no redirect is followed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from agent_runner.ci.fetching import Bounds, fetch_commit
from agent_runner.ci.task import Checkout
from agent_runner.errors import InvalidInputError, RunnerError
from tests.agent_runner.ci.git_server import serving_git
from tests.sandbox.egress.ground import make_authority

if TYPE_CHECKING:
    from tests.agent_runner.ci.git_server import GitServer
    from tests.sandbox.egress.ground import Authority


RUNNER = """
import asyncio, sys
from pathlib import Path
from agent_runner.ci.fetching import fetch_commit
from agent_runner.ci.task import Checkout

asyncio.run(fetch_commit(Checkout(git=sys.argv[1], commit=sys.argv[2]), Path(sys.argv[3])))
"""


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@example.com", "-C", str(folder), *words],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """Return an authority that git trusts."""
    made = make_authority(tmp_path)
    monkeypatch.setenv("GIT_SSL_CAINFO", str(made.file))
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    return made


@pytest.fixture
def commit(tmp_path: Path) -> str:
    """Return the commit of a repository."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet")
    (folder / "code.py").write_text("print(1)\n")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "x")
    return git(folder, "rev-parse", "HEAD")


async def fetch(server: GitServer, commit: str, tmp_path: Path, *, seconds: float = 120) -> list[str]:
    target = tmp_path / "made"
    target.mkdir()
    source = Checkout(git=server.url(), commit=commit)
    await fetch_commit(source, target, bounds=Bounds(seconds=seconds))
    return sorted(path.name for path in target.iterdir())


def left(tmp_path: Path) -> list[Path]:
    """Return what a fetch that did not end well left."""
    return [*tmp_path.glob(".fetching-*"), *(tmp_path / "made").iterdir()]


async def test_a_commit_is_fetched_over_tls_from_a_server_whose_certificate_holds(
    authority: Authority, commit: str, tmp_path: Path
) -> None:
    async with serving_git(authority, tmp_path) as server:
        names = await fetch(server, commit, tmp_path)

    assert names == ["code.py"]
    assert {path.rpartition("/")[2] for path, _ in server.asked} == {"refs", "git-upload-pack"}


async def test_a_server_whose_certificate_nobody_vouches_for_is_asked_nothing(
    authority: Authority, commit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GIT_SSL_CAINFO")
    monkeypatch.setenv("GIT_SSL_NO_VERIFY", "1")  # not ours to obey
    async with serving_git(authority, tmp_path) as server:
        with pytest.raises(RunnerError, match="certificate"):
            await fetch(server, commit, tmp_path)

    assert server.asked == []
    assert left(tmp_path) == []


async def test_no_credential_is_sent_or_asked_for(
    authority: Authority, commit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person's netrc, helpers and askpass programs are theirs."""
    home = tmp_path / "home"
    home.mkdir()
    (home / ".netrc").write_text("machine localhost login me password secret\n")
    (home / ".git-credentials").write_text("https://me:secret@localhost\n")
    asked = f"touch {tmp_path}/asked; echo secret"
    (home / "ask").write_text(f"#!/bin/sh\n{asked}\n")
    (home / "ask").chmod(0o755)
    (home / ".gitconfig").write_text(
        f"[credential]\n\thelper = !{asked}\n[http]\n\textraHeader = X-Key: secret\n"
    )
    monkeypatch.setenv("HOME", str(home))
    for name in ("GIT_ASKPASS", "SSH_ASKPASS"):
        monkeypatch.setenv(name, str(home / "ask"))

    async def locked(_: web.Request) -> web.Response:
        return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})

    async with serving_git(authority, tmp_path, answer=locked) as server:
        with pytest.raises(RunnerError, match="cannot be fetched"):
            await fetch(server, commit, tmp_path)

    assert server.asked
    assert not [value for _, headers in server.asked for value in headers.values() if "secret" in value]
    assert not [headers for _, headers in server.asked if "Authorization" in headers]
    assert not (tmp_path / "asked").exists()


async def test_a_redirect_is_not_followed(authority: Authority, commit: str, tmp_path: Path) -> None:
    async with serving_git(authority, tmp_path) as other:

        async def away(request: web.Request) -> web.Response:
            return web.Response(status=302, headers={"Location": other.url(request.path_qs)})

        async with serving_git(authority, tmp_path, answer=away) as server:
            with pytest.raises(RunnerError, match="cannot be fetched"):
                await fetch(server, commit, tmp_path)

    assert len(server.asked) == 1
    assert other.asked == []


async def test_a_server_of_the_old_protocol_writes_no_object(
    authority: Authority, commit: str, tmp_path: Path
) -> None:
    """It gives objects as files, one by one, and may name other servers for them."""

    async def plain(request: web.Request) -> web.Response:
        if request.path.endswith("info/refs"):
            return web.Response(text=f"{commit}\trefs/heads/main\n")
        return web.Response(status=404)

    async with serving_git(authority, tmp_path, answer=plain) as server:
        with pytest.raises(RunnerError, match="cannot be fetched"):
            await fetch(server, commit, tmp_path)

    assert [path for path, _ in server.asked if "/objects/" in path] == []


async def test_a_server_that_says_nothing_is_given_up_and_leaves_nothing(
    authority: Authority, commit: str, tmp_path: Path
) -> None:
    async with serving_git(authority, tmp_path, answer=_silent) as server:
        with pytest.raises(InvalidInputError, match="git took longer than 10 s"):
            await fetch(server, commit, tmp_path, seconds=10)

    assert server.asked
    assert left(tmp_path) == []


async def test_a_fetch_that_is_interrupted_leaves_neither_a_folder_nor_a_process(
    authority: Authority, commit: str, tmp_path: Path
) -> None:
    async with serving_git(authority, tmp_path, answer=_silent) as server:
        fetching = asyncio.ensure_future(fetch(server, commit, tmp_path))
        await server.was_asked.wait()
        before = helpers(server)

        fetching.cancel()
        await asyncio.wait((fetching,))

        assert fetching.cancelled()
        assert before
        assert await left_of(server) == []
    assert left(tmp_path) == []


async def test_a_runner_that_is_killed_while_it_fetches_leaves_no_process_of_gits(
    authority: Authority, commit: str, tmp_path: Path
) -> None:
    """SIGKILL: git's helper speaks with the server, and is no child of the runner's."""
    (tmp_path / "made").mkdir()
    async with serving_git(authority, tmp_path, answer=_silent) as server:
        words = (sys.executable, "-c", RUNNER, server.url(), commit, str(tmp_path / "made"))
        runner = await asyncio.create_subprocess_exec(*words)
        await server.was_asked.wait()
        before = helpers(server, at_work=runner.pid)

        runner.kill()
        await runner.wait()

        assert before
        assert await left_of(server) == []


async def _silent(_: web.Request) -> web.Response:
    await asyncio.sleep(300)
    return web.Response()


def helpers(server: GitServer, *, at_work: int = 0) -> list[str]:
    """Return the processes that speak with a server, but for one of the test's own."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            told = place.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if f"localhost:{server.port}" in told and place.parent.name != str(at_work):
                found.append(told)
    return found


async def left_of(server: GitServer) -> list[str]:
    """Return the processes that do not end: a signal takes its time on a busy machine."""
    for _ in range(100):
        if not helpers(server):
            break
        await asyncio.sleep(0.1)
    return helpers(server)
