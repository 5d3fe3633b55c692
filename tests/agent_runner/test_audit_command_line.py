"""The audit group from the command line: every command, its JSON, its exit codes, hostile content in each."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING

import pytest

from agent_runner.cli.main import main
from audit import compare
from audit.event import ActionIntended, MessageAdded, ModelAnswered, SessionOpened
from audit.fields import Reason, ToolCall
from audit.journal import Journal, Registration
from tests.audit import attacker
from tests.audit.samples import SECRET, SESSION, Samples

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., tuple[int, str, str]]

OTHER = "zzzzzzzzzzzz"
HOSTILE = "a\x1b[2J\u202e\ud800\r\nb\x9b31m"
SHOWN = "a\\x1b[2J\\u202e\\ud800\\r\\nb\\x9b31m"
POLICY = "version: 1\nname: p\ngrant: [files]\ncommands:\n  allow: [files read]\n"


@pytest.fixture
def run(state: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> Run:
    """Run pairlock in this process and return its exit code, stdout and stderr."""
    monkeypatch.setenv("PAIRLOCK_STATE", str(state))

    def pairlock(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["pairlock", "audit", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        out, err = capsysbinary.readouterr()
        assert b"Traceback" not in err
        return int(left.value.code or 0), out.decode(), err.decode()

    return pairlock


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Return where the sessions are."""
    return tmp_path / "state"


async def test_a_query_that_finds_nothing_says_so_and_which_field_there_is_none_of(
    run: Run, state: Path
) -> None:
    await record(state, SESSION, ("files", "read", "a"))

    assert run("query", "argv=nothing", "evidence.check=x", "any=x") == (0, "", "no entry fits\n")
    assert run("query", "agrv~files") == (
        0,
        "",
        "no entry fits\nhint: no kind of entry has a field `agrv`; `pairlock audit schema` has them all\n",
    )


async def test_a_query_for_a_type_that_there_is_not_names_the_nearest(run: Run, state: Path) -> None:
    await record(state, SESSION, ("files", "read", "a"))

    assert run("query", "type=action.intnded") == (
        0,
        "",
        "no entry fits\nhint: no entry is of the type `action.intnded`; did you mean `action.intended`?\n",
    )
    assert run("query", "type=limit.hit") == (0, "", "no entry fits\n")
    assert run("query", "type~intnded") == (0, "", "no entry fits\n")


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


async def record(state: Path, session: str, *actions: tuple[str, ...], denied: str = "") -> None:
    """Record a session in which a model proposed these command lines."""
    samples = Samples()
    samples.session = session
    journal = Journal.create(
        state, session, registration=Registration(grant="files"), secrets_by_name={"token": SECRET}
    )
    async with journal:
        await journal.record(samples.opened(journal.commit("mend the tests")))
        for number, argv in enumerate(actions):
            await journal.record(_reply(number, argv))
            await journal.record(_intended(session, number, argv, denied=denied))
            if argv[1] != denied:
                await journal.record(samples.finished(number, journal.commit(f"output of {number}")))
        await journal.close(samples.closed())


def _reply(number: int, argv: tuple[str, ...]) -> ModelAnswered:
    call = ToolCall(call=f"c{number}", name="", arguments=" ".join(f"'{word}'" for word in argv))
    return ModelAnswered(
        turn=number,
        backend="scripted",
        model="m",
        text=None,
        tool_calls=(call,),
        input_tokens=9,
        output_tokens=1,
        cached_tokens=3,
        duration_ms=1,
    )


def _intended(session: str, number: int, argv: tuple[str, ...], *, denied: str) -> ActionIntended:
    refused = argv[1] == denied
    return ActionIntended(
        action=f"{session}/{number}",
        argv=argv,
        command=" ".join(argv[:2]),
        arguments={"path": argv[-1]},
        verdict="denied" if refused else "allowed",
        reasons=(Reason(code="command", message="it is not allowed"),) if refused else (),
        call=f"c{number}",
    )


def spoilt(lines: list[bytes]) -> list[bytes]:
    """Change the fifth entry, an outcome, and leave the rest as it is."""
    return [*lines[:4], lines[4].replace(b'"exit_code":0', b'"exit_code":1'), *lines[5:]]


READ, WRITE = ("files", "read", "src/app.py"), ("files", "write", "a.txt", "--content", "x")


@pytest.fixture
async def recorded(state: Path) -> Path:
    """Return the state with two sessions, of which the second was denied its writing."""
    await record(state, SESSION, READ, ("files", "remove", HOSTILE.replace("\ud800", "")))
    await record(state, OTHER, READ, WRITE, denied="write")
    return state


