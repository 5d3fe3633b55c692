"""Turn a grant into a container's description: the only place where a capability becomes flags. Pure."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final, Literal

from policies.capability import Capability
from policies.grant import Grant
from sandbox import seccomp
from sandbox.covering import volumes_to_cover
from sandbox.errors import ImageRefusedError
from sandbox.kernel_paths import MASKED_PATHS, READ_ONLY_PATHS
from sandbox.limits import GUEST_MEMORY_BYTES, GUEST_PROCESSES, KERNEL_PROCESSES, MIB, Limits

if TYPE_CHECKING:
    from collections.abc import Mapping

WORKSPACE: Final = "/workspace"
SCRATCH: Final = "/tmp"  # noqa: S108 - a folder inside the container, where programs expect it
SHARED_MEMORY: Final = "/dev/shm"  # noqa: S108 - likewise
RUNTIME: Final = "/rt"
HOSTNAME: Final = "pairlock"
MESSAGE_QUEUES: Final = "/dev/mqueue"
OWN_KERNEL: Final = ("runsc", "gvisor")
"""Names under which engines know a runtime that brings its own kernel."""

LABEL_SESSION: Final = "io.pairlock.session"
LABEL_OWNER: Final = "io.pairlock.owner"
LABEL_STATE: Final = "io.pairlock.state"

PROCESS_LIMITS: Final = {"core": 1, "memlock": 64 * 1024, "nice": 0, "rtprio": 0, "sigpending": 4096}
"""What a process would else inherit from the engine's service, which runs without most bounds. Signals that
wait are counted by user on the whole machine: a session must not use up what its person's programs need.
With 0 bytes for core files the kernel still starts the program that collects cores on this machine, as its
root and outside of the container; with 1 it does neither (fs/coredump.c; guest/bpf.py holds it there)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Say who the container's processes are; never uid 0, never gid 0."""

    uid: int
    gid: int

    def __post_init__(self) -> None:
        if self.uid <= 0 or self.gid <= 0:
            raise ValueError("a container never runs as uid 0 or gid 0")

    def outside(self, first_ids: tuple[int, int]) -> Identity:
        """Return who that is on the engine's machine, when 0 inside is these ids there."""
        return Identity(uid=self.uid + first_ids[0], gid=self.gid + first_ids[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeMount:
    """Mount a volume that exists, by name."""

    target: str
    name: str
    read_only: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverMount:
    """Mount a nameless volume of the local driver, made for this container and removed with it."""

    target: str
    filesystem: Literal["overlay", "tmpfs"]
    options: str
    """Options of the mount, as mount(8) takes them; `ro` is among them exactly when `read_only`."""
    read_only: bool

    def __post_init__(self) -> None:
        if ("ro" in self.options.split(",")) != self.read_only:
            raise ValueError("a mount's options say `ro` exactly when it is read-only")


@dataclass(frozen=True, slots=True, kw_only=True)
class BindMount:
    """Mount a folder of the engine's machine."""

    target: str
    source: str
    read_only: bool


Mount = VolumeMount | DriverMount | BindMount


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """What the engine says of an image; hostile data (its author is not trusted)."""

    image_id: str
    """`sha256:…` of the image's configuration."""
    environment_names: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    """Paths that the image declares as volumes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestStart:
    """How the guest is started: the runtime volume and the command line inside it."""

    volume: str
    argv: tuple[str, ...]
    """The command line up to the guest's own arguments, which the grant decides."""
    environment: Mapping[str, str]
    cleared: tuple[str, ...]
    """Names that must not be in the environment at all, whatever the image says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLabels:
    """Whose container this is, for finding it again."""

    session: str
    owner: int
    """Uid of the person who runs pairlock."""
    state: str
    """Short hash of the state folder's path."""
    part: str = ""
    """Which of the session's containers, where it is not its own; only the name says it."""

    @property
    def name(self) -> str:
        """Return the container's name."""
        return f"pairlock-{self.session}-{self.part}" if self.part else f"pairlock-{self.session}"

    def as_mapping(self) -> dict[str, str]:
        """Return the labels as an engine takes them."""
        return {LABEL_SESSION: self.session, LABEL_OWNER: str(self.owner), LABEL_STATE: self.state}


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    """Everything the engine is asked for, and everything that attestation compares with."""

    name: str
    grant: Grant
    image: str
    runtime: str
    entrypoint: tuple[str, ...]
    environment: tuple[str, ...]
    """`NAME=value`, or `NAME` alone to take away what the image sets."""
    identity: Identity
    hostname: str
    mounts: tuple[Mount, ...]
    tmpfs: Mapping[str, str]
    seccomp: str
    """The profile as JSON text."""
    memory_bytes: int
    nano_cpus: int
    processes: int
    process_limits: Mapping[str, int]
    """Bounds of each process (setrlimit(2), in its units), soft and hard, by the engine's name for each."""
    masked_paths: tuple[str, ...]
    read_only_paths: tuple[str, ...]
    labels: Mapping[str, str]

    @property
    def has_commands(self) -> bool:
        """Say whether programs can call commands: not beside a bound folder, where no unix socket is made."""
        bound = any(isinstance(mount, BindMount) for mount in self.mounts)
        return self.grant.holds(Capability.EXEC) and not bound

    @property
    def digest(self) -> str:
        """Return SHA-256 over the whole description, in hexadecimal, for the ledger."""
        text = json.dumps({**asdict(self), "grant": self.grant.label}, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()


def container_spec(  # noqa: PLR0913 - the whole description of a container is made in this one place
    grant: Grant,
    *,
    limits: Limits,
    image: ImageFacts,
    guest: GuestStart,
    workspace: Mount | None,
    identity: Identity,
    labels: SessionLabels,
    runtime: str,
    architecture: str,
    models: bool = False,
) -> ContainerSpec:
    """Describe the container that holds a session to its grant.

    Args:
        grant: What the session holds.
        limits: Its bounds.
        image: The image; the empty one unless the grant holds `exec`.
        guest: The runtime volume and how the guest starts from it.
        workspace: The mount at /workspace; given exactly when the grant holds `files`.
        identity: Uid and gid inside the container.
        labels: Whose container it is.
        runtime: Name of the OCI runtime, as the engine knows it.
        architecture: The engine's machine, `x86_64` or `aarch64`.
        models: Whether programs find a model's API on their loopback, and so have one without `network`: what
            listens there is the host's to serve.

    Returns:
        The description. The same arguments give the same description.

    Raises:
        ImageRefusedError: When the image declares something that cannot be covered.
        ValueError: When the workspace and the grant disagree.
    """
    executes = grant.holds(Capability.EXEC)
    if (workspace is not None) != grant.holds(Capability.FILES):
        raise ValueError("a workspace is mounted exactly when the grant holds `files`")
    loopback = grant is Grant.NETWORK_EXEC or (models and executes)
    bounded = _bounded(limits, identity, executable=executes)
    ours = (RUNTIME, *((workspace.target,) if workspace is not None else ()), *bounded)
    profile = seccomp.profile(
        architecture,
        executes=executes,
        loopback=loopback,
        named_sockets=not isinstance(workspace, BindMount),
    )
    return ContainerSpec(
        name=labels.name,
        grant=grant,
        image=image.image_id,
        runtime=runtime,
        entrypoint=(*guest.argv, *_guest_arguments(grant, loopback=loopback)),
        environment=_environment(guest, image.environment_names),
        identity=identity,
        hostname=HOSTNAME,
        mounts=(
            VolumeMount(target=RUNTIME, name=guest.volume, read_only=True),
            *((workspace,) if workspace is not None else ()),
            *(_covering(path) for path in volumes_to_cover(image.volumes, ours)),
        ),
        tmpfs=bounded,
        seccomp=json.dumps(profile, sort_keys=True, separators=(",", ":")),
        memory_bytes=_memory(limits, workspace),
        nano_cpus=int(limits.cpus * 1_000_000_000),
        processes=limits.processes + GUEST_PROCESSES + (KERNEL_PROCESSES if runtime in OWN_KERNEL else 0),
        process_limits={**PROCESS_LIMITS, "nofile": limits.open_files},
        masked_paths=MASKED_PATHS,
        read_only_paths=READ_ONLY_PATHS,
        labels=labels.as_mapping(),
    )


def _guest_arguments(grant: Grant, *, loopback: bool) -> tuple[str, ...]:
    """Tell the guest what its own filter must leave open; an absent flag is the closed door."""
    return (
        *(("--exec",) if grant.holds(Capability.EXEC) else ()),
        *(("--loopback",) if loopback else ()),
        WORKSPACE if grant.holds(Capability.FILES) else SCRATCH,
    )


def _environment(guest: GuestStart, image_names: tuple[str, ...]) -> tuple[str, ...]:
    """Set what the guest needs; take away whatever the image sets, which is hostile data."""
    if not all(name.isprintable() and name for name in image_names):
        raise ImageRefusedError("the image sets a variable of the environment that has no proper name")
    cleared = {*image_names, *guest.cleared} - guest.environment.keys()
    return (*(f"{name}={value}" for name, value in sorted(guest.environment.items())), *sorted(cleared))


def _memory(limits: Limits, workspace: Mount | None) -> int:
    """Add up what is held in memory: programs, guest, scratch, and a workspace that is a copy."""
    copied = isinstance(workspace, DriverMount) and workspace.filesystem == "tmpfs"
    held = limits.scratch_bytes + (limits.copy_bytes if copied else 0)
    return limits.memory_bytes + held + GUEST_MEMORY_BYTES


def _bounded(limits: Limits, identity: Identity, *, executable: bool) -> dict[str, str]:
    """Return every memory file system of the container, each with a size and a number of files."""
    shared = min(limits.scratch_bytes, 64 * MIB)
    return {
        SCRATCH: _tmpfs(limits.scratch_bytes, limits.scratch_files, identity, executable=executable),
        SHARED_MEMORY: _tmpfs(shared, 1024, identity, executable=False),
        # The engine mounts a queue file system here whatever the IPC mode; this covers it.
        MESSAGE_QUEUES: "ro,nosuid,nodev,noexec,size=4096,nr_inodes=1,mode=0555",
    }


def _tmpfs(size_bytes: int, files: int, identity: Identity, *, executable: bool) -> str:
    execution = "exec" if executable else "noexec"
    owner = f"uid={identity.uid},gid={identity.gid}"
    return f"rw,nosuid,nodev,{execution},size={size_bytes},nr_inodes={files},mode=0700,{owner}"


def _covering(path: str) -> DriverMount:
    """Cover a path that the image declares as a volume, which would be writable, executable and unbounded."""
    return DriverMount(
        target=path,
        filesystem="tmpfs",
        options="ro,size=1048576,nr_inodes=64,mode=0555,nosuid,nodev,noexec",
        read_only=True,
    )
