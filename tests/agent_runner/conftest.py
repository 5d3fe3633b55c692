"""Give each test a stand of its own, in a folder that the guest's user can reach."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.agent_runner.reachable import reachable
from tests.agent_runner.stand import Stand
from tests.sandbox.guest.launch import reachable_folder

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def stand() -> Iterator[Stand]:
    """Return the stand."""
    with reachable_folder() as folder:
        (folder / "workspace").mkdir()
        yield Stand(folder)


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return a folder of the test's own, in which runners have their sockets."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def asking(stand: Stand, runtime: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Return the runner of a session that asks whether two files may be removed."""
    for name in ("a", "b c"):
        (stand.folder / name).write_text(name)
    with reachable(stand, "asks", runtime) as process:
        yield process