def test_sessions_are_listed(recorded: Path, run: Run) -> None:
    code, out, _ = run("list")
    _, rows, _ = run("list", "--json")

    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == [SESSION, OTHER]
    assert [json.loads(row)["status"] for row in rows.splitlines()] == ["done", "done"]


def test_a_session_is_shown_one_line_an_entry_and_a_reason_below(recorded: Path, run: Run) -> None:
    code, out, _ = run("show", OTHER[:6])

    assert code == 0
    lines = out.splitlines()
    denied = next(place for place, line in enumerate(lines) if "denied" in line)
    assert lines[denied].endswith("denied  files write a.txt --content x")
    assert lines[denied + 1].strip() == "command: it is not allowed"


async def test_nothing_that_is_shown_acts_on_a_terminal(state: Path, run: Run) -> None:
    """In each field, and in the entry's own type and times, as a forged log could have them."""
    samples = Samples()
    async with Journal.create(state, SESSION, registration=Registration(grant="files")) as journal:
        opened = samples.opened(journal.commit(HOSTILE)).model_dump()
        hostile = {"policy_origin": HOSTILE, "workspace": HOSTILE, "model": HOSTILE, "backend": HOSTILE}
        await journal.record(SessionOpened(**{**opened, "task": journal.commit(HOSTILE), **hostile}))
        await journal.record(samples.intended(1, text=HOSTILE))
        await journal.record(MessageAdded(role="user", content=journal.commit(HOSTILE), call=HOSTILE))
    attacker.change_session(state, _forged_type, recomputed=True)

    for arguments in (("show",), ("tail",), ("query", "seq!=0"), ("list",)):
        _, out, err = run(*arguments)
        assert not {char for char in out + err if char != "\n" and not char.isprintable()}
    assert SHOWN in run("show")[1]


def _forged_type(lines: list[bytes]) -> list[bytes]:
    return [line.replace(b'"type":"message.added"', b'"type":"x\\u001b[2J"') for line in lines]


def test_a_broken_entry_is_shown_as_one_and_is_exit_6(recorded: Path, run: Run) -> None:
    attacker.change_session(recorded, spoilt, recomputed=False)

    for arguments in (("show", SESSION), ("tail", SESSION), ("query", "--session", SESSION, "type~o")):
        code, out, err = run(*arguments)
        assert code == 6
        assert "does not hold" in out
        assert f"of `{SESSION}` does not hold" in err
        assert "broken" in run(*arguments, "--json")[1].splitlines()[-1]


def test_a_tail_that_was_cut_off_is_told_by_whoever_shows_a_session(recorded: Path, run: Run) -> None:
    asked = (("show", SESSION), ("tail", SESSION), ("query", "--session", SESSION, "type~o"))
    assert [run(*arguments)[0] for arguments in asked] == [0] * 3
    attacker.change_session(recorded, lambda lines: lines[:5], recomputed=False)

    for arguments in asked:
        code, _, err = run(*arguments)
        assert code == 6
        assert f"entry 5 of `{SESSION}` does not hold: the log ends here" in err


def test_a_bundle_without_what_signs_it_is_refused_and_leaves_no_file(
    recorded: Path, run: Run, tmp_path: Path
) -> None:
    (recorded / "host.vkey").unlink()

    code, _, err = run("export", SESSION, "-o", str(tmp_path / "b.tar.gz"))

    assert (code, "there is no `host.vkey`" in err) == (6, True)
    assert not (tmp_path / "b.tar.gz").exists()


def test_a_query_filters_and_says_of_which_session_each_entry_is(recorded: Path, run: Run) -> None:
    code, out, _ = run("query", "type=action.intended", "verdict=deny")
    _, rows, _ = run("query", "argv~src/app.py", "--since", "1h", "--json")
    _, one, _ = run("query", "argv~src/app.py", "--session", OTHER, "--json")

    assert code == 0
    assert out.splitlines()[0] == f"session {OTHER}"
    assert "files write a.txt" in out
    assert [json.loads(row)["session"] for row in rows.splitlines()] == [SESSION, OTHER]
    assert [json.loads(row)["session"] for row in one.splitlines()] == [OTHER]
    assert run("query", "verdict")[0] == 2
    assert run("query", "--since", "yesterday")[0] == 2


