"""See that a state folder lies on a local disk."""

import os
from pathlib import Path

from audit.errors import StateFolderError

_NETWORK_FILESYSTEMS = frozenset(
    {
        "9p",
        "afs",
        "ceph",
        "cifs",
        "fuse.glusterfs",
        "fuse.sshfs",
        "glusterfs",
        "lustre",
        "nfs",
        "nfs4",
        "smb3",
    }
)


def check_filesystem(state: Path, *, mounts: Path = Path("/proc/self/mountinfo")) -> None:
    """Check that the state is not on a network filesystem, where locks and syncs may not mean what they say.

    Args:
        state: The state folder.
        mounts: The kernel's table of mounts (man 5 proc); where there is none, nothing is checked.

    Raises:
        StateFolderError: When it is.
    """
    try:
        lines = mounts.read_text("utf-8", "replace").splitlines()
    except OSError:
        return
    device = state.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in lines:
        fields, _, rest = line.partition(" - ")
        kind = rest.split(" ")[0]
        if fields.split(" ")[2:3] == [wanted] and kind in _NETWORK_FILESYSTEMS:
            raise StateFolderError(
                f"state folder `{state}` is on `{kind}`, a network filesystem", hint="keep it on a local disk"
            )
