"""Change one flag of the create request at a time, and see each found, in real containers."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from policies.grant import Grant
from sandbox.docker_compare import compare
from sandbox.docker_engine import DockerEngine
from sandbox.docker_request import create_request
from sandbox.errors import AttestationError, EngineRefusedError, SandboxError
from tests.sandbox.inspected import inspected
from tests.sandbox.live import LIMITS, docker, still_there
from tests.sandbox.specs import OVERLAY, spec_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.sandbox.live import Ground, Request

pytestmark = pytest.mark.engine


def host(**values: Any) -> Callable[[Request], object]:
    """Set members of HostConfig."""
    return lambda request: request["HostConfig"].update(values)


def config(**values: Any) -> Callable[[Request], object]:
    """Set members of the request itself."""
    return lambda request: request.update(values)


def security(*options: str) -> Callable[[Request], object]:
    """Replace the security options, save those that begin like one of these."""

    def change(request: Request) -> None:
        names = {option.partition("=")[0].partition(":")[0] for option in options}
        kept = [
            option
            for option in request["HostConfig"]["SecurityOpt"]
            if option.partition("=")[0].partition(":")[0] not in names
        ]
        request["HostConfig"]["SecurityOpt"] = [*kept, *(option for option in options if option[-1] != "=")]

    return change


def profile(**values: Any) -> Callable[[Request], object]:
    """Change the seccomp profile itself."""

    def change(request: Request) -> None:
        options = request["HostConfig"]["SecurityOpt"]
        given = json.loads(options[1].removeprefix("seccomp="))
        options[1] = "seccomp=" + json.dumps(given | values)

    return change


def one_more_name(request: Request) -> None:
    """Allow one more system call than the profile does."""
    options = request["HostConfig"]["SecurityOpt"]
    given = json.loads(options[1].removeprefix("seccomp="))
    given["syscalls"][0]["names"].append("ptrace")
    options[1] = "seccomp=" + json.dumps(given)


def mount(target: str, **values: Any) -> Callable[[Request], object]:
    """Change one mount."""

    def change(request: Request) -> None:
        for found in request["HostConfig"]["Mounts"]:
            if found["Target"] == target:
                found.update(values)

    return change


def one_more_mount(**values: Any) -> Callable[[Request], object]:
    """Add a mount."""
    return lambda request: request["HostConfig"]["Mounts"].append(values)


def overlay_options(old: str, new: str) -> Callable[[Request], object]:
    """Change the options of the overlay at /workspace."""

    def change(request: Request) -> None:
        for found in request["HostConfig"]["Mounts"]:
            if found["Target"] == "/workspace":
                options = found["VolumeOptions"]["DriverConfig"]["Options"]
                assert old in options["o"]
                options["o"] = options["o"].replace(old, new)

    return change


def tmpfs(target: str, old: str, new: str) -> Callable[[Request], object]:
    """Change the options of one memory file system."""

    def change(request: Request) -> None:
        given = request["HostConfig"]["Tmpfs"]
        assert old in given[target]
        given[target] = given[target].replace(old, new)

    return change


def one_limit(name: str, most: int) -> Callable[[Request], object]:
    """Change one limit of processes."""

    def change(request: Request) -> None:
        for limit in request["HostConfig"]["Ulimits"]:
            if limit["Name"] == name:
                limit.update({"Soft": most, "Hard": most})

    return change


def environment(*entries: str) -> Callable[[Request], object]:
    """Add to the environment."""
    return lambda request: request["Env"].extend(entries)


def arguments(old: str, new: str) -> Callable[[Request], object]:
    """Replace one word of the command line, or take it away."""

    def change(request: Request) -> None:
        words = [new if word == old else word for word in request["Entrypoint"]]
        request["Entrypoint"] = [word for word in words if word]

    return change


CHANGES: dict[str, tuple[Callable[[Request], object], str]] = {
    "privileged": (host(Privileged=True), "HostConfig.Privileged"),
    "one capability": (host(CapAdd=["NET_RAW"]), "HostConfig.CapAdd"),
    "all capabilities": (host(CapAdd=["ALL"]), "HostConfig.CapAdd"),
    "capabilities kept": (host(CapDrop=[]), "HostConfig.CapDrop"),
    "seccomp unconfined": (security("seccomp=unconfined"), "HostConfig.SecurityOpt"),
    "seccomp of the engine": (security("seccomp="), "HostConfig.SecurityOpt"),
    "seccomp default allow": (profile(defaultAction="SCMP_ACT_ALLOW"), "HostConfig.SecurityOpt"),
    "seccomp one more name": (one_more_name, "HostConfig.SecurityOpt"),
    "new privileges": (security("no-new-privileges="), "HostConfig.SecurityOpt"),
    "apparmor unconfined": (security("apparmor=unconfined"), "HostConfig.SecurityOpt"),
    "selinux off": (security("label=disable"), "HostConfig.SecurityOpt"),
    "network of the host": (
        lambda request: (
            host(NetworkMode="host")(request),
            config(NetworkDisabled=False, Hostname="")(request),
        ),
        "HostConfig.NetworkMode",
    ),
    "network not disabled": (config(NetworkDisabled=False), "Config.NetworkDisabled"),
    "processes of the host": (host(PidMode="host"), "HostConfig.PidMode"),
    "IPC of the host": (host(IpcMode="host"), "HostConfig.IpcMode"),
    "IPC shareable": (host(IpcMode="shareable"), "HostConfig.IpcMode"),
    "users of the host": (host(UsernsMode="host"), "HostConfig.UsernsMode"),
    "cgroups of the host": (host(CgroupnsMode="host"), "HostConfig.CgroupnsMode"),
    "names of the host": (
        lambda request: (host(UTSMode="host")(request), config(Hostname="")(request)),
        "HostConfig.UTSMode",
    ),
    "writable root": (host(ReadonlyRootfs=False), "HostConfig.ReadonlyRootfs"),
    "one more bind": (host(Binds=["/etc:/extra:ro"]), "HostConfig.Binds"),
    "the engine's socket": (
        host(Binds=["/var/run/docker.sock:/var/run/docker.sock"]),
        "HostConfig.Binds",
    ),
    "one more mount": (
        one_more_mount(Type="bind", Source="/etc", Target="/extra", ReadOnly=True),
        "HostConfig.Mounts",
    ),
    "one more volume": (config(Volumes={"/extra": {}}), "mount targets"),
    "volumes from nowhere": (host(VolumesFrom=[]), ""),
    "a device": (
        host(
            Devices=[{"PathOnHost": "/dev/null", "PathInContainer": "/dev/extra", "CgroupPermissions": "rwm"}]
        ),
        "HostConfig.Devices",
    ),
    "a device rule": (host(DeviceCgroupRules=["c 1:3 rwm"]), "HostConfig.DeviceCgroupRules"),
    "scratch executable": (tmpfs("/tmp", "noexec", "exec"), "HostConfig.Tmpfs"),
    "scratch unbounded": (tmpfs("/tmp", ",size=16777216", ""), "HostConfig.Tmpfs"),
    "scratch with any number of files": (tmpfs("/tmp", ",nr_inodes=512", ""), "HostConfig.Tmpfs"),
    "one more tmpfs": (
        lambda request: request["HostConfig"]["Tmpfs"].update({"/run": ""}),
        "HostConfig.Tmpfs",
    ),
    "workspace read-only": (overlay_options(",nosuid", ",nosuid,ro"), "HostConfig.Mounts"),
    "workspace executable": (overlay_options(",noexec", ""), "HostConfig.Mounts"),
    "workspace of another folder": (overlay_options("/lower", "/upper/../lower"), "HostConfig.Mounts"),
    "runtime writable": (mount("/rt", ReadOnly=False), "HostConfig.Mounts"),
    "memory": (host(Memory=2 << 30, MemorySwap=2 << 30), "HostConfig.Memory"),
    "swap": (host(MemorySwap=-1), "HostConfig.MemorySwap"),
    "processes": (host(PidsLimit=5000), "HostConfig.PidsLimit"),
    "processes unbounded": (host(PidsLimit=-1), "HostConfig.PidsLimit"),
    "processors": (host(NanoCpus=0), "HostConfig.NanoCpus"),
    "out of memory never": (host(OomKillDisable=True), "HostConfig.OomKillDisable"),
    "killed first": (host(OomScoreAdj=500), "HostConfig.OomScoreAdj"),
    "user root": (config(User="0:0"), "Config.User"),
    "group root": (config(User="65532:0"), "Config.User"),
    "a group more": (host(GroupAdd=["0"]), "HostConfig.GroupAdd"),
    "LD_PRELOAD": (environment("LD_PRELOAD=/tmp/x.so"), "Config.Env"),
    "a secret": (environment("API_KEY=canary"), "Config.Env"),
    "a name for an address": (host(ExtraHosts=["metadata:169.254.169.254"]), "HostConfig.ExtraHosts"),
    "a resolver": (host(Dns=["192.0.2.53"]), "HostConfig.Dns"),
    "restart": (
        host(AutoRemove=False, RestartPolicy={"Name": "always"}),
        "HostConfig.RestartPolicy",
    ),
    "not removed": (host(AutoRemove=False), "HostConfig.AutoRemove"),
    "paths unmasked": (host(MaskedPaths=[]), "HostConfig.MaskedPaths"),
    "paths writable": (host(ReadonlyPaths=[]), "HostConfig.ReadonlyPaths"),
    "no limits of processes": (host(Ulimits=[]), "HostConfig.Ulimits"),
    "cores": (one_limit("core", -1), "HostConfig.Ulimits"),
    "more open files": (one_limit("nofile", 8192), "HostConfig.Ulimits"),
    "a log": (host(LogConfig={"Type": "json-file", "Config": {}}), "HostConfig.LogConfig"),
    "a kernel setting": (host(Sysctls={"net.ipv4.ip_forward": "1"}), "HostConfig.Sysctls"),
    "shared memory": (host(ShmSize=1 << 30), "HostConfig.ShmSize"),
    "a health check": (config(Healthcheck={"Test": ["CMD", "/x"]}), "Config.Healthcheck"),
    "a working folder": (config(WorkingDir="/tmp"), "Config.WorkingDir"),
    "a stop signal": (config(StopSignal="SIGUSR1"), "Config.StopSignal"),
    "another name": (config(Hostname="elsewhere"), "Config.Hostname"),
    "a domain": (config(Domainname="example.com"), "Config.Domainname"),
    "a terminal": (config(Tty=True), ""),
    "stdin that stays": (config(StdinOnce=False), "Config.StdinOnce"),
    "an init": (host(Init=True), "HostConfig.Init"),
    "a parent group": (host(CgroupParent="/elsewhere"), "HostConfig.CgroupParent"),
    "the guest told of exec": (arguments("/workspace", "--exec"), ""),
    "the guest started elsewhere": (arguments("/workspace", "/tmp"), "Config.Entrypoint"),
    "words after the guest's": (config(Cmd=["--exec"]), ""),
    "labels": (config(Labels={}), "Config.Labels"),
    "stdin unattached": (config(AttachStdin=False), "Config.AttachStdin"),
    "stdout unattached": (config(AttachStdout=False), "Config.AttachStdout"),
    "stderr unattached": (config(AttachStderr=False), "Config.AttachStderr"),
    "a longer end": (config(StopTimeout=60), "Config.StopTimeout"),
    "shared memory executable": (tmpfs("/dev/shm", "noexec", "exec"), "HostConfig.Tmpfs"),
    "queues writable": (tmpfs("/dev/mqueue", "ro,", "rw,"), "HostConfig.Tmpfs"),
    "the runtime's content copied": (mount("/rt", VolumeOptions={"NoCopy": False}), "HostConfig.Mounts"),
}
"""Change to the check that names it; an empty name where the sandbox does not even come up."""

HARMLESS = {"volumes from nowhere"}
"""The same request in other words."""
SEEN_BY_THE_HOST = {
    "memory": "memory limit",
    "no limits of processes": "limit nofile",
    "one capability": "thread 1 CapBnd",
    "processes": "process limit",
    "processors": "processors",
    "seccomp unconfined": "thread 1 Seccomp_filters",
}
"""What the kernel itself shows of a change, to any user of this machine: an engine that lied is found."""


@pytest.mark.parametrize("name", sorted(CHANGES.keys() - HARMLESS))
async def test_a_changed_flag_is_found_and_the_container_destroyed(ground: Ground, name: str) -> None:
    """Whatever was made otherwise than asked for ends the session before its first action."""
    change, check = CHANGES[name]
    spec = await ground.spec(Grant.FILES)

    with pytest.raises(SandboxError) as caught:
        async with ground.opened_sandbox(spec, change=change):
            pytest.fail("the sandbox was opened")

    assert not isinstance(caught.value, EngineRefusedError), caught.value.message
    if check:
        assert isinstance(caught.value, AttestationError), caught.value.message
        assert check in [piece.check for piece in caught.value.differences]
        if name in SEEN_BY_THE_HOST:
            host_sees = [piece.check for piece in caught.value.differences if piece.source == "host"]
            assert SEEN_BY_THE_HOST[name] in host_sees
    assert ground.opened
    assert not await still_there(ground.opened[0])


@pytest.mark.parametrize("grant", list(Grant), ids=lambda grant: grant.label)
async def test_what_was_asked_for_is_attested(ground: Ground, grant: Grant) -> None:
    """The twin: with nothing changed, every check holds, and three witnesses have spoken."""
    spec = await ground.spec(grant)

    async with ground.opened_sandbox(spec) as sandbox:
        assert all(piece.holds for piece in sandbox.evidence)
        assert {piece.source for piece in sandbox.evidence} == {"engine", "host", "guest"}

    assert not await still_there(ground.opened[0])


@pytest.mark.parametrize("name", sorted(HARMLESS))
async def test_other_words_for_the_same_are_no_difference(ground: Ground, name: str) -> None:
    spec = await ground.spec(Grant.FILES)

    async with ground.opened_sandbox(spec, change=CHANGES[name][0]) as sandbox:
        assert all(piece.holds for piece in sandbox.evidence)


async def test_another_runtime_is_found(ground: Ground) -> None:
    """A session that asked for gVisor's kernel must not run on the host's."""
    spec = await ground.spec(Grant.NONE, runtime="runsc")

    with pytest.raises(AttestationError) as caught:
        async with ground.opened_sandbox(spec, change=host(Runtime="runc")):
            pytest.fail("the sandbox was opened")

    assert "HostConfig.Runtime" in [piece.check for piece in caught.value.differences]


async def test_a_network_joined_later_is_refused_or_found(ground: Ground) -> None:
    """The engine lets nobody connect a container without a network; inspect would show it if one did."""
    spec = await ground.spec(Grant.NONE)

    async with ground.opened_sandbox(spec) as sandbox:
        try:
            await docker("network", "connect", "bridge", sandbox.container_id)
        except AssertionError:
            return
        engine = await DockerEngine.connect()
        inspection = await engine.inspect(sandbox.container_id, spec)
        await engine.close()

    assert "networks" in [piece.check for piece in inspection.evidence if not piece.holds]


async def test_another_image_is_found(ground: Ground, tmp_path: Path) -> None:
    """An image that took another's place is another id."""
    spec = await ground.spec(Grant.EXEC)
    (tmp_path / "empty.tar").write_bytes(b"\0" * 10240)
    other = await docker("import", "--message", "another", str(tmp_path / "empty.tar"))
    try:
        with pytest.raises(AttestationError) as caught:
            async with ground.opened_sandbox(spec, change=config(Image=other)):
                pytest.fail("the sandbox was opened")
    finally:
        await docker("rmi", "--no-prune", other)

    assert {"image", "Config.Image"} <= {piece.check for piece in caught.value.differences}


