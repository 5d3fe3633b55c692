"""Test the spec: the whole create request of each grant, and what of an image's wishes is left."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.capability import Capability
from policies.grant import Grant
from sandbox.covering import volumes_to_cover
from sandbox.docker_request import create_request
from sandbox.errors import ImageRefusedError
from sandbox.limits import KERNEL_PROCESSES, MIB, Limits
from sandbox.spec import ContainerSpec, DriverMount, Identity, ImageFacts
from tests.sandbox.specs import IMAGE, spec_for

GOLDEN = Path(__file__).parent / "golden"


def golden_text(spec: ContainerSpec) -> str:
    """Return a create request for people to read: the seccomp profile as JSON beside the option's name."""
    request = json.loads(json.dumps(create_request(spec)))
    options = request["HostConfig"]["SecurityOpt"]
    request["HostConfig"]["SecurityOpt"] = [option.partition("{")[0] for option in options]
    request["(the profile)"] = json.loads(spec.seccomp)
    return json.dumps(request, indent=1, sort_keys=True) + "\n"


@pytest.mark.parametrize("grant", list(Grant), ids=lambda grant: grant.label)
def test_the_request_of_each_grant_is_the_golden_one(grant: Grant) -> None:
    """Every flag of every grant is written down; a change of one is a change of a golden file, for review."""
    expected = (GOLDEN / f"{grant.label.replace('+', '-')}.json").read_text("utf-8")

    assert golden_text(spec_for(grant)) == expected


def test_there_is_one_golden_request_for_each_grant() -> None:
    names = {path.stem for path in GOLDEN.glob("*.json")}

    assert names == {grant.label.replace("+", "-") for grant in Grant}


@pytest.mark.parametrize("grant", list(Grant), ids=lambda grant: grant.label)
def test_only_a_capability_makes_a_difference(grant: Grant) -> None:
    """What two grants do not share is four things: the workspace, exec on the scratch, filter, arguments."""
    ours, none = create_request(spec_for(grant)), create_request(spec_for(Grant.NONE))

    different = {key for key in ours if ours[key] != none[key]}
    host, bare = ours["HostConfig"], none["HostConfig"]
    assert isinstance(host, dict)
    assert isinstance(bare, dict)
    different_host = {key for key in host if host[key] != bare[key]}

    executes, files = grant.holds(Capability.EXEC), grant.holds(Capability.FILES)
    assert different == ({"Entrypoint", "HostConfig"} if executes or files else set())
    assert different_host == {
        *(("Tmpfs", "SecurityOpt") if executes else ()),
        *(("Mounts",) if files else ()),
    }


@pytest.mark.parametrize("grant", list(Grant), ids=lambda grant: grant.label)
def test_the_scratch_is_executable_exactly_with_exec(grant: Grant) -> None:
    options = spec_for(grant).tmpfs["/tmp"].split(",")

    assert ("exec" in options) == grant.holds(Capability.EXEC)
    assert ("noexec" in options) != grant.holds(Capability.EXEC)


@pytest.mark.parametrize("grant", list(Grant), ids=lambda grant: grant.label)
def test_no_memory_file_system_is_without_bounds(grant: Grant) -> None:
    """A tmpfs without a size takes half the machine."""
    for options in spec_for(grant).tmpfs.values():
        names = {option.partition("=")[0] for option in options.split(",")}
        assert {"size", "nr_inodes", "nosuid", "nodev"} <= names


def test_a_workspace_is_mounted_exactly_with_files() -> None:
    for grant in Grant:
        targets = {mount.target for mount in spec_for(grant).mounts}
        assert ("/workspace" in targets) == grant.holds(Capability.FILES)


@pytest.mark.parametrize(("uid", "gid"), [(0, 1000), (1000, 0), (0, 0), (-1, 5)])
def test_root_has_no_identity_in_a_container(uid: int, gid: int) -> None:
    with pytest.raises(ValueError, match="never runs as uid 0 or gid 0"):
        Identity(uid=uid, gid=gid)


def test_memory_is_what_is_held_in_memory_added_up() -> None:
    """Scratch and a copied workspace are memory too: they must not eat what the programs were promised."""
    limits = Limits(memory_bytes=100 * MIB, scratch_bytes=10 * MIB, copy_bytes=1000 * MIB)
    copied = DriverMount(target="/workspace", filesystem="tmpfs", options="size=1", read_only=False)

    mounted = spec_for(Grant.FILES, limits=limits)
    carried = spec_for(Grant.FILES, limits=limits, workspace=copied)

    assert mounted.memory_bytes == (100 + 10 + 96) * MIB
    assert carried.memory_bytes == (100 + 10 + 96 + 1000) * MIB
    assert create_request(mounted)["HostConfig"]["MemorySwap"] == mounted.memory_bytes  # type: ignore[index,call-overload]  # JSON


