"""Bring Dynamo up on loopback: a frontend with its router, workers of its simulated engine; end them."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import time
import urllib.request
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Final, Literal

from tests.agent_runner.backends.dynamo.installation import HERE, model, python

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODEL: Final = "acme/tiny"
"""With a slash, as models of a hub have one."""
WAIT_SECONDS: Final = 120.0
_PORTS: Final = range(20_000, 30_000)
"""Below those that Linux gives out by itself (`ip_local_port_range`)."""
_HOSTS: Final = ("HTTP", "TCP_RPC", "TCP_RESPONSE_STREAM", "EVENT_PLANE", "SYSTEM", "HTTP_RPC")
Part = Literal["aggregated", "prefill", "decode"]


@dataclass
class Deployment:
    """Dynamo, as far as it was started."""

    folder: Path
    port: int
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    logs: list[IO[bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Return what an operator would configure."""
        return f"http://127.0.0.1:{self.port}/v1"

    def start_frontend(self, *flags: str) -> None:
        """Start the frontend."""
        words = ["-m", "dynamo.frontend", "--http-host", "127.0.0.1", "--http-port", str(self.port)]
        words += ["--router-mode", "kv", "--router-session-affinity-ttl-secs", "300", *flags]
        self._start("frontend", *words)

    def start_worker(self, name: str, part: Part = "aggregated", *flags: str) -> None:
        """Start a worker."""
        folder = model()
        words = [
            str(HERE / "engine.py"),
            "--model-path",
            str(folder),
            "--model-name",
            MODEL,
            "--block-size",
            "16",
        ]
        words += [
            "--max-model-len",
            "32768",
            "--response-replay-trace-path",
            str(folder / "replies.jsonl"),
            *flags,
        ]
        if part != "aggregated":
            words += ["--disaggregation-mode", part]
        self._start(name, *words)

    def kill(self, name: str) -> None:
        """Kill one process, as a machine that is lost does."""
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def workers(self) -> dict[str, int]:
        """Return how many workers of each kind the frontend knows; empty when it says not ready."""
        told = self.get(f"/v1/models/{MODEL.replace('/', '%2F')}/ready")
        if not isinstance(told, dict) or told.get("ready") is not True:
            return {}
        kinds = [space["worker_types"] for space in told["namespaces"].values()]
        return {name: facts["workers"] for kind in kinds for name, facts in kind.items()}

    def until(self, **wanted: int) -> None:
        """Wait until exactly these workers are known."""
        deadline = time.monotonic() + WAIT_SECONDS
        while (found := self.workers()) != wanted:
            for name, process in self.processes.items():
                assert process.poll() is None, f"{name} ended: {self.said(name)}"
            assert time.monotonic() < deadline, (found, wanted)
            time.sleep(0.1)

    def at_work(self) -> float:
        """Return how many requests the frontend has in its hands, by its own metrics."""
        text = self.get("/metrics")
        assert isinstance(text, str)
        lines = [line for line in text.splitlines() if line.startswith("dynamo_frontend_inflight_requests{")]
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    def get(self, path: str) -> Any:
        """Return what the frontend says at a path: JSON, text, or None where it says nothing."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
                raw = answer.read()
        except OSError:
            return None
        return json.loads(raw) if raw[:1] == b"{" else raw.decode()

    def said(self, name: str) -> str:
        """Return the end of a process's log."""
        return (self.folder / f"{name}.log").read_text(errors="replace")[-3000:]

    def end(self) -> None:
        """End every process, by id, and wait for each."""
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(15)
            process.kill()
            process.wait()
        for log in self.logs:
            log.close()

    def _start(self, name: str, *words: str) -> None:
        log = (self.folder / f"{name}.log").open("wb")
        self.logs.append(log)
        self.processes[name] = subprocess.Popen(
            [
                "setpriv",
                "--pdeathsig",
                "KILL",
                python(),
                *words,
            ],  # they end with the tests, however those end
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )

    def _environment(self) -> dict[str, str]:
        """Return variables that keep all of it on loopback and in the folder."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            **{f"DYN_{name}_HOST": "127.0.0.1" for name in _HOSTS},
            "DYN_DISCOVERY_BACKEND": "file",
            "DYN_FILE_KV": str(self.folder / "discovery"),
            "DYN_REQUEST_PLANE": "tcp",
            "DYN_EVENT_PLANE": "zmq",
            "DYN_SELF_HOST_METADATA": "0",
            "DYN_SDK_DISABLE_ANSI_LOGGING": "1",
            "DYN_DISABLE_FRONTEND_ADMIN_API": "1",
            "HF_HUB_OFFLINE": "1",
            "TRANSFORMERS_OFFLINE": "1",
        }


def _free_port() -> int:
    """Return a port that is free, and given to nobody who asks for any: Dynamo binds it seconds later."""
    for port in random.SystemRandom().sample(_PORTS, 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no port of a hundred is free")


@contextmanager
def deployed(folder: Path) -> Iterator[Deployment]:
    """Give a deployment of which nothing runs yet, and end what was started."""
    deployment = Deployment(folder, _free_port())
    try:
        yield deployment
    finally:
        deployment.end()


@contextmanager
def aggregated(folder: Path, *flags: str, workers: int = 2) -> Iterator[Deployment]:
    """Give a deployment whose workers both prefill and decode."""
    with deployed(folder) as deployment:
        deployment.start_frontend(*flags)
        for number in range(workers):
            deployment.start_worker(f"worker{number}")
        deployment.until(aggregated=workers)
        yield deployment


@contextmanager
def disaggregated(folder: Path, *flags: str, bootstrap: bool = False) -> Iterator[Deployment]:
    """Give a deployment of which one worker prefills and another decodes.

    With `bootstrap` the second meets the first at a port, and is not told what that had cached.
    """
    with deployed(folder) as deployment:
        deployment.start_frontend(*flags)
        door = ["--bootstrap-ports", str(_free_port())] if bootstrap else []
        deployment.start_worker("prefill", "prefill", *door)
        deployment.start_worker("decode", "decode")
        deployment.until(prefill=1, decode=1)
        yield deployment
