"""Time SWE-ReX's bare execute of `true`, for `benchmarks.round_trip --swe-rex PYTHON`, which starts this.

It runs under a Python that has `swe-rex` and nothing of ours, and prints one JSON list of milliseconds for
each line on its standard input. The server listens on loopback, outside of any container: no published
port lies on the way, which is the best that it can do.
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import time

ROUNDS = 40
START_SECONDS = 60
TOKEN = "benchmark"  # noqa: S105 - a server of this run's own, on loopback


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return int(door.getsockname()[1])


async def turns(port: int) -> None:
    """Time a turn for each line that comes."""
    from swerex.runtime.abstract import Command  # type: ignore[import-not-found]  # noqa: PLC0415 - not ours
    from swerex.runtime.remote import RemoteRuntime  # type: ignore[import-not-found]  # noqa: PLC0415 - not ours

    runtime = RemoteRuntime(host="http://127.0.0.1", port=port, auth_token=TOKEN)
    await runtime.wait_until_alive(timeout=START_SECONDS)
    for _ in sys.stdin:
        samples = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            await runtime.execute(Command(command=["true"]))
            samples.append((time.perf_counter() - start) * 1000)
        print(json.dumps(samples), flush=True)
    await runtime.close()


def main() -> None:
    """Serve until the last turn is over."""
    port = free_port()
    serve = ["swerex.server", "--host", "127.0.0.1", "--port", str(port), "--auth-token", TOKEN]
    quiet = subprocess.DEVNULL
    with subprocess.Popen([sys.executable, "-m", *serve], stdout=quiet, stderr=quiet) as server:
        try:
            asyncio.run(turns(port))
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
