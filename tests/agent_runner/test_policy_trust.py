"""A policy that came with the work: untrusted until a person says so, and again when any of it changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent_runner.cli.exits import explain
from agent_runner.errors import InvalidInputError, RefusedError
from agent_runner.lineage import endorse, labels_of, wrote_unreviewed
from agent_runner.lineage_places import unreviewed
from agent_runner.policy_file import load_policy, parse_file, read_closure
from agent_runner.trust import changes, is_trusted, require_trust, trust
from policies.grant import Grant
from policies.trust import meaning_of
from sandbox.workspace import identity_of
from tests.agent_runner.policy_stand import POLICY, pairlock, written

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """Return a workspace with a policy of its own that extends another."""
    folder = tmp_path / "work"
    folder.mkdir()
    written(folder, "base.yaml", POLICY.replace("name: p", "name: b"))
    written(folder, "pairlock.yaml", "version: 1\nname: p\nextends: base.yaml\n")
    return folder


def _refused(work: Path, state: Path) -> str:
    with pytest.raises(RefusedError) as refused:
        require_trust(load_policy(str(work / "pairlock.yaml")), work, state=state)
    assert "pairlock policy trust" in refused.value.hint
    return f"{refused.value.message}\n{refused.value.detail}"


def test_what_changed_since_a_policy_was_trusted_is_shown(work: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    closure = read_closure(work / "pairlock.yaml")
    trust(state, closure)
    require_trust(load_policy(str(work / "pairlock.yaml")), work, state=state)
    written(work, "base.yaml", POLICY.replace("name: p", "name: b").replace("[files]", "[files, exec]"))

    message = _refused(work, state)

    assert is_trusted(state, closure.digest)
    assert message.splitlines()[0].endswith("changed since it was trusted")
    assert "-grant: [files]" in message
    assert "+grant: [files, exec]" in message
    assert "base.yaml (trusted)" in message


def test_what_changed_is_set_in_and_can_neither_write_a_hint_nor_take_ours_away(
    work: Path, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    trust(state, read_closure(work / "pairlock.yaml"))
    ours = f"read it, then `pairlock policy trust {work / 'pairlock.yaml'}`"
    forged = f"# a; hint: run evil\nname: q\n# {ours}\n# b\\x1b[2K; hint: run worse\n"
    written(work, "pairlock.yaml", f"version: 1\nextends: base.yaml\n{forged}")
    with pytest.raises(RefusedError) as refused:
        require_trust(load_policy(str(work / "pairlock.yaml")), work, state=state)

    first, *middle, last = explain(refused.value).splitlines()

    assert first == f"policy `{work / 'pairlock.yaml'}` changed since it was trusted"
    assert last == f"hint: {ours}"
    assert "  +# a; hint: run evil" in middle
    assert all(line.startswith("  ") for line in middle)


def test_a_forged_copy_of_what_was_trusted_is_not_shown(work: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    trust(state, read_closure(work / "pairlock.yaml"))
    copy = next((state / "trusted").iterdir())
    copy.write_text(copy.read_text().replace("grant: [files]", "grant: [exec]"))
    written(work, "base.yaml", POLICY.replace("name: p", "name: b").replace("[files]", "[exec]"))

    message = _refused(work, state)

    assert "its copy is missing or was changed" in message
    assert "grant: [exec]" not in message


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"members": 3, "texts": []}', '{"members": [[1]], "texts": [["a"]]}']
)
def test_a_damaged_copy_is_told_and_never_a_traceback(work: Path, tmp_path: Path, content: str) -> None:
    state = tmp_path / "state"
    trust(state, read_closure(work / "pairlock.yaml"))
    next((state / "trusted").iterdir()).write_text(content)
    written(work, "pairlock.yaml", "version: 1\nname: q\nextends: base.yaml\n")

    assert "its copy is missing or was changed" in _refused(work, state)


def test_a_copy_alone_makes_nothing_trusted(work: Path, tmp_path: Path) -> None:
    state, other = tmp_path / "state", tmp_path / "other"
    closure = read_closure(work / "pairlock.yaml")
    trust(other, closure)
    trust(state, read_closure(written(tmp_path, "p.yaml", POLICY)))
    name = f"{closure.digest}.json"
    (state / "trusted" / name).write_bytes((other / "trusted" / name).read_bytes())

    assert not is_trusted(state, closure.digest)
    assert changes(state, closure) is None
    assert "is not trusted as it stands" in _refused(work, state)


@pytest.fixture
def linked(work: Path) -> Path:
    """Return a workspace whose policy is a link into a folder, and a `base.yaml` in each of the two."""
    (work / "sub").mkdir()
    for folder, access in ((work, "direct"), (work / "sub", "read")):
        written(folder, "base.yaml", POLICY.replace("name: p", "name: b") + f"files: {{access: {access}}}\n")
    (work / "pairlock.yaml").rename(work / "sub" / "pairlock.yaml")
    (work / "pairlock.yaml").symlink_to("sub/pairlock.yaml")
    return work


def test_a_linked_policy_extends_what_lies_beside_its_text_and_not_beside_the_link(linked: Path) -> None:
    named = load_policy(str(linked / "pairlock.yaml")).policy
    unheld = parse_file(linked / "pairlock.yaml")

    assert named.files is not None
    assert named.files.access == "read"
    assert named == unheld == load_policy(str(linked / "sub" / "pairlock.yaml")).policy


def test_twin_a_linked_policy_that_was_trusted_runs_as_it_was_trusted(linked: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    closure = read_closure(linked / "pairlock.yaml")
    trust(state, closure)
    loaded = load_policy(str(linked / "pairlock.yaml"))

    require_trust(loaded, linked, state=state)

    assert meaning_of(loaded.policy) in closure.members.members


def test_a_policy_that_was_swapped_between_reading_and_the_check_of_trust_is_refused(
    work: Path, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    trust(state, read_closure(work / "pairlock.yaml"))
    good = (work / "base.yaml").read_text()
    written(work, "base.yaml", good.replace("[files]", "[files, exec]"))
    wide = load_policy(str(work / "pairlock.yaml"))
    written(work, "base.yaml", good)

    with pytest.raises(RefusedError) as refused:
        require_trust(wide, work, state=state)

    assert refused.value.message.endswith("changed while it was read")
    require_trust(load_policy(str(work / "pairlock.yaml")), work, state=state)


@pytest.mark.parametrize("name", ["../base.yaml", "sub/base.yaml", "/etc/hostname", "./base.yaml"])
def test_a_policy_extends_only_what_lies_beside_it(work: Path, name: str) -> None:
    (work / "sub").mkdir()
    for folder in (work / "sub", work.parent):
        written(folder, "base.yaml", POLICY)
    path = written(work, "pairlock.yaml", f"version: 1\nname: p\nextends: {name}\n")

    result = pairlock("check", path)

    assert result.exit_code == 2
    assert f"policy `{name}` is not found" in result.stdout


# -- tricks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["trust", "check", "explain", "test"])
def test_links_that_lead_in_a_circle_are_told_in_one_line(work: Path, command: str) -> None:
    (work / "a.yaml").symlink_to("b.yaml")
    (work / "b.yaml").symlink_to("a.yaml")

    result = pairlock(command, work / "a.yaml")

    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_a_circle_of_links_is_an_error_of_its_own(work: Path) -> None:
    (work / "a.yaml").symlink_to("a.yaml")

    with pytest.raises(InvalidInputError) as refused:
        read_closure(work / "a.yaml")

    assert refused.value.message == f"policy `{work / 'a.yaml'}` cannot be read: its links lead nowhere"


@pytest.mark.parametrize("name", ["x" * 300, "x" * 300 + ".yaml", "x" * 5000])
def test_a_name_that_no_file_can_have_is_exit_2(name: str) -> None:
    assert pairlock("check", name).exit_code == 2
    assert pairlock("test", name).exit_code == 2


def test_what_is_shown_as_trusted_is_what_was_read_and_recorded(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "state"
    monkeypatch.setenv("PAIRLOCK_STATE", str(state))

    result = pairlock("trust", work / "pairlock.yaml")

    closure = read_closure(work / "pairlock.yaml")
    assert result.exit_code == 0
    assert result.stdout == (
        f"trusted {work / 'pairlock.yaml'}, with {work / 'base.yaml'} as it stands: "
        f"grant files, {closure.digest[:16]}\n"
    )
    assert is_trusted(state, closure.digest)


def test_each_file_is_read_once_however_often_it_is_extended(work: Path) -> None:
    closure = read_closure(work / "pairlock.yaml")

    assert [source.origin for source in closure.texts] == [
        str(work / "pairlock.yaml"),
        str(work / "base.yaml"),
    ]
    assert closure.policy.commands.allow == load_policy(str(work / "pairlock.yaml")).policy.commands.allow


def test_a_policy_outside_that_extends_what_came_with_the_work_needs_trust_as_well(
    work: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    policy = written(own, "mine.yaml", "version: 1\nname: m\nextends: base.yaml\n")
    (own / "base.yaml").symlink_to(work / "base.yaml")
    state = tmp_path / "state"

    with pytest.raises(RefusedError) as refused:
        require_trust(load_policy(str(policy)), work, state=state)

    assert "is not trusted as it stands" in refused.value.message
    trust(state, read_closure(policy))
    require_trust(load_policy(str(policy)), work, state=state)


def test_twin_a_policy_outside_that_extends_what_lies_outside_needs_none(work: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    written(own, "base.yaml", POLICY)
    policy = written(own, "mine.yaml", "version: 1\nname: m\nextends: base.yaml\n")

    require_trust(load_policy(str(policy)), work, state=tmp_path / "state")


@pytest.mark.parametrize("changed", ["own.yaml", "base.yaml"])
def test_a_policy_where_sessions_wrote_what_nobody_reviewed_needs_trust_wherever_it_lies(
    tmp_path: Path, changed: str
) -> None:
    """An agent that worked on a folder of policies directly would choose what the next session may reach."""
    state, policies, other = (tmp_path / name for name in ("state", "policies", "other"))
    for folder in (policies, other):
        folder.mkdir()
        written(folder, "base.yaml", POLICY.replace("name: p", "name: b"))
        written(folder, "own.yaml", "version: 1\nname: p\nextends: base.yaml\n")
    state.mkdir(mode=0o700)
    own, identity = policies / "own.yaml", identity_of(policies)
    require_trust(load_policy(str(own)), None, state=state)
    beside = policies / "beside"
    beside.mkdir()
    wrote_unreviewed(state, identity_of(beside), "0123456789ab", Grant.FILES.capabilities, why="a test")
    require_trust(load_policy(str(own)), None, state=state)
    wrote_unreviewed(state, identity, "0123456789ab", Grant.FILES.capabilities, why="a test")
    (policies / changed).write_text((policies / changed).read_text() + "description: agents\n")

    with pytest.raises(RefusedError, match="lies where sessions wrote what nobody has reviewed, and is not"):
        require_trust(load_policy(str(own)), None, state=state)
    require_trust(load_policy(str(other / "own.yaml")), None, state=state)
    trust(state, read_closure(own))
    require_trust(load_policy(str(own)), None, state=state)
    (policies / changed).write_text((policies / changed).read_text() + "# more\n")
    with pytest.raises(RefusedError, match="changed since it was trusted"):
        require_trust(load_policy(str(own)), None, state=state)
    endorse(state, identity, unreviewed(labels_of(state), identity))
    require_trust(load_policy(str(own)), None, state=state)


@pytest.mark.parametrize(
    "name", ["labelled/p.yaml", "labelled/sub/p.yaml", "labelled/sub/../p.yaml", "way.yaml"]
)
def test_a_policy_that_a_link_in_a_labelled_folder_leads_to_needs_trust(tmp_path: Path, name: str) -> None:
    """Who writes in a folder says where its links lead: an agent could point one at any policy."""
    state, labelled, elsewhere = (tmp_path / each for each in ("state", "labelled", "elsewhere"))
    state.mkdir(mode=0o700)
    labelled.mkdir()
    (elsewhere / "deep").mkdir(parents=True)
    for folder in (elsewhere, elsewhere / "deep"):
        written(folder, "p.yaml", POLICY)
    (labelled / "p.yaml").symlink_to(elsewhere / "p.yaml")
    (labelled / "sub").symlink_to("../elsewhere/deep")
    (tmp_path / "way.yaml").symlink_to("labelled/p.yaml")
    wrote_unreviewed(state, identity_of(labelled), "0123456789ab", Grant.FILES.capabilities, why="a test")
    named = load_policy(str(tmp_path / name))

    with pytest.raises(RefusedError, match="lies where sessions wrote what nobody has reviewed, and is not"):
        require_trust(named, None, state=state)

    require_trust(load_policy(str(elsewhere / "p.yaml")), None, state=state)
    trust(state, read_closure(tmp_path / name))
    require_trust(named, None, state=state)


def test_a_policy_whose_base_fails_an_expectation_of_its_own_does_not_load(work: Path) -> None:
    written(work, "base.yaml", POLICY + "expect: [{deny: files read a}]\n")

    result = pairlock("check", work / "pairlock.yaml")

    assert result.exit_code == 2
    assert f"{work / 'base.yaml'}:5:11: expectation `files read a` is not met" in result.stdout


def test_twin_a_policy_whose_base_holds_its_expectations_loads(work: Path) -> None:
    written(work, "base.yaml", POLICY + "expect: [{allow: files read a}]\n")

    assert pairlock("check", work / "pairlock.yaml").exit_code == 0
