"""Let this user's other terminals speak with a running session: status, subscribe, approve, deny, stop.

A unix socket in a private folder, the same uid only (SO_PEERCRED), one JSON object a line, with a version. It
takes decisions of people and nothing else: no request here can start, widen or change a session.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
import struct
from typing import TYPE_CHECKING, Final, Literal

import orjson

from agent_runner.approvals import WAIT_SECONDS, Answer
from agent_runner.errors import InvalidInputError, MuteRunnerError, NoRunnerError, RunnerError
from agent_runner.feed import MOST_SUBSCRIBERS, VERSION, Feed
from agent_runner.person import who
from agent_runner.question import question_fields
from audit.state import ID_PATTERN
from sandbox.errors import SandboxError
from sandbox.runtime_folder import made_private, require_private, runtime_folder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from agent_runner.question import Question
    from audit.state import SessionFiles

LONGEST_LINE: Final = 64 * 1024
_FOLDER_NAME: Final = "pairlock"
_ANSWER_SECONDS: Final = 10.0
Said = dict[str, object]


def socket_path(session: str) -> Path:
    """Return where a session's runner listens, in a folder that is this user's alone.

    Raises:
        RunnerError: When the folder is somebody else's, or open to others.
    """
    folder = runtime_folder(_FOLDER_NAME, os.environ)
    try:
        made_private(folder)
    except SandboxError as error:
        raise RunnerError(
            f"the folder `{folder}` is not this user's alone", hint="remove it, or set `XDG_RUNTIME_DIR`"
        ) from error
    return folder / session


def dead_sockets() -> list[Path]:
    """Return the sockets in this user's folder at which nobody listens any more; none in somebody else's."""
    folder = runtime_folder(_FOLDER_NAME, os.environ)
    try:
        require_private(folder)
        found = sorted(folder.iterdir())
    except (SandboxError, OSError):
        return []
    return [path for path in found if _is_name(path.name) and _is_dead(path)]


def _is_name(name: str) -> bool:
    """Tell whether a name is a session's, or that of its socket before it listens."""
    return ID_PATTERN.fullmatch(f"0{name[1:]}" if name.startswith(".") else name) is not None


def _is_dead(path: Path) -> bool:
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.connect(str(path))
    except ConnectionRefusedError:
        return True
    except OSError:  # gone meanwhile, somebody else's, or too busy to answer
        return False
    return False


