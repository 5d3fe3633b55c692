"""The starter image, in real containers: its programs, its modes, and what it does not tell."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.sandbox.runtime_setting import RUNTIMES, Setting, run

if TYPE_CHECKING:
    import docker

pytestmark = pytest.mark.engine


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_starter_runs_pytest_and_the_everyday_programs_as_an_ordinary_user(
    setting: Setting, docker_client: docker.DockerClient, runtime: str
) -> None:
    script = """
        set -e
        cd /tmp
        id -u
        printf 'def test_sum():\\n    assert 1 + 1 == 2\\n' > test_sum.py
        python3 -m pytest -q -p no:cacheprovider test_sum.py | tail -n 1 | grep -c '1 passed'
        pytest -q -p no:cacheprovider test_sum.py > /dev/null
        printf 'a b\\n' | awk '{print $2}' | sed s/b/c/
        find . -name 'test_*.py' | xargs grep -l assert
        printf x | gzip | gunzip
        echo
        ls | sort
    """

    code, out, err = run(docker_client, setting.starter, ["/bin/sh", "-c", script], runtime=runtime)

    assert (code, err) == (0, "")
    assert out.split() == ["65532", "1", "c", "./test_sum.py", "x", "test_sum.py"]


def test_a_failing_test_in_the_starter_fails(setting: Setting, docker_client: docker.DockerClient) -> None:
    script = (
        "cd /tmp && printf 'def test_sum():\\n    assert 1 + 1 == 3\\n' > test_a.py && pytest -q test_a.py"
    )

    code, out, _ = run(docker_client, setting.starter, ["/bin/sh", "-c", script])

    assert code == 1
    assert "assert (1 + 1) == 3" in out


@pytest.mark.skipif(shutil.which("git", path="/usr/bin") is None, reason="the machine has no git to copy")
def test_git_in_the_starter_works_on_a_folder_of_another_user(
    setting: Setting, docker_client: docker.DockerClient
) -> None:
    script = (
        "cd /tmp && git init -q && echo x > x && git add x && "
        "git -c user.name=a -c user.email=a@example.com commit -q -m x && git log --oneline | wc -l"
    )

    code, out, err = run(docker_client, setting.starter, ["/bin/sh", "-c", script])

    assert (code, out.strip(), err) == (0, "1", "")


def test_nothing_in_the_starter_is_setuid_or_writable_by_others(
    setting: Setting, docker_client: docker.DockerClient
) -> None:
    script = (
        "find / -xdev \\( -perm /6000 -o -perm -0002 ! -type l \\) ! -type c ! -path /tmp ! -path /var/tmp"
    )

    code, out, err = run(docker_client, setting.starter, ["/bin/sh", "-c", script])

    assert (code, out.split(), err) == (0, [], "")


def test_the_starter_does_not_say_where_this_checkout_lies(
    setting: Setting, docker_client: docker.DockerClient
) -> None:
    root = Path(__file__).parents[2]
    needles = ["-e", f"{sys.prefix}/", "-e", f"{root}/sandbox/"]

    code, out, _ = run(docker_client, setting.starter, ["/usr/bin/grep", "-rlF", *needles, "/usr", "/etc"])

    assert (code, out) == (1, "")
