"""Test the comparison of what inspect shows with the spec: closed, key by key, for every grant."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest

from policies.grant import Grant
from sandbox.docker_compare import compare
from sandbox.docker_request import create_request
from sandbox.spec import BindMount, ImageFacts
from tests.sandbox.inspected import inspected
from tests.sandbox.specs import IMAGE, spec_for

if TYPE_CHECKING:
    from sandbox.spec import ContainerSpec

SPEC = spec_for(Grant.FILES_EXEC)


def differences(spec: ContainerSpec, reply: dict[str, Any]) -> list[str]:
    """Return the checks that do not hold."""
    return [piece.check for piece in compare(spec, reply) if not piece.holds]


def other(value: Any) -> Any:
    """Return a value that is not this one."""
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case str():
            return f"{value}x"
        case [*items]:
            return [*items, "x"]
        case dict():
            return {**value, "x": "y"}
        case _:
            return "x"


@pytest.mark.parametrize("grant", list(Grant), ids=lambda grant: grant.label)
def test_what_was_made_as_asked_for_shows_no_difference(grant: Grant) -> None:
    spec = spec_for(grant)

    assert differences(spec, inspected(spec)) == []


@pytest.mark.parametrize("key", sorted(set(inspected(SPEC)["HostConfig"]) - {"ContainerIDFile"}))
def test_every_member_of_the_host_config_is_compared(key: str) -> None:
    """Whichever is changed, and only that one, is named."""
    reply = inspected(SPEC)
    reply["HostConfig"][key] = other(reply["HostConfig"][key])

    assert differences(SPEC, reply) == [f"HostConfig.{key}"]


@pytest.mark.parametrize("key", sorted(create_request(SPEC).keys() - {"HostConfig", "Labels", "Env"}))
def test_every_member_of_the_config_is_compared(key: str) -> None:
    reply = inspected(SPEC)
    value = reply["Config"][key]
    reply["Config"][key] = {"Test": ["CMD", "x"]} if key == "Healthcheck" else other(value)

    assert differences(SPEC, reply) == [f"Config.{key}"]


@pytest.mark.parametrize("value", [True, 1, "x", ["x"], {"x": 1}])
def test_a_flag_that_a_future_engine_adds_is_a_difference(value: Any) -> None:
    """Until this module knows it, whatever it means."""
    reply = inspected(SPEC)
    reply["HostConfig"]["NewDoor"] = value
    reply["Config"]["NewDoor"] = value

    assert sorted(differences(SPEC, reply)) == ["Config.NewDoor", "HostConfig.NewDoor"]


@pytest.mark.parametrize("value", [None, "", 0, False, [], {}])
def test_a_new_flag_that_says_nothing_is_none(value: Any) -> None:
    reply = inspected(SPEC)
    reply["HostConfig"]["NewDoor"] = value

    assert differences(SPEC, reply) == []


@pytest.mark.parametrize("key", sorted(create_request(SPEC)["HostConfig"]))  # type: ignore[arg-type]  # JSON
def test_a_member_that_was_asked_for_and_is_not_there_is_a_difference(key: str) -> None:
    """An engine too old to know a flag must not be taken for one that set it."""
    reply = inspected(SPEC)
    asked = reply["HostConfig"].pop(key)

    expected = [] if asked in (None, "", 0, False, [], {}) else [f"HostConfig.{key}"]
    assert differences(SPEC, reply) == expected


def test_an_image_that_says_other_things_is_seen() -> None:
    reply = inspected(SPEC)
    reply["Image"] = "sha256:" + "ee" * 32

    assert differences(SPEC, reply) == ["image"]


@pytest.mark.parametrize("entry", ["LD_PRELOAD=/x", "PYTHONHOME=/x", "KEY=secret"])
def test_a_variable_more_is_seen(entry: str) -> None:
    reply = inspected(SPEC)
    reply["Config"]["Env"].append(entry)

    assert differences(SPEC, reply) == ["Config.Env"]


def test_a_seccomp_profile_is_compared_as_json() -> None:
    """Another order of its members is the same profile; another member is not."""
    reply, changed = inspected(SPEC), inspected(SPEC)
    profile = json.loads(SPEC.seccomp)
    turned = dict(reversed(profile.items()))
    reply["HostConfig"]["SecurityOpt"][1] = "seccomp=" + json.dumps(turned, indent=1)
    changed["HostConfig"]["SecurityOpt"][1] = "seccomp=" + json.dumps({**profile, "defaultErrnoRet": 2})

    assert differences(SPEC, reply) == []
    assert differences(SPEC, changed) == ["HostConfig.SecurityOpt"]


@pytest.mark.parametrize(
    ("change", "checks"),
    [
        ({"Destination": "/elsewhere"}, ["mount targets", "mount /rt name"]),
        ({"RW": True}, ["mount /rt writable"]),
        ({"Name": "another"}, ["mount /rt name"]),
    ],
)
def test_a_mount_that_was_made_otherwise_is_seen(change: dict[str, Any], checks: list[str]) -> None:
    reply = inspected(SPEC)
    reply["Mounts"][0] = {**reply["Mounts"][0], **change}

    assert differences(SPEC, reply) == checks


def test_a_bind_of_another_folder_is_seen() -> None:
    spec = spec_for(
        Grant.FILES, workspace=BindMount(target="/workspace", source="/srv/project", read_only=True)
    )
    reply = inspected(spec)
    reply["Mounts"][1]["Source"] = "/etc"

    assert differences(spec, reply) == ["mount /workspace source"]


@pytest.mark.parametrize(
    ("settings", "check"),
    [
        ({"Networks": {"bridge": {}}, "Ports": {}}, "networks"),
        ({"Networks": {"none": {}, "extra": {}}, "Ports": {}}, "networks"),
        ({"Networks": {"none": {}}, "Ports": {"80/tcp": [{"HostPort": "80"}]}}, "published ports"),
    ],
)
def test_a_network_or_a_port_is_seen(settings: dict[str, Any], check: str) -> None:
    reply = inspected(SPEC)
    reply["NetworkSettings"] = settings

    assert differences(SPEC, reply) == [check]


def test_somebody_elses_exec_is_seen() -> None:
    reply = inspected(SPEC)
    reply["ExecIDs"] = ["0f" * 32]

    assert differences(SPEC, reply) == ["exec ids"]


def test_apparmor_switched_off_is_seen() -> None:
    reply = inspected(SPEC)
    reply["AppArmorProfile"] = "unconfined"

    assert differences(SPEC, reply) == ["driver.apparmor"]


@pytest.mark.parametrize(
    "reply", [{}, {"Config": None, "HostConfig": [], "Mounts": "x", "NetworkSettings": 1}]
)
def test_a_reply_of_nonsense_is_full_of_differences(reply: dict[str, Any]) -> None:
    assert len(differences(SPEC, reply)) > 20


def test_what_an_image_declares_has_no_force_and_is_no_difference() -> None:
    """Ports and volumes of the image stand in the config; HostConfig and mounts say what became of them."""
    spec = spec_for(Grant.EXEC, image=ImageFacts(image_id=IMAGE, volumes=("/data",)))
    reply = copy.deepcopy(inspected(spec))
    reply["Config"] |= {"ExposedPorts": {"80/tcp": {}}, "Volumes": {"/data": {}}, "OnBuild": ["RUN x"]}

    assert differences(spec, reply) == []