class Door:
    """Answer other terminals while a session runs, and put its questions to them.

    Args:
        session: The session's id.
        stop: Ends the session gracefully.
        files: The session's files, for those who subscribe.
        wait_seconds: How long a question stands.
        alone: Whether the process runs nothing else, so that it may be killed to end the session.
    """

    def __init__(
        self,
        session: str,
        *,
        stop: Callable[[], object],
        files: SessionFiles,
        wait_seconds: float = WAIT_SECONDS,
        alone: bool = False,
    ) -> None:
        self._session = session
        self._stop = stop
        self._wait_seconds = wait_seconds
        self._alone = alone
        self._feed = Feed(files)
        self._question: Question | None = None
        self._shown: orjson.Fragment | None = None
        self._answer: asyncio.Future[Answer] | None = None

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Listen for as long as the block lasts.

        Raises:
            RunnerError: When the folder of sockets is not this user's alone.
        """
        path = socket_path(self._session)
        server = await self._listening(path)
        try:
            yield
        finally:
            server.close()
            path.unlink(missing_ok=True)
            await self._feed.end()

    async def _listening(self, path: Path) -> asyncio.Server:
        """Listen under a name that is given once somebody does: who finds it is answered."""
        unready = path.with_name(f".{path.name[1:]}")  # as long as its own: an address has little room
        while True:
            unready.unlink(missing_ok=True)
            server = await asyncio.start_unix_server(self._serve, path=str(unready), limit=LONGEST_LINE)
            try:
                unready.chmod(0o600)
                unready.rename(path)
            except FileNotFoundError:  # `clean` took it, in the moment before it listened, for a dead one
                server.close()
            else:
                return server

    async def ask(self, question: Question) -> Answer:
        """Wait until another terminal answers; time out is no.

        INVARIANT: whoever was told that the answer counts was told so, though the time ended, or somebody
        elsewhere answered, in that moment.
        """
        self._question = question
        answer = self._answer = asyncio.get_running_loop().create_future()
        try:
            await asyncio.wait({answer}, timeout=self._wait_seconds)
        except asyncio.CancelledError:
            if not answer.done():
                raise
        finally:
            self._question = self._answer = self._shown = None
        return answer.result() if answer.done() else Answer(verdict="timed_out", by="nobody", via="clock")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if _peer(writer.get_extra_info("socket"))[1] == os.getuid():
                async with asyncio.timeout(_ANSWER_SECONDS):
                    said, first = self._replied(await reader.readline())
                    writer.write(orjson.dumps({"version": VERSION, **said}) + b"\n")
                    await writer.drain()
                if first is not None:
                    await self._feed.serve(first, reader, writer)
        except (OSError, ValueError, TimeoutError):
            pass  # whoever asked has gone, or said more than a line may hold
        finally:
            writer.close()

    def _replied(self, line: bytes) -> tuple[Said, int | None]:
        """Return the answer, and the first entry of the stream that follows it; None for no stream."""
        try:
            asked = orjson.loads(line)
        except orjson.JSONDecodeError:
            return _refused("expected one JSON object on a line"), None
        if not isinstance(asked, dict) or asked.get("version") != VERSION:
            return _refused(f"expected version {VERSION}"), None
        if asked.get("do") == "subscribe":
            return self._subscribed(asked.get("from", 0))
        return self._done(asked), None

    def _done(self, asked: dict[str, object]) -> Said:
        match asked.get("do"):
            case "status":
                return {"ok": True, "session": self._session, "question": self._asked()}
            case "approve" | "deny" as word:
                return self._decided(str(word), asked.get("action"), asked.get("digest"))
            case "stop":
                asyncio.get_running_loop().call_soon(self._stop)
                return {"ok": True, "alone": self._alone}
            case _:
                return _refused("expected `status`, `subscribe`, `approve`, `deny` or `stop`")

    def _subscribed(self, first: object) -> tuple[Said, int | None]:
        if type(first) is not int or first < 0:
            return _refused("expected `from` to be the number of an entry, from 0 on"), None
        if self._feed.is_full:
            return _refused(f"{MOST_SUBSCRIBERS} have subscribed, and no more are taken"), None
        return {"ok": True, "session": self._session}, first

    def _asked(self) -> orjson.Fragment | None:
        """Return the question as JSON, escaped once: who is attached asks several times a second."""
        if self._question is not None and self._shown is None:
            self._shown = orjson.Fragment(orjson.dumps(question_fields(self._question)))
        return self._shown

    def _decided(self, word: str, action: object, digest: object) -> Said:
        question, answer = self._question, self._answer
        if question is None or answer is None or answer.done():
            return _refused("nothing waits for an answer")
        if (action, digest) != (question.action, question.digest):
            return _refused(f"what waits is another action, `{question.action}`")
        verdict: Literal["approved", "denied"] = "approved" if word == "approve" else "denied"
        answer.set_result(Answer(verdict=verdict, by=who(), via="socket"))
        return {"ok": True}


def _refused(why: str) -> Said:
    return {"ok": False, "error": why}


def _peer(line: socket.socket) -> tuple[int, int]:
    """Return process id and uid of the other end (unix(7), SO_PEERCRED)."""
    raw = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, _ = struct.unpack("3i", raw)
    return pid, uid


@contextlib.contextmanager
def connected(session: str) -> Iterator[socket.socket]:
    """Yield a connection to a session's runner.

    Raises:
        NoRunnerError: When none listens.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(_ANSWER_SECONDS)
        try:
            line.connect(str(socket_path(session)))
        except OSError as error:
            raise NoRunnerError(session) from error
        yield line


@contextlib.contextmanager
def runner_of(session: str) -> Iterator[int]:
    """Yield a descriptor of the process that listens (pidfd_open(2)): it never comes to mean another one.

    Raises:
        NoRunnerError: When none listens.
        InvalidInputError: When another user's does.
    """
    with connected(session) as line:
        pid, uid = _peer(line)
        if uid != os.getuid():
            raise InvalidInputError(f"the runner of session `{session}` is another user's")
        runner = os.pidfd_open(pid)
    try:
        yield runner
    finally:
        os.close(runner)


def tell(session: str, **request: object) -> Said:
    """Say one thing to a running session and return its answer.

    Args:
        session: The whole id.
        request: `do`, and what belongs to it.

    Raises:
        NoRunnerError: When no runner listens.
        InvalidInputError: When it refuses.
        MuteRunnerError: When one listens and does not answer.
    """
    with connected(session) as line:
        try:
            line.sendall(orjson.dumps({"version": VERSION, **request}) + b"\n")
            answer = orjson.loads(line.makefile("rb").readline())
        except (OSError, orjson.JSONDecodeError) as error:
            raise MuteRunnerError(session) from error
    if not isinstance(answer, dict) or not answer.get("ok"):
        why = answer.get("error", "it refused") if isinstance(answer, dict) else "it refused"
        raise InvalidInputError(f"session `{session}`: {why}")
    return answer