async def test_where_a_secret_was_used_is_asked_on_stdin(
    state: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    await record(state, SESSION, READ, ("files", "read", SECRET))
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{SECRET}\n"))

    code, out, err = run("query", "--secret-stdin", "--json")

    assert code == 0
    assert SECRET not in out + err
    assert [json.loads(row)["type"] for row in out.splitlines()] == ["model.answered", "action.intended"]


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


@pytest.mark.parametrize("form", ["csv", "json", "markdown", "ocsf", "otlp"])
def test_each_view_goes_to_stdout_or_to_a_new_private_file(
    recorded: Path, run: Run, tmp_path: Path, form: str
) -> None:
    code, out, _ = run("export", SESSION, "--format", form)
    again, nothing, _ = run("export", SESSION, "--format", form, "-o", str(tmp_path / "x"))

    assert (code, again, nothing) == (0, 0, "")
    assert out == (tmp_path / "x").read_bytes().decode()
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o600
    assert run("export", SESSION, "--format", form, "-o", str(tmp_path / "x"))[0] == 2
    assert "\x1b" not in out
    if form == "csv":
        assert len(list(csv.reader(io.StringIO(out)))) > 5
    elif form != "markdown":
        assert all(json.loads(line) for line in out.splitlines())


def test_a_bundle_verifies_elsewhere(recorded: Path, run: Run, tmp_path: Path) -> None:
    code, _, err = run("export", SESSION, "-o", str(tmp_path / "b.tar.gz"))
    with tarfile.open(tmp_path / "b.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    script = [sys.executable, "-I", "-S", str(tmp_path / "bundle/verify.py")]
    verified = subprocess.run(script, check=False, capture_output=True, text=True)

    assert (code, verified.returncode) == (0, 0)
    assert "python3 bundle/verify.py" in err
    assert run("export", SESSION)[0] == 2
    assert run("export", SESSION, "-f", "csv", "--without-bodies")[0] == 2


def test_what_shows_a_broken_ledger_says_so_and_is_exit_6(recorded: Path, run: Run, tmp_path: Path) -> None:
    attacker.change_session(recorded, spoilt, recomputed=False)

    code, _, err = run("export", SESSION, "-f", "json", "-o", str(tmp_path / "x"))

    assert code == 6
    assert "does not hold" in err
    assert "broken" in (tmp_path / "x").read_text().splitlines()[-1]


def test_two_sessions_are_compared(recorded: Path, run: Run) -> None:
    code, out, _ = run("diff", SESSION, OTHER)
    _, rows, _ = run("diff", SESSION, OTHER, "--json")

    assert code == 1
    assert [line[0] for line in out.splitlines()] == ["-", "+"]
    assert "denied (command)  files write" in out
    assert json.loads(rows.splitlines()[1])["second"]["verdict"] == "denied"
    assert run("diff", SESSION, SESSION)[:2] == (0, "")


def test_rows_of_a_comparison_end_with_what_is_broken(
    recorded: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was told before stays: a program sees in the last row that it is not all."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    asked = (("diff", SESSION, OTHER, "--json"), ("replay", SESSION, "--policy", str(policy), "--json"))
    monkeypatch.setattr(compare, "_MOST_HELD", 1)
    whole = [run(*arguments) for arguments in asked]
    attacker.change_session(recorded, lambda lines: [*lines[:-1], b" " + lines[-1]], recomputed=False)

    told = [run(*arguments) for arguments in asked]

    for (_, before, _), (code, out, err) in zip(whole, told, strict=True):
        *rows, last = out.splitlines()
        broken = json.loads(last)
        assert code == 6
        assert broken.keys() == {"broken"}
        assert f"pairlock: {broken['broken']}\n" in err
        assert rows
        assert before.splitlines()[: len(rows)] == rows
        assert "broken" not in before


def test_another_policy_is_asked_and_the_place_where_the_two_part_is_shown(
    recorded: Path, run: Run, tmp_path: Path
) -> None:
    strict, lax = tmp_path / "strict.yaml", tmp_path / "lax.yaml"
    strict.write_text(POLICY)
    lax.write_text(POLICY.replace("[files read]", "['files *']"))

    code, out, err = run("replay", OTHER, "--policy", str(strict))
    other, rows, _ = run("replay", OTHER, "--policy", str(lax), "--json")

    assert (code, other) == (0, 1)
    assert [line.split()[1] for line in out.splitlines()] == ["allowed", "denied"]
    assert "2 decisions, every one as it was" in err
    first, second = map(json.loads, rows.splitlines())
    assert (first["parts"], second["parts"]) == (False, True)
    assert (second["recorded"]["verdict"], second["now"]["verdict"]) == ("denied", "allowed")
    assert not second["without_content"]
    shown = run("replay", OTHER, "--policy", str(lax))[1].splitlines()
    assert shown[1].startswith("--- here the two part")
    assert run("replay", OTHER, "--policy", "nowhere")[0] == 2


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


def test_the_schema_is_json(run: Run) -> None:
    code, out, _ = run("schema")

    assert code == 0
    assert json.loads(out)["oneOf"]


def test_keys_are_shown_rotated_and_pinned(recorded: Path, run: Run) -> None:
    before = run("key", "show")[1].strip()
    fresh = run("key", "rotate")[1].strip()

    assert run("key", "pin", before)[0] == 0
    assert before != fresh
    assert "signed by the pinned key" in run("verify", SESSION)[1]
    code, out, err = run("key", "pin", "nonsense")
    assert (code, out) == (2, "")
    assert "`nonsense`: a key is spelled `name+id+base64`" in err.splitlines()[0]


def _link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("change", [_link, _pipe])
def test_a_log_that_is_no_file_is_broken_and_hides_no_other(
    recorded: Path, run: Run, change: Callable[[Path], None]
) -> None:
    """A link in a log's place could show any file, and a pipe could keep a reader waiting for ever."""
    change(recorded / "sessions" / SESSION / "events.jsonl")

    code, out, _ = run("verify", "--all", "--json")

    rows = {row["log"]: row for row in map(json.loads, out.splitlines())}
    assert code == 6
    assert (rows[OTHER]["verifies"], rows[SESSION]["first_bad_entry"]) == (True, 0)
    for arguments in (("show", SESSION), ("tail", SESSION), ("query", "--session", SESSION, "seq=1")):
        assert run(*arguments)[0] == 6
    for arguments in (("export", SESSION, "-f", "csv"), ("proof", SESSION, "1"), ("diff", SESSION, OTHER)):
        assert run(*arguments)[0] == 6
    assert "broken" in run("list")[1].splitlines()[0]


def _spoil_the_first(lines: list[bytes]) -> list[bytes]:
    return [b" " + lines[0], *lines[1:]]


def _spoil_the_last(lines: list[bytes]) -> list[bytes]:
    return [*lines[:-1], b" " + lines[-1]]


@pytest.mark.parametrize(("spoil", "shown"), [(_spoil_the_first, False), (_spoil_the_last, True)])
def test_what_no_hosts_log_vouches_for_is_shown_and_not_believed(
    recorded: Path, run: Run, spoil: Callable[[list[bytes]], list[bytes]], *, shown: bool
) -> None:
    """With the host's log made useless, a session of any other machine could lie in this one's place."""
    asked = (
        ("show", SESSION),
        ("tail", SESSION),
        ("query", "--session", SESSION, "seq=1"),
        ("query", "seq=1"),
        ("export", SESSION, "-f", "csv"),
        ("diff", SESSION, SESSION),
    )
    assert [run(*arguments)[0] for arguments in asked] == [0] * 6
    log = recorded / "ledger.jsonl"
    log.write_bytes(b"".join(spoil(log.read_bytes().splitlines(keepends=True))))

    for arguments in asked:
        code, _, err = run(*arguments)
        assert (code, "the host's log does not hold" in err) == (6, True), (arguments, err)
    assert ("session.opened" in run("show", SESSION)[1]) is shown


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("change", [_link, _pipe, _folder])
def test_bodies_that_lie_in_no_file_are_a_fault_and_hide_no_other(
    recorded: Path, run: Run, change: Callable[[Path], None]
) -> None:
    """What stands behind commitments is held as strictly to be a file as the log itself."""
    change(recorded / "sessions" / SESSION / "openings.jsonl")

    code, out, err = run("verify", "--all", "--json")

    rows = {row["log"]: row for row in map(json.loads, out.splitlines())}
    assert (code, err) == (6, "")
    assert (rows[OTHER]["verifies"], rows[SESSION]["bad"]) == (True, ["disclosure"])


def test_a_state_folder_that_others_can_write_is_told(recorded: Path, run: Run) -> None:
    assert "warning" not in run("verify", "--all")[2]
    recorded.chmod(0o777)

    code, _, err = run("verify", "--all")

    assert code == 0
    assert "warning" in err
    assert "mode 0777" in err


@pytest.mark.parametrize("form", ["bundle", "csv"])
@pytest.mark.parametrize("taken", ["folder", "fifo", "link", "file", "nowhere/session"])
def test_an_export_goes_into_a_new_file_or_nowhere(
    recorded: Path, run: Run, tmp_path: Path, form: str, taken: str
) -> None:
    """Not onto what is there, through no link, into no pipe that would wait for a reader."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "file").write_text("kept")

    code, out, err = run("export", SESSION, "--format", form, "--output", str(tmp_path / taken))
    fresh, _, _ = run("export", SESSION, "--format", form, "--output", str(tmp_path / "fresh"))

    why = "its folder is not there" if taken.startswith("nowhere") else "exists already"
    assert (code, out, len(err.splitlines())) == (2, "", 2)
    assert why in err
    assert (fresh, (tmp_path / "fresh").stat().st_mode & 0o777) == (0, 0o600)
    assert ((tmp_path / "file").read_text(), (tmp_path / "elsewhere").exists()) == ("kept", False)
    assert recorded.is_dir()
