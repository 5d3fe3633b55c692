"""A build is given the files that name dependencies, and nothing else of a project's folder."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from agent_runner.errors import InvalidInputError
from agent_runner.images.manifests import MOST_BYTES, MOST_TOLD, digest_of, find_manifests

if TYPE_CHECKING:
    from pathlib import Path


def write(folder: Path, **files: str) -> Path:
    """Write files, `__` in a name is a dot, `_in_` a slash."""
    for name, text in files.items():
        path = folder / name.replace("_in_", "/").replace("__", ".").replace("_d_", "-")
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text)
    return folder


def found(folder: Path) -> dict[str, str]:
    """Return kind and content of each manifest by its name."""
    return {m.name: f"{m.kind}: {m.content.decode()}" for m in find_manifests(folder)}


def test_requirements_and_what_they_include_are_found(tmp_path: Path) -> None:
    """In the project's own folder, by relative paths."""
    write(
        tmp_path,
        requirements__txt="-r more/base.txt\n-c limits.txt\niniconfig==2.0.0\n",
        more_in_base__txt="--requirement deep.txt\n",
        more_in_deep__txt="x==1\n",
        limits__txt="x<2\n",
        private__txt="mine\n",
    )

    assert found(tmp_path) == {
        "requirements.txt": "pip: -r more/base.txt\n-c limits.txt\niniconfig==2.0.0\n",
        "more/base.txt": "pip: --requirement deep.txt\n",
        "limits.txt": "pip: x<2\n",
        "more/deep.txt": "pip: x==1\n",
    }


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("--index-url https://me:word@evil.example/simple", "--index-url"),
        ("-i https://evil.example/simple", "-i"),
        ("--extra-index-url=https://evil.example/", "--extra-index-url"),
        ("--find-links ./wheels", "--find-links"),
        ("-f wheels", "-f"),
        ("--trusted-host evil.example", "--trusted-host"),
        *(
            (line, "a folder, a file or an address")
            for line in (
                "-e .",
                "--editable ../other",
                "./package",
                "../other",
                "/etc",
                "git+https://me:word@evil.example/x.git",
                "name @ https://evil.example/x.whl",
                "name@https://evil.example/x.whl",
                "file:///etc/passwd",
                "https://evil.example/x.whl",
            )
        ),
    ],
)
def test_a_line_that_names_a_place_is_left_out_and_told(tmp_path: Path, line: str, told: str) -> None:
    """By its number and its kind, without the password that it may hold; where packages come from is ours."""
    write(tmp_path, requirements__txt=f"a==1 \\\n  --x\n{line}\nb==2  # via https://harmless.example\n")

    manifest = find_manifests(tmp_path)[0]

    assert manifest.content == b"a==1    --x\nb==2\n"
    assert manifest.left_out == (f"line 3: {told}",)


def test_of_many_lines_left_out_the_number_is_told(tmp_path: Path) -> None:
    """A hostile file must not scroll the question away."""
    write(tmp_path, requirements__txt="-e .\n" * 100)

    told = find_manifests(tmp_path)[0].left_out

    assert (len(told), told[-1]) == (MOST_TOLD + 1, "and 80 more lines")


def test_hashes_over_several_lines_stay_with_their_package(tmp_path: Path) -> None:
    """As pip-compile writes them."""
    write(tmp_path, requirements__txt="a==1 \\\n    --hash=sha256:00 \\\n    --hash=sha256:11\n    # via b\n")

    assert find_manifests(tmp_path)[0].content.split() == b"a==1 --hash=sha256:00 --hash=sha256:11".split()


@pytest.mark.parametrize("path", ["../outside.txt", "/etc/passwd", "a/../../outside.txt"])
def test_an_include_that_leaves_the_project_is_refused(tmp_path: Path, path: str) -> None:
    """A requirements file must not name what is sent."""
    project = tmp_path / "project"
    project.mkdir()
    (tmp_path / "outside.txt").write_text("secret==1\n")
    write(project, requirements__txt=f"-r {path}\n")

    with pytest.raises(InvalidInputError, match="outside of the project"):
        find_manifests(project)


