"""What `audit verify`, `proof` and `key` hold a ledger against, and what they say of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.agent_runner.audit.recording import OTHER, record, spoilt
from tests.audit import attacker
from tests.audit.samples import SESSION

if TYPE_CHECKING:
    from pathlib import Path

    from tests.agent_runner.audit.recording import Run


async def test_a_number_that_a_session_has_no_entry_of_is_wrong_usage(run: Run, state: Path) -> None:
    await record(state, SESSION, ("files", "read", "a"))

    code, out, err = run("proof", SESSION, "1000")

    assert (code, out) == (2, "")
    assert err.startswith("pairlock: the session has no entry `1000`\nhint: its entries are 0 to ")


def test_a_checkpoint_that_is_not_there_is_told_as_that(run: Run, tmp_path: Path) -> None:
    assert run("verify", "--against", str(tmp_path / "no")) == (
        2,
        "",
        f"pairlock: `{tmp_path}/no` is not there\nhint: a copy of the state folder's `checkpoint`\n",
    )


def test_all_is_verified_and_the_bad_one_named(recorded: Path, run: Run) -> None:
    assert run("verify", "--all")[0] == 0
    attacker.change_session(recorded, spoilt, recomputed=False)

    code, out, _ = run("verify", "--all", "--json")

    rows = {row["log"]: row for row in map(json.loads, out.splitlines())}
    assert code == 6
    assert (rows[OTHER]["verifies"], rows["host"]["verifies"]) == (True, True)
    assert (rows[SESSION]["bad"], rows[SESSION]["first_bad_entry"]) == (["integrity"], 4)
    assert run("verify", "--all", SESSION)[0] == 2


def test_a_checkpoint_kept_elsewhere_and_a_pinned_key_are_held(
    recorded: Path, run: Run, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    kept.write_bytes((recorded / "checkpoint").read_bytes())
    key = run("key", "show")[1].strip()

    code, out, _ = run("verify", SESSION, "--key", key, "--against", str(kept))

    assert code == 0
    assert "signed by the pinned key" in out
    assert "anchored through" in out
    assert run("verify", SESSION, "--against", str(tmp_path / "none"))[0] == 2
    assert run("verify", SESSION, "--key", "nonsense")[0] == 2


def test_a_proof_is_printed_and_one_of_nothing_is_not(recorded: Path, run: Run) -> None:
    code, out, _ = run("proof", SESSION, "1")

    assert code == 0
    assert json.loads(out)["seq"] == 1
    assert run("proof", SESSION, "999")[0] == 2


def test_keys_are_shown_rotated_and_pinned(recorded: Path, run: Run) -> None:
    before = run("key", "show")[1].strip()
    fresh = run("key", "rotate")[1].strip()

    assert run("key", "pin", before)[0] == 0
    assert before != fresh
    assert "signed by the pinned key" in run("verify", SESSION)[1]
    code, out, err = run("key", "pin", "nonsense")
    assert (code, out) == (2, "")
    assert "that is no public key" in err.splitlines()[0]
    assert "nonsense" not in err


def test_a_state_folder_that_others_can_write_is_told(recorded: Path, run: Run) -> None:
    assert "warning" not in run("verify", "--all")[2]
    recorded.chmod(0o777)

    code, _, err = run("verify", "--all")

    assert code == 0
    assert "warning" in err
    assert "mode 0777" in err


def test_a_body_is_withheld_and_old_entries_pruned_and_both_are_told(recorded: Path, run: Run) -> None:
    entry = json.loads(
        run("query", "type=action.finished", "--session", SESSION, "--json")[1].splitlines()[0]
    )
    digest = entry["body"]["body"]["digest"]

    code, out, _ = run("redact", SESSION, digest[:12], "--why", "asked for", "--json")
    gone = json.loads(run("prune", OTHER, "--why", "old", "--json")[1])

    assert (code, json.loads(out)) == (0, {"session": SESSION, "withheld": digest})
    assert gone["pruned"] > 5
    assert "1 withheld and accounted for" in run("verify", SESSION)[1]
    assert "deleted on purpose" in run("verify", OTHER)[1]
