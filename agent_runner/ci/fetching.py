"""Fetch a commit of a repository, and write its files as they are in it. What is fetched is untrusted.

No hook, filter or submodule of it does anything; what it holds is counted before a file of it is written.
"""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent_runner.ci.git import Git, Protocol
from agent_runner.errors import InvalidInputError
from audit.escape import escape_line

if TYPE_CHECKING:
    from agent_runner.ci.task import Checkout

_CHUNK_BYTES: Final = 256 * 1024
_SHA256_DIGITS: Final = 64
_LONGEST_ENTRY: Final = 64 * 1024
_PLAIN: Final = "* -text !eol -ident !filter !working-tree-encoding\n"
"""Over every `.gitattributes` of the commit: its files are written byte for byte (gitattributes(5))."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much a fetch may take."""

    seconds: float = 600
    """For all of it."""
    pack_bytes: int = 2 * 1024**3
    """Of what is fetched, as it is packed; and of each file that git writes."""
    tree_bytes: int = 4 * 1024**3
    """Of all files of the commit together."""
    entries: int = 250_000
    """Files, links and folders of the commit."""


BOUNDS: Final = Bounds()


async def fetch_commit(
    source: Checkout, target: Path, *, protocol: Protocol = "https", bounds: Bounds = BOUNDS
) -> None:
    """Write the files of a commit into an empty folder, without the repository around them.

    Args:
        source: Which.
        target: The folder.
        protocol: The one that may be spoken; `file` is for tests.
        bounds: How much it may take.

    Raises:
        InvalidInputError: When it is another commit than was asked for, holds too much, or takes too long.
        RunnerError: When it cannot be fetched.
    """
    try:
        async with asyncio.timeout(bounds.seconds):
            with tempfile.TemporaryDirectory(prefix=".fetching-", dir=target.parent) as around:
                git = Git(
                    folder=around,
                    protocol=protocol,
                    largest_bytes=bounds.pack_bytes,
                    seconds=bounds.seconds,
                )
                await _fetch(source, target, git, bounds)
    except TimeoutError as error:
        raise InvalidInputError(f"git took longer than {bounds.seconds:g} s to fetch a commit") from error


async def _fetch(source: Checkout, target: Path, git: Git, bounds: Bounds) -> None:
    repository = Path(git.folder, "repository")
    at = ("--git-dir", str(repository))
    digest = "sha256" if len(source.commit) == _SHA256_DIGITS else "sha1"
    await git.say(
        "init", "--quiet", "--bare", "--template=", f"--object-format={digest}", str(repository)
    )  # fmt: skip
    await git.say(
        *at, "fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules",
        "--no-auto-maintenance", "--", source.git, f"+{source.commit}:refs/heads/wanted",
    )  # fmt: skip
    found = await git.say(*at, "rev-parse", "--verify", "refs/heads/wanted^{commit}")
    if found != source.commit:
        raise InvalidInputError(
            f"`{source.git}` gave commit `{escape_line(found, width=64)}`, expected `{source.commit}`"
        )
    listing = (*at, "ls-tree", "-r", "-t", "-l", "-z", found)
    await git.read(listing, lambda told: _require_bounded(told, bounds))
    (repository / "info").mkdir(exist_ok=True)
    (repository / "info/attributes").write_text(_PLAIN, "ascii")
    await git.say(*at, "--work-tree", str(target), "checkout", "--quiet", "--force", found, "--", ".")


async def _require_bounded(told: asyncio.StreamReader, bounds: Bounds) -> None:
    """Read what a commit holds, an entry after the other, no further than it may go."""
    entries = size = 0
    rest = b""
    while chunk := await told.read(_CHUNK_BYTES):
        *whole, rest = (rest + chunk).split(b"\0")
        entries += len(whole)
        size += sum(map(_size, whole))
        if entries > bounds.entries:
            raise InvalidInputError(f"the commit holds more than {bounds.entries} files and folders")
        if size > bounds.tree_bytes:
            raise InvalidInputError(f"the files of the commit have more than {bounds.tree_bytes} bytes")
        if len(rest) > _LONGEST_ENTRY:
            raise InvalidInputError("the commit holds a name that is longer than any file's")


def _size(entry: bytes) -> int:
    """Return the bytes of an entry: `mode type hash size<TAB>path`; a folder and a submodule have none."""
    size = entry.partition(b"\t")[0].rpartition(b" ")[2]
    return int(size) if size.isdigit() else 0
