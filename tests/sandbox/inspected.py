"""Write what an engine shows of a container that was made exactly as asked for."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from sandbox.docker_request import create_request
from sandbox.spec import BindMount, ContainerSpec, DriverMount, VolumeMount

if TYPE_CHECKING:
    from sandbox.spec import Mount

# What engines of API 1.41 add by themselves to a container like ours.
_ADDED_HOST = {
    "Binds": None, "ContainerIDFile": "", "PortBindings": {}, "VolumeDriver": "", "VolumesFrom": None,
    "CapAdd": None, "Dns": [], "DnsOptions": [], "DnsSearch": [], "ExtraHosts": None, "GroupAdd": None,
    "Cgroup": "", "Links": None, "OomScoreAdj": 0, "PidMode": "", "Privileged": False,
    "PublishAllPorts": False, "UTSMode": "", "UsernsMode": "", "ConsoleSize": [0, 0], "Isolation": "",
    "CpuShares": 0, "CgroupParent": "", "BlkioWeight": 0, "BlkioWeightDevice": None, "CpuPeriod": 0,
    "CpuQuota": 0, "CpuRealtimePeriod": 0, "CpuRealtimeRuntime": 0, "CpusetCpus": "", "CpusetMems": "",
    "Devices": None, "DeviceCgroupRules": None, "DeviceRequests": None, "KernelMemory": 0,
    "KernelMemoryTCP": 0, "MemoryReservation": 0, "MemorySwappiness": None, "OomKillDisable": False,
    "CpuCount": 0, "CpuPercent": 0, "IOMaximumIOps": 0, "IOMaximumBandwidth": 0, "Sysctls": None,
    "StorageOpt": None,
}  # fmt: skip
_ADDED_CONFIG = {"Domainname": "", "Image": None, "Volumes": None, "OnBuild": None}


def inspected(spec: ContainerSpec) -> dict[str, Any]:
    """Return the reply of `GET /containers/{id}/json` for a container of this spec."""
    request: dict[str, Any] = copy.deepcopy(create_request(spec))
    host = request.pop("HostConfig")
    environment = [entry for entry in request["Env"] if "=" in entry]
    return {
        "Image": spec.image,
        "Name": f"/{spec.name}",
        "AppArmorProfile": "",
        "ExecIDs": None,
        "State": {"Running": True, "Pid": 4242},
        "Config": {**_ADDED_CONFIG, **request, "Env": [*environment, "PATH=/usr/bin"]},
        "HostConfig": {**_ADDED_HOST, **host},
        "Mounts": [_point(mount) for mount in spec.mounts],
        "NetworkSettings": {"Ports": {}, "Networks": {"none": {"NetworkID": ""}}},
    }


def _point(mount: Mount) -> dict[str, Any]:
    point = {"Destination": mount.target, "RW": not mount.read_only}
    match mount:
        case VolumeMount():
            return {**point, "Type": "volume", "Name": mount.name, "Driver": "local"}
        case DriverMount():
            return {**point, "RW": True, "Type": "volume", "Name": "0f" * 32, "Driver": "local"}
        case BindMount():
            return {**point, "Type": "bind", "Source": mount.source}
