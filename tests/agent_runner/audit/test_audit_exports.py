"""What `audit export` writes, and where."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.audit.samples import SESSION

if TYPE_CHECKING:
    from pathlib import Path

    from tests.agent_runner.audit.recording import Run


@pytest.mark.parametrize("form", ["csv", "json", "markdown", "ocsf", "otlp"])
def test_each_view_goes_to_stdout_or_to_a_new_private_file(
    recorded: Path, run: Run, tmp_path: Path, form: str
) -> None:
    code, out, _ = run("export", SESSION, "--format", form)
    again, nothing, _ = run("export", SESSION, "--format", form, "-o", str(tmp_path / "x"))

    assert (code, again, nothing) == (0, 0, "")
    assert out == (tmp_path / "x").read_bytes().decode()
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o600
    assert run("export", SESSION, "--format", form, "-o", str(tmp_path / "x"))[0] == 2
    assert "\x1b" not in out
    if form == "csv":
        assert len(list(csv.reader(io.StringIO(out)))) > 5
    elif form != "markdown":
        assert all(json.loads(line) for line in out.splitlines())


def test_a_bundle_verifies_elsewhere(recorded: Path, run: Run, tmp_path: Path) -> None:
    code, _, err = run("export", SESSION, "-o", str(tmp_path / "b.tar.gz"))
    with tarfile.open(tmp_path / "b.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    script = [sys.executable, "-I", "-S", str(tmp_path / "bundle/verify.py")]
    verified = subprocess.run(script, check=False, capture_output=True, text=True)

    assert (code, verified.returncode) == (0, 0)
    assert "python3 -I bundle/verify.py" in err
    assert run("export", SESSION)[0] == 2
    assert run("export", SESSION, "-f", "csv", "--without-bodies")[0] == 2


def test_a_bundle_without_what_signs_it_is_refused_and_leaves_no_file(
    recorded: Path, run: Run, tmp_path: Path
) -> None:
    (recorded / "host.vkey").unlink()

    code, _, err = run("export", SESSION, "-o", str(tmp_path / "b.tar.gz"))

    assert (code, "there is no `host.vkey`" in err) == (6, True)
    assert not (tmp_path / "b.tar.gz").exists()


@pytest.mark.parametrize("form", ["bundle", "csv"])
@pytest.mark.parametrize("taken", ["folder", "fifo", "link", "file", "nowhere/session"])
def test_an_export_goes_into_a_new_file_or_nowhere(
    recorded: Path, run: Run, tmp_path: Path, form: str, taken: str
) -> None:
    """Not onto what is there, through no link, into no pipe that would wait for a reader."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "file").write_text("kept")

    code, out, err = run("export", SESSION, "--format", form, "--output", str(tmp_path / taken))
    fresh, _, _ = run("export", SESSION, "--format", form, "--output", str(tmp_path / "fresh"))

    why = "its folder is not there" if taken.startswith("nowhere") else "exists already"
    assert (code, out, len(err.splitlines())) == (2, "", 2)
    assert why in err
    assert (fresh, (tmp_path / "fresh").stat().st_mode & 0o777) == (0, 0o600)
    assert ((tmp_path / "file").read_text(), (tmp_path / "elsewhere").exists()) == ("kept", False)
    assert recorded.is_dir()
