"""A runner that writes until it is killed: it says on stdout what was acknowledged, and nothing else."""

import asyncio
import os
import sys
from pathlib import Path

from audit.errors import AuditError
from audit.host import HostLog
from audit.host_event import PolicyTrusted
from audit.journal import Journal, Registration
from tests.audit.samples import Samples


async def write_session(state: Path, session_id: str, *, again: bool) -> None:
    """Record from four tasks, saying each acknowledged place and leaf."""
    settings = {"segment_bytes": 30_000}
    journal = (
        Journal.reopen(state, session_id, **settings)
        if again
        else Journal.create(state, session_id, registration=Registration(grant="files"), **settings)
    )
    async with journal:
        samples = Samples()

        async def write(task: int) -> None:
            for number in range(10_000):
                text = f"body {number}" * (2000 if number % 50 == 0 else 1)
                body = journal.commit(text) if number % 7 == 0 else None
                receipt = await journal.record(samples.finished(task * 10_000 + number, body))
                os.write(1, f"{receipt.seq} {receipt.leaf.hex()}\n".encode())

        os.write(1, b"ready\n")
        await asyncio.gather(*(write(task) for task in range(4)))


def append_to_host(state: Path, name: str, count: int) -> None:
    """Append to the host's log, saying each acknowledged leaf."""
    with HostLog(state) as host:
        os.write(1, b"ready\n")
        for number in range(count):
            receipt = host.append(PolicyTrusted(origin=f"{name}/{number}", digest="0" * 64, by="a test"))
            os.write(1, f"{receipt.seq} {receipt.leaf.hex()}\n".encode())


if __name__ == "__main__":
    what, folder, *rest = sys.argv[1:]
    try:
        if what == "host":
            append_to_host(Path(folder), rest[0], int(rest[1]))
        else:
            asyncio.run(write_session(Path(folder), rest[0], again=what == "again"))
    except AuditError as failure:
        sys.stderr.write(f"{type(failure).__name__}: {failure}\n")
        sys.exit(6)
