"""Hostile repositories in real containers: objects that swell, and hidden history however it is spelled."""

from __future__ import annotations

import hashlib
import zlib
from typing import TYPE_CHECKING

import pytest

from tests.cli_tools.packs import BLOB, BY_NAME, BY_OFFSET, Entry, doubling, name_of, same, write_pack
from tests.cli_tools.repositories import commit, new_repository, run_git
from tests.promises.conftest import Lab

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.engine
POLICY = """version: 1
name: x
grant: [files]
files: {access: read, hide: ["hidden*"]}
commands: {allow: ["files *", "git *"]}
"""
MIB = 1 << 20
SPELLED = ["hidden.txt", "./hidden.txt", ".//hidden.txt", "/workspace/hidden.txt", "hidden.txt/."]


@pytest.fixture
def lab(new_state: Callable[[], Path], tmp_path: Path) -> Lab:
    """Return a place to run sessions in."""
    return Lab(new_state=new_state, folder=tmp_path)


def placed(repository: Path, name: str, packed: bytes) -> None:
    path = repository / ".git" / "objects" / name[:2] / name[2:]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(packed)


def bomb(repository: Path, size: int) -> str:
    """Write a blob of zeros without holding it, and return its name."""
    head = f"blob {size}".encode() + b"\0"
    name, packer = hashlib.sha1(head, usedforsecurity=False), zlib.compressobj(9)
    packed = packer.compress(head)
    for _ in range(size // MIB):
        name.update(bytes(MIB))
        packed += packer.compress(bytes(MIB))
    placed(repository, name.hexdigest(), packed + packer.flush())
    return name.hexdigest()


def test_an_object_that_swells_costs_its_worker_alone_and_hidden_history_stays_hidden(lab: Lab) -> None:
    """A quarter of a megabyte on disk, 256 MiB as a blob: refused, and the session goes on."""
    folder = new_repository(lab.workspace())
    commit(folder, "first", a_txt="one\n", hidden_txt="canary of the past\n")
    blob = bomb(folder, 256 * MIB)
    run_git(folder, "update-index", "--add", "--cacheinfo", f"100644,{blob},bomb")
    run_git(folder, "commit", "-q", "-m", "evil")
    hidden = [f"git show HEAD~1 --file {path}" for path in SPELLED]
    hidden += [f"git blame {path}" for path in SPELLED]
    swelling = ["git show HEAD --file bomb", "git blame bomb", "git show HEAD", "git diff HEAD~1 HEAD"]
    twins = ["git show HEAD~1 --file ./a.txt", "git show HEAD~1"]

    ran = lab.run(POLICY, [*hidden, *swelling, *twins], workspace=folder)

    asked, swelled = ran.seen[: len(hidden)], ran.seen[len(hidden) :][: len(swelling)]
    whole, first = ran.seen[-3:-1]
    assert [seen.kind for seen in asked] == ["denied"] * len(hidden)
    assert [seen.kind for seen in swelled[:2]] == ["error", "error"]
    assert max(len(seen.text) for seen in swelled) < 4096
    assert whole.text == "one"
    assert "+one" in first.text
    assert "canary" not in "".join(seen.text for seen in ran.seen)


def harmful_packs(repository: Path) -> dict[str, str]:
    """Write packs; returns what a blob of each does -> its name."""
    base, doubled, chained = b"x" * 1024, 0xD000, 0xE00000
    entries = [Entry(BLOB, base, name_of(doubled))]
    entries += [Entry(BY_OFFSET, doubling(1024 << at), name_of(doubled + 1 + at)) for at in range(24)]
    write_pack(repository, entries)
    write_pack(
        repository,
        [Entry(BLOB, base, name_of(chained))]
        + [Entry(BY_OFFSET, same(1024), name_of(chained + at)) for at in range(1, 5_000)],
    )
    one, other = name_of(0xA), name_of(0xB)
    cycle = [(one, other), (other, one)]
    write_pack(repository, [Entry(BY_NAME, same(64), name, bytes.fromhex(of)) for name, of in cycle])
    own = name_of(0xC)
    write_pack(repository, [Entry(BY_NAME, same(4), own, bytes.fromhex(own))])
    return {"doubles": entries[-1].name, "chained": name_of(chained + 4_999), "cycle": one, "own": own}


def test_deltas_that_double_go_in_a_circle_or_never_end_cost_their_worker_alone(lab: Lab) -> None:
    """17 GB out of 10 KB, a base that is its own: an error each, in time, and history is read as before."""
    folder = new_repository(lab.workspace())
    commit(folder, "first", a_txt="one\n")
    harmful = harmful_packs(folder)
    for name, blob in harmful.items():
        run_git(folder, "update-index", "--add", "--info-only", "--cacheinfo", f"100644,{blob},{name}")
    tree = run_git(folder, "write-tree", "--missing-ok").strip()
    made = run_git(folder, "commit-tree", tree, "-p", "HEAD", "-m", "evil").strip()
    (folder / ".git" / "refs" / "heads" / "main").write_text(f"{made}\n")
    lines = [f"git show HEAD --file {name}" for name in harmful] + ["git show HEAD", "git diff HEAD~1 HEAD"]

    ran = lab.run(POLICY, [*lines, "git log --oneline", "git show HEAD --file a.txt"], workspace=folder)

    harmed, (log, whole) = ran.seen[: len(lines)], ran.seen[len(lines) :][:2]
    assert [seen.kind for seen in harmed] == ["error"] * len(lines)
    assert max(len(seen.text) for seen in harmed) < 4096
    assert [line.partition(" ")[2] for line in log.text.splitlines()] == ["evil", "first"]
    assert whole.text == "one"