@pytest.mark.parametrize(
    "path",
    [
        ".env",
        ".git/config",
        ".hidden/dev.txt",
        "more/../.env",
        ".",
        "more",
        "Dockerfile",
        "id_rsa",
        "settings.ini",
        "credentials/dev.txt",
        "a\0b.txt",
        "https://me:word@evil.example/dev.txt",
    ],
)
def test_an_include_of_anything_but_a_requirements_file_is_refused(tmp_path: Path, path: str) -> None:
    """Else a cloned repository would choose which files are sent; its text is not repeated."""
    for name in (".env", ".git/config", ".hidden/dev.txt", "more/x", "Dockerfile", "id_rsa", "settings.ini"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("SECRET=word\n")
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "dev.txt").write_text("SECRET=word\n")
    write(tmp_path, requirements__txt=f"a==1\n-r {path}\n")

    with pytest.raises(InvalidInputError) as caught:
        find_manifests(tmp_path)

    assert caught.value.message == (
        "line 2 of `requirements.txt` includes what is not called as a requirements file is"
    )


def test_includes_without_end_are_refused(tmp_path: Path) -> None:
    """At once, and one file named many times is one file."""
    write(tmp_path, base__txt="", requirements__txt="-r base.txt\n" * 50_000)
    assert list(found(tmp_path)) == ["requirements.txt", "base.txt"]
    write(tmp_path, requirements__txt="".join(f"-r {number}.txt\n" for number in range(50_000)))

    with pytest.raises(InvalidInputError, match="includes more than 32 files"):
        find_manifests(tmp_path)


@pytest.mark.parametrize("linked", ["file", "folder"])
def test_a_link_to_something_else_is_not_followed(tmp_path: Path, linked: str) -> None:
    """A cloned repository could point anywhere on this machine."""
    project = tmp_path / "project"
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "dev.txt").write_text("secret==1\n")
    project.mkdir()
    if linked == "file":
        (project / "requirements.txt").symlink_to(tmp_path / "home" / "dev.txt")
    else:
        (project / "requirements").symlink_to(tmp_path / "home")

    with pytest.raises(InvalidInputError, match="cannot be read"):
        find_manifests(project)


@pytest.mark.parametrize("kind", ["pipe", "folder", "large", "binary"])
def test_what_is_no_ordinary_small_text_is_refused(tmp_path: Path, kind: str) -> None:
    """And nobody waits for it."""
    path = tmp_path / "package-lock.json" if kind != "binary" else tmp_path / "requirements.txt"
    (tmp_path / "package.json").write_text("{}")
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "large":
            with path.open("wb") as file:
                file.truncate(MOST_BYTES + 1)
        case _:
            path.write_bytes(b"\xff\xfe")

    with pytest.raises(InvalidInputError):
        find_manifests(tmp_path)


def test_every_kind_of_lock_file_is_found_with_its_companion(tmp_path: Path) -> None:
    """And nothing beside them."""
    write(
        tmp_path,
        package__json="{}",
        package_d_lock__json="{}",
        go__mod="module x\n",
        go__sum="",
        Cargo__toml="[package]\n",
        Cargo__lock="",
        main__go="package main\n",
    )

    assert sorted(found(tmp_path)) == [
        "Cargo.lock", "Cargo.toml", "go.mod", "go.sum", "package-lock.json", "package.json",
    ]  # fmt: skip


def test_a_lock_without_its_companion_is_refused(tmp_path: Path) -> None:
    """Either alone installs nothing that is known."""
    write(tmp_path, package_d_lock__json="{}")

    with pytest.raises(InvalidInputError, match=r"`package-lock\.json` is there without `package\.json`"):
        find_manifests(tmp_path)


def test_a_folder_without_a_manifest_is_refused_with_what_was_expected(tmp_path: Path) -> None:
    """A package.json alone holds no version."""
    write(tmp_path, package__json="{}")

    with pytest.raises(InvalidInputError) as caught:
        find_manifests(tmp_path)

    assert "requirements.txt, uv.lock, package-lock.json, go.sum or Cargo.lock" in caught.value.hint


def test_the_digest_is_of_names_and_contents(tmp_path: Path) -> None:
    """So that `image list` can say what is outdated."""
    first = digest_of(find_manifests(write(tmp_path, requirements__txt="a==1\n")))
    again = digest_of(find_manifests(tmp_path))
    other = digest_of(find_manifests(write(tmp_path, requirements__txt="a==2\n")))
    more = digest_of(find_manifests(write(tmp_path, requirements_d_dev__txt="b==1\n")))

    assert first == again
    assert len({first, other, more}) == 3
