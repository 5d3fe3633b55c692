"""Write a container's description as Docker's create request. Pure."""

from __future__ import annotations

from typing import Final, assert_never

from sandbox.spec import BindMount, ContainerSpec, DriverMount, Mount, VolumeMount

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

MIB: Final = 1024 * 1024
NEVER_STARTED: Final = "/never-started"
"""The entry point of a container through which a volume is filled."""


def create_request(spec: ContainerSpec) -> dict[str, Json]:
    """Return the body of `POST /containers/create` (Docker Engine API 1.41)."""
    return {
        "Image": spec.image,
        "Entrypoint": list(spec.entrypoint),
        "Cmd": [],
        "Env": list(spec.environment),
        "User": f"{spec.identity.uid}:{spec.identity.gid}",
        "Hostname": spec.hostname,
        "WorkingDir": "/",
        "Healthcheck": {"Test": ["NONE"]},
        "StopSignal": "SIGKILL",
        "StopTimeout": 1,
        "NetworkDisabled": True,
        "OpenStdin": True,
        "StdinOnce": True,
        "Tty": False,
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "Labels": dict(spec.labels),
        "HostConfig": host_config(spec),
    }


def host_config(spec: ContainerSpec) -> dict[str, Json]:
    """Return the request's HostConfig: everything that decides what the container can reach."""
    return {
        "AutoRemove": True,
        "CapDrop": ["ALL"],
        "CgroupnsMode": "private",
        "Init": False,
        "IpcMode": "none",
        "LogConfig": {"Type": "none", "Config": {}},
        "MaskedPaths": list(spec.masked_paths),
        "Memory": spec.memory_bytes,
        "MemorySwap": spec.memory_bytes,
        "Mounts": [mount_request(mount) for mount in spec.mounts],
        "NanoCpus": spec.nano_cpus,
        "NetworkMode": "none",
        "PidsLimit": spec.processes,
        "ReadonlyPaths": list(spec.read_only_paths),
        "ReadonlyRootfs": True,
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
        "Runtime": spec.runtime,
        "SecurityOpt": ["no-new-privileges:true", f"seccomp={spec.seccomp}"],
        "ShmSize": MIB,
        "Tmpfs": dict(spec.tmpfs),
        "Ulimits": [
            {"Name": name, "Soft": most, "Hard": most} for name, most in sorted(spec.process_limits.items())
        ],
    }


def filling_request(*, volume: str, image: str, path: str) -> dict[str, Json]:
    """Return the request for a container that is never started: a door through which a volume is filled."""
    mount = VolumeMount(target=path, name=volume, read_only=False)
    return {
        "Image": image,
        "Entrypoint": [NEVER_STARTED],
        "NetworkDisabled": True,
        "HostConfig": {"NetworkMode": "none", "CapDrop": ["ALL"], "Mounts": [mount_request(mount)]},
    }


def root_request(*, folder: str, image: str, guest_volume: str, argv: tuple[str, ...]) -> dict[str, Json]:
    """Return the request for one command as root over one folder, mounted at /folder.

    Args:
        folder: A neutral name: where the engine's paths are not this machine's, it leads nowhere, and nothing
            is removed there.
        image: The empty one.
        guest_volume: The runtime volume.
        argv: The command.

    # SAFETY: uid 0 with CAP_DAC_OVERRIDE, because overlay's work folder is root's; it sees nothing else.
    """
    options: dict[str, Json] = {"type": "none", "device": folder, "o": "bind"}
    mounts: list[Json] = [
        {
            "Type": "volume",
            "Target": "/folder",
            "VolumeOptions": {"NoCopy": True, "DriverConfig": {"Name": "local", "Options": options}},
        },
        mount_request(VolumeMount(target="/rt", name=guest_volume, read_only=True)),
    ]
    return {
        "Image": image,
        "Entrypoint": list(argv),
        "User": "0:0",
        "NetworkDisabled": True,
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": {
            "NetworkMode": "none",
            "CapDrop": ["ALL"],
            "CapAdd": ["DAC_OVERRIDE"],
            "SecurityOpt": ["no-new-privileges:true"],
            "ReadonlyRootfs": True,
            "IpcMode": "none",
            "LogConfig": {"Type": "none"},
            "PidsLimit": 8,
            "Mounts": mounts,
        },
    }


def mount_request(mount: Mount) -> dict[str, Json]:
    """Return a member of the request's Mounts."""
    match mount:
        case VolumeMount():
            return {
                "Type": "volume",
                "Source": mount.name,
                "Target": mount.target,
                "ReadOnly": mount.read_only,
                "VolumeOptions": {"NoCopy": True},
            }
        case DriverMount():
            options: dict[str, Json] = {
                "type": mount.filesystem,
                "device": mount.filesystem,
                "o": mount.options,
            }
            # The engine refuses ReadOnly for a nameless volume; the options say `ro` instead.
            return {
                "Type": "volume",
                "Target": mount.target,
                "ReadOnly": False,
                "VolumeOptions": {"NoCopy": True, "DriverConfig": {"Name": "local", "Options": options}},
            }
        case BindMount():
            return {
                "Type": "bind",
                "Source": mount.source,
                "Target": mount.target,
                "ReadOnly": mount.read_only,
                "BindOptions": {"Propagation": "rprivate"},
            }
        case _:
            assert_never(mount)