def test_a_runtime_with_its_own_kernel_gets_threads_for_it() -> None:
    assert spec_for(Grant.NONE, runtime="runsc").processes == (
        spec_for(Grant.NONE).processes + KERNEL_PROCESSES
    )


@pytest.mark.parametrize("field", list(Limits.__dataclass_fields__))
@pytest.mark.parametrize("value", [0, -1])
def test_no_limit_can_be_switched_off(field: str, value: int) -> None:
    """There is no unlimited: zero and less are refused."""
    with pytest.raises(ValueError, match=field):
        replace(Limits(), **{field: value})


def test_what_the_image_sets_is_taken_away() -> None:
    """Each name that the image sets is blanked, LD_* whether it sets them or not, and ours stay."""
    image = ImageFacts(image_id=IMAGE, environment_names=("PATH", "LD_AUDIT", "PYTHONHOME"))

    environment = spec_for(Grant.EXEC, image=image).environment

    assert environment == ("PYTHONHOME=/rt", "GLIBC_TUNABLES", "LD_AUDIT", "LD_PRELOAD", "PATH")


@pytest.mark.parametrize("name", ["", "A\nB", "A\x00"])
def test_an_image_whose_variables_have_no_names_is_refused(name: str) -> None:
    with pytest.raises(ImageRefusedError):
        spec_for(Grant.EXEC, image=ImageFacts(image_id=IMAGE, environment_names=(name,)))


def test_a_declared_volume_is_covered_read_only() -> None:
    image = ImageFacts(image_id=IMAGE, volumes=("/data/",))

    covering = [mount for mount in spec_for(Grant.EXEC, image=image).mounts if mount.target == "/data"]

    assert covering == [
        DriverMount(
            target="/data",
            filesystem="tmpfs",
            options="ro,size=1048576,nr_inodes=64,mode=0555,nosuid,nodev,noexec",
            read_only=True,
        )
    ]


@pytest.mark.parametrize("path", ["/rt", "/tmp", "/tmp/", "//tmp", "/workspace", "/dev/shm"])
def test_a_volume_where_a_mount_of_ours_lies_changes_nothing(path: str) -> None:
    """Our mount is there already, and the engine makes none."""
    image = ImageFacts(image_id=IMAGE, volumes=(path,))

    assert spec_for(Grant.FILES_EXEC, image=image) == spec_for(Grant.FILES_EXEC)


@pytest.mark.parametrize(
    "path",
    ["/", "//", "/proc", "/proc/sys", "/dev", "/dev/pts", "/sys/fs", "/rt/lib", "/workspace/.git", "/tmp/x",
     "relative", "", "/a\nb", "/../rt/guest"],
)  # fmt: skip
def test_a_volume_around_or_inside_a_place_of_ours_is_refused(path: str) -> None:
    image = ImageFacts(image_id=IMAGE, volumes=(path,))

    with pytest.raises(ImageRefusedError):
        spec_for(Grant.FILES_EXEC, image=image)


def test_volumes_inside_one_another_are_refused() -> None:
    with pytest.raises(ImageRefusedError):
        volumes_to_cover(["/data", "/data/more"], ["/rt"])


def test_too_many_volumes_are_refused() -> None:
    with pytest.raises(ImageRefusedError):
        volumes_to_cover([f"/data-{number}" for number in range(33)], [])


@given(st.lists(st.text(alphabet="/.rt a", max_size=12), max_size=6))
def test_whatever_an_image_declares_never_touches_a_place_of_ours(declared: list[str]) -> None:
    """Either the image is refused, or every covered path is absolute, plain and apart from ours."""
    ours = ("/rt", "/tmp", "/a/b")

    try:
        covered = volumes_to_cover(declared, ours)
    except ImageRefusedError:
        return

    for path in covered:
        assert path.startswith("/")
        assert ".." not in path.split("/")
        for place in ours:
            assert not f"{path}/".startswith(f"{place}/")
            assert not f"{place}/".startswith(f"{path}/")


def test_the_digest_is_of_everything() -> None:
    """Two specs that differ in one thing have two digests."""
    spec = spec_for(Grant.FILES_EXEC)
    others = {
        replace(spec, processes=spec.processes + 1).digest,
        replace(spec, tmpfs={}).digest,
        replace(spec, grant=Grant.EXEC).digest,
        replace(spec, mounts=spec.mounts[:1]).digest,
        replace(spec, seccomp="{}").digest,
    }

    assert len({spec.digest, *others}) == 6
    assert spec.digest == spec_for(Grant.FILES_EXEC).digest
