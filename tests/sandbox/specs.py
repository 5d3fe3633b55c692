"""Make specs for tests: one for each grant, with the least of everything else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from policies.capability import Capability
from sandbox.limits import Limits
from sandbox.spec import (
    WORKSPACE,
    ContainerSpec,
    DriverMount,
    GuestStart,
    Identity,
    ImageFacts,
    Mount,
    SessionLabels,
    container_spec,
)

if TYPE_CHECKING:
    from policies.grant import Grant

IMAGE = "sha256:" + "0f" * 32
GUEST = GuestStart(
    volume="pairlock-runtime-0123456789ab-0123456789abcdef",
    argv=("/rt/lib/loader", "/rt/bin/python3", "/rt/guest/__main__.pyc"),
    environment={"PYTHONHOME": "/rt"},
    cleared=("GLIBC_TUNABLES", "LD_PRELOAD"),
)
OVERLAY = DriverMount(
    target=WORKSPACE,
    filesystem="overlay",
    options="lowerdir=/w/lower,upperdir=/w/upper,workdir=/w/work,nosuid,nodev",
    read_only=False,
)


def spec_for(  # noqa: PLR0913 - each test changes one of them
    grant: Grant,
    *,
    image: ImageFacts | None = None,
    workspace: Mount = OVERLAY,
    limits: Limits | None = None,
    runtime: str = "runc",
    architecture: str = "x86_64",
) -> ContainerSpec:
    """Return the spec of a session with this grant."""
    return container_spec(
        grant,
        limits=limits or Limits(),
        image=image or ImageFacts(image_id=IMAGE),
        guest=GUEST,
        workspace=workspace if grant.holds(Capability.FILES) else None,
        identity=Identity(uid=1000, gid=1000),
        labels=SessionLabels(session="0123456789ab", owner=1000, state="f00f"),
        runtime=runtime,
        architecture=architecture,
    )
