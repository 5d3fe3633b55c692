"""Test which mounts that nobody asked for are the runtime's own, and which are differences. Pure."""

from __future__ import annotations

import pytest

from policies.grant import Grant
from sandbox.mounts import Mounted, judged, parse
from tests.sandbox.specs import spec_for

SPEC = spec_for(Grant.NONE)


def found(*lines: str) -> str:
    """Return what is said of other mounts when a process has these."""
    (piece,) = [piece for piece in judged(SPEC, parse(lines), source="host") if piece.check == "other mounts"]
    assert piece.holds == (piece.observed == "none but those")
    return piece.observed


@pytest.mark.parametrize(
    "line",
    [
        "1 2 0:5 /null /dev/null rw,relatime - devtmpfs devtmpfs rw",
        "1 2 0:5 /urandom /dev/urandom rw,relatime - tmpfs udev rw",
        "1 2 0:5 /null /proc/kcore rw,relatime - devtmpfs devtmpfs rw",
        "1 2 0:5 /null /proc/cmdline rw,nosuid - tmpfs tmpfs rw",
        "1 2 0:5 / /sys/firmware ro,relatime - tmpfs tmpfs ro",
        "1 2 0:5 /sys /proc/sys ro,nosuid - proc proc rw",
        "1 2 0:5 / /sys/fs/cgroup/memory rw,nosuid - cgroup cgroup rw,memory",
        "1 2 8:1 /var/lib/docker/containers/x/hosts /etc/hosts ro,relatime - ext4 /dev/vda rw",
    ],
)
def test_what_a_runtime_mounts_of_its_own_is_lawful(line: str) -> None:
    assert found(line) == "none but those"


@pytest.mark.parametrize(
    "line",
    [
        "1 2 0:5 /vda /dev/null rw,relatime - devtmpfs devtmpfs rw",
        "1 2 0:5 /kmsg /dev/kmsg rw,relatime - devtmpfs devtmpfs rw",
        "1 2 0:5 /mem /proc/kcore rw,relatime - devtmpfs devtmpfs rw",
        "1 2 8:1 /null /dev/null rw,relatime - ext4 /dev/vda rw",
        "1 2 0:5 /proc/kcore /proc/kcore rw,relatime - proc proc rw",
        "1 2 8:1 / /sys/fs/cgroup rw,relatime - ext4 /dev/vda rw",
        "1 2 8:1 / /sys/fs/cgroup/memory rw,relatime - ext4 /dev/vda rw",
        "1 2 8:1 /etc/shadow /etc/hosts rw,relatime - ext4 /dev/vda rw",
        "1 2 8:1 /run/docker.sock /run/docker.sock rw,relatime - tmpfs tmpfs rw",
        "1 2 8:1 / /host ro,relatime - ext4 /dev/vda rw",
    ],
)
def test_anything_else_is_a_difference(line: str) -> None:
    """A mount that bears a device's or a masked path's name is not yet that device."""
    assert found(line) != "none but those"


def test_a_line_is_read_with_its_escapes() -> None:
    """A space is written by its octal number (proc(5)); optional fields may be any number."""
    (mount,) = parse([r"1 2 0:5 /a\040b /c\040d rw,noexec shared:1 master:2 - tmpfs tmpfs ro,size=4k"])

    assert mount == Mounted(
        target="/c d",
        options=frozenset({"rw", "noexec"}),
        kind="tmpfs",
        superblock={"ro": "", "size": "4k"},
        root="/a b",
    )
    assert mount.read_only
