"""The policy in force and the configuration in a workspace: its agent neither reads nor writes them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from agent_runner import policy_unseen
from agent_runner.ci.placing import check_policy_in
from agent_runner.ci.reading import read_task
from agent_runner.errors import RefusedError
from agent_runner.policy_file import load_policy
from agent_runner.policy_unseen import hiding, kept_unseen
from policies.capability import Capability
from policies.decide import decide
from policies.request import ActionRequest, Denied, PathUse, SessionFacts
from policies.source import parse_policy
from tests.agent_runner.policy_stand import POLICY, written

if TYPE_CHECKING:
    from pathlib import Path

    from policies.policy import Policy

WIDE = 'version: 1\nname: p\ngrant: [files, exec]\nfiles: {access: stage, protect_defaults: false}\ncommands: {allow: ["files *", run]}\n'  # noqa: E501 - a text
DIRECT = WIDE.replace("stage", "direct, hide_defaults: false")


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """Return a workspace with a policy of its own that extends another."""
    folder = tmp_path / "work"
    (folder / "sub").mkdir(parents=True)
    written(folder, "base.yaml", WIDE.replace("name: p", "name: b"))
    written(
        folder,
        "pairlock.yaml",
        'version: 1\nname: p\nextends: base.yaml\ngrant: [files]\ncommands: {allow: ["files *"]}\n',
    )
    return folder


def _denied(policy: Policy, path: str) -> bool:
    uses = (PathUse(path, "read"), PathUse(path, "write"))
    decisions = [
        decide(
            policy,
            SessionFacts(grant=policy.grant),
            ActionRequest(command=("files", "read"), needs=frozenset({Capability.FILES}), paths=(use,)),
        )
        for use in uses
    ]
    assert len({type(decision) for decision in decisions}) == 1
    return all(isinstance(one, Denied) and one.reasons[0].code == "hidden" for one in decisions)


def test_an_agent_sees_neither_the_policy_in_force_nor_what_it_extends(work: Path) -> None:
    policy = kept_unseen(load_policy(str(work / "pairlock.yaml")), work).policy

    assert _denied(policy, "pairlock.yaml")
    assert _denied(policy, "PAIRLOCK.yaml")
    assert _denied(policy, "base.yaml")
    assert not _denied(policy, "README.md")


def test_twin_a_policy_elsewhere_hides_nothing_more(work: Path, tmp_path: Path) -> None:
    outside = load_policy(str(written(tmp_path, "p.yaml", POLICY)))

    assert kept_unseen(outside, work) == outside
    assert kept_unseen(load_policy("read-only-review"), work) == load_policy("read-only-review")
    assert kept_unseen(outside, None) == outside


def test_a_linked_policy_is_unseen_under_both_names(work: Path, tmp_path: Path) -> None:
    (work / "pairlock.yaml").rename(work / "sub" / "real.yaml")
    (work / "base.yaml").rename(work / "sub" / "base.yaml")
    (work / "pairlock.yaml").symlink_to("sub/real.yaml")
    (tmp_path / "outside").symlink_to(work)

    for named in (work / "pairlock.yaml", tmp_path / "outside" / "pairlock.yaml"):
        policy = kept_unseen(load_policy(str(named)), tmp_path / "outside").policy

        assert [_denied(policy, name) for name in ("pairlock.yaml", "sub/real.yaml", "sub/base.yaml")] == [
            True
        ] * 3


@pytest.mark.parametrize(
    "name",
    ["a*b[c]{d}\\.yaml", "~p.yaml", "!p.yaml", "p\u200b\u00c9.yaml", "p\n.yaml", os.fsdecode(b"p\xff.yaml")],
)
def test_a_policy_of_any_name_is_unseen(work: Path, name: str) -> None:
    written(work, name, WIDE)

    policy = kept_unseen(load_policy(str(work / name)), work).policy

    assert _denied(policy, name)
    assert not _denied(policy, "src/other.yaml")
    assert parse_policy(policy.as_yaml(), origin="again", resolved=True) == policy


def test_what_programs_write_directly_cannot_hide_its_policy_and_is_refused(
    work: Path, tmp_path: Path
) -> None:
    written(work, "direct.yaml", DIRECT)
    twin = load_policy(str(written(tmp_path, "direct.yaml", DIRECT)))

    with pytest.raises(RefusedError) as refused:
        kept_unseen(load_policy(str(work / "direct.yaml")), work)

    assert (
        refused.value.message
        == "nothing keeps `direct.yaml` from an agent that works on the workspace directly"
    )
    assert refused.value.hint == "a policy outside the workspace, or `access: stage`"
    assert kept_unseen(twin, work) == twin


def test_where_commands_write_directly_a_policy_is_read_and_never_written(work: Path) -> None:
    """It is no secret; without `exec` every write is decided by its name."""
    text = 'version: 1\nname: p\nextends: base.yaml\ngrant: [files]\nfiles: {access: direct}\ncommands: {allow: ["files *"]}\n'  # noqa: E501 - a text
    written(work, "base.yaml", text.replace("extends: base.yaml\n", "").replace("name: p", "name: b"))
    written(work, "own.yaml", text)
    (work / ".vscode").symlink_to("sub/vs")

    policy = kept_unseen(load_policy(str(work / "own.yaml")), work).policy

    assert policy.files is not None
    names = ("own.yaml", "base.yaml", "sub/vs/tasks.json", ".vscode/tasks.json", "README.md", "vs/tasks.json")
    assert [bool(policy.files.protected_by(name)) for name in names] == [True] * 4 + [False] * 2
    assert [policy.files.hidden_by(name) for name in names] == [None] * 6
    assert parse_policy(policy.as_yaml(), origin="again", resolved=True) == policy


def test_the_configuration_in_a_workspace_that_is_worked_on_directly_is_refused(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    direct = parse_policy(POLICY + "files: {access: direct}\n", origin="p")
    assert hiding(direct, (), work) == direct
    monkeypatch.setattr(policy_unseen, "configuration_path", lambda: work / "sub" / "config.yaml")

    with pytest.raises(RefusedError) as refused:
        hiding(direct, (), work)

    assert refused.value.message == "nothing keeps `sub` from an agent that works on the workspace directly"
    assert refused.value.hint == "keep it outside the workspace, or `access: stage`"


def test_the_configuration_in_a_workspace_is_unseen(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = work / "sub" / "pairlock"
    monkeypatch.setattr(policy_unseen, "configuration_path", lambda: folder / "config.yaml")
    policy = hiding(load_policy("fix-tests").policy, (), work)

    assert _denied(policy, "sub/pairlock/config.yaml")
    assert _denied(policy, "sub/pairlock/commands/x.yaml")
    assert not _denied(policy, "sub/other")
    for inside in (folder, folder / "commands"):
        inside.mkdir()
        with pytest.raises(RefusedError):
            hiding(load_policy("fix-tests").policy, (), inside)


def test_a_command_check_sees_no_policy_in_what_the_session_left(work: Path, tmp_path: Path) -> None:
    """The check runs on a copy of the result elsewhere: its own policy's files are hidden there as well."""
    written(work, "checks.yaml", WIDE.replace("name: p", "name: c") + "exec: {programs: [pytest]}\n")
    task = written(
        tmp_path,
        "task.yaml",
        "version: 1\nname: t\npolicy: work/pairlock.yaml\nworkspace: work\nprompt: p\n"
        "checks: {policy: work/checks.yaml, commands: [{run: [pytest]}]}\n",
    )
    left = tmp_path / "left"
    left.mkdir()

    policy = check_policy_in(read_task(task), left)

    assert policy is not None
    assert all(_denied(policy, name) for name in ("checks.yaml", "pairlock.yaml"))
    assert not _denied(policy, "other.yaml")
