"""Second copies of results: written where a person asked, and not where a committed link leads."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent_runner.cli.ci_copies import require_own_folder, require_writable, write_copy
from agent_runner.errors import InvalidInputError
from tests.agent_runner.ci.task_stand import pairlock


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go into a checked-out tree, and return a file that lies beside it."""
    for name in ("GITHUB_WORKSPACE", "CI_PROJECT_DIR"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "tree").mkdir()
    monkeypatch.chdir(tmp_path / "tree")
    file = tmp_path / "outside/.bashrc"
    file.parent.mkdir()
    file.write_text("mine\n")
    return file


@pytest.mark.parametrize("absolute", [True, False], ids=["absolute", "relative"])
def test_a_committed_link_in_the_place_of_a_copy_is_not_followed(outside: Path, absolute: object) -> None:
    """To a file that is there, and to one that would be made."""
    for name, target in (("junit.xml", outside), ("new.xml", outside.with_name("new"))):
        named = Path.cwd() / name if absolute else Path(name)
        named.symlink_to(target)

        for refused in (require_writable, lambda path: write_copy(path, "evil")):
            with pytest.raises(InvalidInputError, match="is a symlink"):
                refused(named)

    assert outside.read_text() == "mine\n"
    assert not outside.with_name("new").exists()


@pytest.mark.parametrize("named", ["linked/.bashrc", "deep/linked/.bashrc", "linked/../outside/.bashrc"])
def test_a_committed_link_on_the_way_to_a_copy_is_not_followed(outside: Path, named: str) -> None:
    Path("deep").mkdir()
    Path("linked").symlink_to(outside.parent)
    Path("deep/linked").symlink_to(outside.parent)

    with pytest.raises(InvalidInputError, match="linked` is a symlink"):
        write_copy(Path(named), "evil")

    assert outside.read_text() == "mine\n"


def test_a_copy_is_written_beside_the_tree_over_an_old_one_and_through_a_persons_own_link(
    outside: Path, tmp_path: Path
) -> None:
    """The positive twin: a link that leads to a folder and lies outside of the tree is a person's."""
    (tmp_path / "mine").symlink_to(outside.parent)
    Path("old.xml").write_text("a longer text than the new one")

    for path in (Path("old.xml"), Path("../outside/new.xml"), tmp_path / "mine/.bashrc"):
        require_writable(path)
        write_copy(path, "told \udcff")

        assert path.read_bytes() == b"told \\udcff"


def test_a_device_may_be_a_link(outside: Path) -> None:
    """`/dev/fd/N` and `/dev/stdout` are links wherever they are."""
    reading, writing = os.pipe()
    try:
        write_copy(Path(f"/dev/fd/{writing}"), "told")

        assert os.read(reading, 100) == b"told"
    finally:
        os.close(reading)
        os.close(writing)
    assert outside.exists()


def test_the_page_of_a_comparison_and_the_copies_of_a_run_go_that_way(
    outside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = (
        '{"version": 1, "tasks": [{"task": "t", "variant": "", "verdict": "passed", "exit_code": 0,'
        ' "seconds": 1.0, "turns": 1, "tokens": 1, "cost_micros": 0}]}'
    )
    Path("results.json").write_text(told)
    Path("link").symlink_to(outside)
    calls: list[list[object]] = [["compare", ".", ".", "--html", "link"]]
    calls += [["run", ".", option, "link"] for option in ("--junit", "--sarif", "--summary")]

    for words in calls:
        result = pairlock(*words)

        assert result.exit_code == 2
        assert "`link` cannot be written: `link` is a symlink" in capsys.readouterr().err
    assert outside.read_text() == "mine\n"
    assert pairlock("compare", ".", ".", "--html", "page.html").exit_code == 0
    assert "<html" in Path("page.html").read_text()


@pytest.mark.parametrize("named", ["linked", "linked/new", "deep/linked"])
@pytest.mark.parametrize("option", ["--output", "--record"])
def test_a_committed_link_in_the_place_of_a_folder_is_not_followed(
    outside: Path, capsys: pytest.CaptureFixture[str], option: str, named: str
) -> None:
    """Results and recordings are not written where a repository's branch points."""
    Path("deep").mkdir()
    empty = outside.with_name("empty")
    empty.mkdir()
    Path("linked").symlink_to(empty)
    Path("deep/linked").symlink_to(empty)

    refused = pairlock("run", "tasks", option, named)

    assert refused.exit_code == 2
    assert f"folder `{named}` cannot be used: `" in capsys.readouterr().err
    assert not any(empty.iterdir())


def test_a_link_of_the_repository_around_the_current_folder_is_not_followed(
    outside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From `tree/sub`, `../results` is the branch's as much as `results`."""
    Path("results").symlink_to(outside.parent)
    Path("sub").mkdir()
    monkeypatch.chdir("sub")
    require_own_folder(Path("../results"))  # a person's own, as far as anybody knows

    (tmp_path / "tree/.git").mkdir()

    for refused in (require_own_folder, lambda path: write_copy(path / "junit.xml", "evil")):
        with pytest.raises(InvalidInputError, match="results` is a symlink"):
            refused(Path("../results"))
    assert not (outside.parent / "junit.xml").exists()


def test_a_persons_own_link_outside_of_the_tree_leads_to_a_folder(outside: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").symlink_to(outside.parent)
    Path("results").mkdir()

    for path in (tmp_path / "mine", tmp_path / "mine/new", Path("results"), Path("results/new")):
        require_own_folder(path)