ELSEWHERE = {"Image", "HostConfig.Runtime"}
"""Members that tests of their own change."""
NO_CONTAINER = {
    "OpenStdin", "Mounts /rt Source", "Mounts /rt Target", "Mounts /rt Type", "Mounts /workspace ReadOnly",
    "Mounts /workspace Target", "Mounts /workspace Type",
}  # fmt: skip
"""Members without which no guest comes up, or which the engine refuses to have otherwise."""


def test_each_member_of_the_request_is_changed_by_one_of_these() -> None:
    """The list above is whole: a new member of the request fails here until a change of it is tried."""
    overlay = replace(OVERLAY, options=f"{OVERLAY.options},noexec")
    spec = spec_for(Grant.FILES, limits=LIMITS, workspace=overlay)
    members = set(_flat(create_request(spec)))

    changed: set[str] = set()
    for change, _check in CHANGES.values():
        request: Any = json.loads(json.dumps(create_request(spec)))
        before = _flat(json.loads(json.dumps(request)))
        change(request)
        after = _flat(request)
        changed |= {name for name in before if after.get(name) != before[name]}

    assert members - changed - ELSEWHERE == NO_CONTAINER


@pytest.mark.parametrize("name", sorted(NO_CONTAINER))
def test_a_change_that_makes_no_container_would_be_found(name: str) -> None:
    """Compared without an engine: had one been made all the same, inspect would show the change."""
    spec = spec_for(Grant.FILES)
    seen = inspected(spec)
    where, _, member = name.rpartition(" ")
    if where:
        for mount in seen["HostConfig"]["Mounts"]:
            if where == f"Mounts {mount['Target']}":
                mount[member] = not mount[member] if isinstance(mount[member], bool) else "/elsewhere"
    else:
        seen["Config"][member] = not seen["Config"][member]

    wrong = [piece.check for piece in compare(spec, seen) if not piece.holds]

    assert wrong == (["HostConfig.Mounts"] if where else ["Config.OpenStdin"])


def _flat(request: Any) -> dict[str, Any]:
    """Return each member by name, those of HostConfig and of each mount and each limit on their own."""
    host_config = request["HostConfig"]
    flat = {name: value for name, value in request.items() if name != "HostConfig"}
    flat |= {f"HostConfig.{name}": value for name, value in host_config.items()}
    for kind, key in (("Mounts", "Target"), ("Ulimits", "Name")):
        for one in flat.pop(f"HostConfig.{kind}"):
            flat |= {f"{kind} {one[key]} {name}": value for name, value in one.items()}
    flat |= {f"Tmpfs {place}": value for place, value in flat.pop("HostConfig.Tmpfs").items()}
    return flat
