"""User namespaces: an engine that remaps users is taken as it is, and its root is nobody outside."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

import pytest

from tests.promises.conftest import Lab
from tests.promises.second_engine import SecondEngine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.engine,
    pytest.mark.long,
    pytest.mark.skipif(os.geteuid() != 0, reason="a second engine needs root"),
]
FIRST = 300_000
"""Where the users of containers begin on the host."""
REMAPPED = (
    "mount --bind {names} /etc/subuid && mount --bind {names} /etc/subgid && "
    'exec dockerd --userns-remap=nobody:nogroup "$@"'
)
POLICY = """
version: 1
name: remapped
grant: [files, exec]
exec: {programs: any}
commands: {allow: [run, "files *"]}
"""


@pytest.fixture
def remapping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SecondEngine]:
    """Start an engine that remaps users, and have this process ask it."""
    names = tmp_path / "names"
    names.write_text(f"nobody:{FIRST}:65536\nnogroup:{FIRST}:65536\n")
    script = REMAPPED.format(names=shlex.quote(str(names)))
    engine = SecondEngine(prefix=("unshare", "-m", "--propagation=slave", "sh", "-c", script))
    engine.folder.chmod(0o711)  # remapped users pass through
    with engine:
        monkeypatch.setenv("DOCKER_HOST", engine.host)
        yield engine


def test_a_session_on_an_engine_that_remaps_users_is_whole(remapping: SecondEngine, tmp_path: Path) -> None:
    """The container's user is another one on the host, attested by the host itself; files go both ways."""
    made = 0

    def new_state() -> Path:
        nonlocal made
        made += 1
        state = tmp_path / f"state-{made}"
        state.mkdir(mode=0o700)
        return state

    lab = Lab(new_state=new_state, folder=tmp_path)
    workspace = lab.workspace(note="from the host")

    ran = lab.run(
        POLICY,
        ["run cat note", "run sh -c 'echo inside > made; id -u; cat /proc/self/uid_map'", "files read made"],
        workspace=workspace,
    )

    assert ran.result.status == "done", ran.result.error
    assert "from the host" in ran.seen[0].text
    assert str(FIRST) in ran.seen[1].text
    assert "inside" in ran.seen[2].text
    evidence = {piece["check"]: piece["observed"] for piece in ran.entries("sandbox.attested")[0]["evidence"]}
    assert evidence["ids"].split()[0] == str(FIRST + 65532)
    assert "userns" in remapping.docker("info", "--format", "{{.SecurityOptions}}")
