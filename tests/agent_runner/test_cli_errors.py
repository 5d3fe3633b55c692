"""Bad input gets one clear line on stderr, a documented exit code, and never a traceback."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

CHECKOUT = Path(__file__).resolve().parents[2]
SCRIPT = "version: 1\nturns:\n  - actions: ['finish --status done']\n"
POLICY = "version: 1\nname: p\ngrant: [files]\ncommands: {allow: ['files *']}\n"


@dataclass
class Said:
    """What a command line came to."""

    code: int
    out: str
    err: str

    @property
    def first(self) -> str:
        """Return the first line that is an error."""
        return next(line for line in self.err.splitlines() if line.startswith("pairlock: "))


@dataclass
class Desk:
    """A folder with a policy, a script and a workspace, and pairlock beside it."""

    folder: Path

    def write(self, name: str, text: str) -> str:
        """Write a file and return its path."""
        path = self.folder / name
        path.write_text(text)
        return str(path)

    def pairlock(
        self, *arguments: str, preexec_fn: Callable[[], None] | None = None, **environment: str
    ) -> Said:
        """Run pairlock."""
        # No real engine is needed for any of these: a refused input never gets as far.
        base = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "PAIRLOCK_STATE": str(self.folder / "state"),
        }
        done = subprocess.run(
            [sys.executable, "-m", "agent_runner", *arguments],
            cwd=self.folder,
            env={**base, "PYTHONPATH": str(CHECKOUT), "DOCKER_HOST": "unix:///nowhere.sock", **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            stdin=subprocess.DEVNULL,
            preexec_fn=preexec_fn,
        )
        said = Said(done.returncode, done.stdout, done.stderr)
        assert "Traceback" not in said.err
        assert "fault of pairlock's own" not in said.err
        return said

    def run(
        self, *, policy: str = "p.yaml", workspace: str = "work", model: str = "scripted:s.yaml", **env: str
    ) -> Said:
        """Run a session."""
        return self.pairlock("run", "t", "-p", policy, "-w", workspace, "-m", model, **env)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """Return a desk on which everything is in order."""
    desk = Desk(tmp_path)
    desk.write("p.yaml", POLICY)
    desk.write("s.yaml", SCRIPT)
    (tmp_path / "work").mkdir()
    return desk


def test_no_engine_is_exit_4_and_says_how_to_start_one(desk: Desk) -> None:
    """B32: nothing runs without what holds it."""
    said = desk.run()

    assert said.code == 4
    assert said.first == "pairlock: no Docker engine answers at `unix:///nowhere.sock`"
    assert "hint: start it" in said.err


def test_an_engine_without_permission_is_exit_4_and_says_which_group(desk: Desk) -> None:
    if os.getuid() == 0:
        command = [
            "setpriv",
            "--reuid=65000",
            "--regid=65000",
            "--clear-groups",
            "/usr/bin/env",
            "python3",
            "-c",
        ]
        probe = "import socket; socket.socket(socket.AF_UNIX).connect('/var/run/docker.sock')"
        done = subprocess.run([*command, probe], capture_output=True, text=True, check=False)
        assert "PermissionError" in done.stderr or "FileNotFoundError" in done.stderr
    import requests

    from sandbox.docker_errors import ACCESS_HINT, unreachable
    from sandbox.errors import EnginePermissionError

    error = requests.ConnectionError("x", PermissionError(13, "denied"))

    found = unreachable("unix:///var/run/docker.sock", error)

    assert isinstance(found, EnginePermissionError)
    assert found.hint == ACCESS_HINT


def test_an_unknown_policy_is_exit_2_and_the_nearest_name_is_offered(desk: Desk) -> None:
    said = desk.run(policy="fix-test")

    assert (said.code, said.first) == (2, "pairlock: no policy `fix-test`")
    assert "did you mean `fix-tests`?" in said.err


def test_policy_check_tells_each_fault_in_one_line_whatever_is_wrong_with_the_file(desk: Desk) -> None:
    (desk.folder / "latin.yaml").write_bytes(b"name: \xe9\n")
    desk.write("typo.yaml", "version: 1\nname: p\ngrnat: [files]\n")

    said = desk.pairlock("policy", "check", "latin.yaml", "fix-test", "typo.yaml")

    assert said.code == 2
    assert said.out.splitlines() == [
        "latin.yaml:1:7: not UTF-8; hint: save it as UTF-8",
        "no policy `fix-test`; hint: did you mean `fix-tests`?",
        "typo.yaml:3:1: key `grnat` is not known; hint: did you mean `grant`?",
    ]


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("version: 1\nname: [p\n", ":", "expected"),
        ("version: 1\nname: p\ngrnat: [files]\n", ":3:1:", "did you mean `grant`?"),
        ("version: 1\nname: p\ngrant: files\n", ":3:8:", "list of capabilities"),
        ("version: 1\nname: p\nname: q\n", ":3:1:", "name"),
        ("version: 1\nname: p\ngrant: [files]\nfiles: {hide: 3}\n", ":4:", "hide"),
        ("version: 1\nname: p\ngrant: []\nfiles: {access: read}\n", ":4:1:", "files"),
    ],
    ids=[
        "syntax",
        "unknown key",
        "wrong type",
        "duplicate key",
        "wrong nested type",
        "block without capability",
    ],
)
def test_a_wrong_policy_is_exit_2_with_its_place(desk: Desk, text: str, place: str, words: str) -> None:
    path = desk.write("wrong.yaml", text)

    said = desk.run(policy=path)

    assert said.code == 2
    assert said.first.startswith(f"pairlock: {path}{place}")
    assert words in said.err


def test_all_three_capabilities_are_exit_3_with_three_ways_to_split(desk: Desk) -> None:
    path = desk.write("all.yaml", "version: 1\nname: p\ngrant: [files, network, exec]\n")

    said = desk.run(policy=path)

    assert said.code == 3
    assert all(f"  {number}. " in said.err for number in (1, 2, 3))
    assert not (desk.folder / "state").exists()


def test_a_policy_inside_the_workspace_is_exit_3_until_it_is_trusted(desk: Desk) -> None:
    inside = desk.folder / "work" / "pairlock.yaml"
    inside.write_text(POLICY)

    refused = desk.pairlock("run", "t", "-w", "work", "-m", "scripted:s.yaml")
    trusted = desk.pairlock("policy", "trust", str(inside))
    after = desk.pairlock("run", "t", "-w", "work", "-m", "scripted:s.yaml")
    inside.write_text(POLICY.replace("[files]", "[files, exec]"))
    changed = desk.pairlock("run", "t", "-w", "work", "-m", "scripted:s.yaml")

    assert refused.code == 3
    assert "is not trusted" in refused.err
    assert trusted.code == 0
    assert after.code == 4  # as far as the engine, which is not there
    assert changed.code == 3


def test_a_policy_that_nobody_named_is_exit_3_whatever_it_grants(desk: Desk) -> None:
    """A cloned repository without `files` in its grant runs programs of its author's all the same."""
    public = "exec: {programs: any, contents: public}\nnetwork: {allow: [{host: example.com}]}\n"
    grants = "version: 1\nname: p\ngrant: [network, exec]\ncommands: {allow: [run]}\n"
    desk.write("pairlock.yaml", grants + public)

    found = desk.pairlock("run", "t", "-m", "scripted:s.yaml")
    named = desk.pairlock("run", "t", "-p", "pairlock.yaml", "-m", "scripted:s.yaml")

    assert (found.code, "is not trusted" in found.err) == (3, True)
    assert named.code == 4  # as far as the engine: a person named it


def test_a_link_out_of_the_workspace_does_not_make_a_policy_trusted(desk: Desk) -> None:
    (desk.folder / "work" / "pairlock.yaml").symlink_to(desk.folder / "p.yaml")

    found = desk.pairlock("run", "t", "-w", "work", "-m", "scripted:s.yaml")
    named = desk.run(policy="work/pairlock.yaml")

    assert (found.code, named.code) == (3, 3)


def test_a_policy_elsewhere_in_the_workspace_s_repository_is_exit_3(desk: Desk) -> None:
    repository = desk.folder / "repository"
    (repository / ".git").mkdir(parents=True)
    (repository / "src").mkdir()
    (repository / "real.yaml").write_text(POLICY)

    said = desk.run(policy="repository/real.yaml", workspace="repository/src")

    assert said.code == 3


def test_a_folder_is_no_policy(desk: Desk) -> None:
    said = desk.run(policy="work/")

    assert (said.code, "is not a regular file" in said.err) == (2, True)


def test_a_policy_that_anybody_can_write_is_refused(desk: Desk) -> None:
    (desk.folder / "p.yaml").chmod(0o666)

    said = desk.run()

    assert said.code == 2
    assert "could have been written by somebody else" in said.err


@pytest.mark.parametrize(
    ("workspace", "words"),
    [
        ("missing", "does not exist"),
        ("p.yaml", "is a file"),
        ("/", "system folder"),
        (".", "home"),
        ("/etc", "system folder"),
        ("state-parent", "state folder"),
    ],
)
def test_a_wrong_workspace_is_exit_2(desk: Desk, workspace: str, words: str) -> None:
    (desk.folder / "state-parent").mkdir()
    state = desk.folder / "state-parent" / "state"

    said = desk.run(workspace=workspace, PAIRLOCK_STATE=str(state))

    assert said.code == 2
    assert words in said.err


def test_a_workspace_for_a_grant_without_files_is_exit_2(desk: Desk) -> None:
    path = desk.write("none.yaml", "version: 1\nname: p\ngrant: []\n")

    said = desk.run(policy=path)

    assert said.code == 2
    assert "would be ignored" in said.err


def test_no_model_is_exit_2_with_the_lines_that_configure_one(desk: Desk) -> None:
    said = desk.pairlock("run", "t", "-p", "p.yaml", "-w", "work")

    assert said.code == 2
    assert said.first == "pairlock: no model is configured"
    assert "    default: {backend: openai, base_url: 'http://127.0.0.1:8000/v1', model: NAME}" in said.err


@pytest.mark.parametrize(
    ("named", "hint"),
    [
        (("-m", "clade"), "did you mean `claude`?"),
        (("-m", "x"), "`--model` takes one of `claude`, `small`, or `scripted:FILE`"),
        ((), "`--model` takes one of `claude`, `small`, or `scripted:FILE`"),
    ],
)
def test_a_model_that_is_not_configured_is_told_beside_those_that_are(
    desk: Desk, named: tuple[str, ...], hint: str
) -> None:
    folder = desk.folder / ".config" / "pairlock"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(
        "version: 1\nmodels:\n  claude: {backend: scripted, script: s.yaml}\n"
        "  small: {backend: scripted, script: s.yaml}\n"
    )

    said = desk.pairlock("run", "t", "-p", "p.yaml", "-w", "work", *named)

    assert said.code == 2
    assert said.err.splitlines()[-1] == f"hint: {hint}"


def test_the_configured_default_model_is_used(desk: Desk) -> None:
    folder = desk.folder / ".config" / "pairlock"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(
        "version: 1\nmodels:\n  default: {backend: scripted, script: s.yaml}\n"
    )
    (folder / "s.yaml").write_text(SCRIPT)

    said = desk.pairlock("run", "t", "-p", "p.yaml", "-w", "work")

    assert said.code == 4  # as far as the engine


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("version: 1\nturns:\n  - actoins: [x]\n", ":3:5:"),
        ("version: 2\nturns: [{}]\n", ":1:1:"),
        ("turns: [\n", ":"),
        ("version: 1\nturns: []\n", ":2:1:"),
    ],
    ids=["unknown key", "version", "syntax", "empty"],
)
def test_a_wrong_script_is_exit_2_with_its_place(desk: Desk, text: str, place: str) -> None:
    path = desk.write("wrong.yaml", text)

    said = desk.run(model=f"scripted:{path}")

    assert said.code == 2
    assert said.first.startswith(f"pairlock: {path}{place}")


def test_every_fault_of_a_script_is_told_once_and_with_what_mends_it(desk: Desk) -> None:
    path = desk.write(
        "wrong.yaml",
        "version: 1\nturns:\n  - {texd: hi}\n  - actions: x\n"
        "  - actions: [{comand: x}, 3, {tool: t, argument: '{}'}]\n",
    )

    said = desk.run(model=f"scripted:{path}")

    assert said.code == 2
    assert said.err.splitlines() == [
        f"pairlock: {path}:3:6: key `texd` is not known in `turns.0`",
        "hint: did you mean `text`?",
        f"{path}:4:5: `turns.1.actions`: expected a list, as in `[one, two]`",
        f"{path}:5:16: key `comand` is not known in `turns.2.actions.0`",
        "hint: did you mean `command`?",
        f"{path}:5:28: `turns.2.actions.1`: expected a text",
        f"{path}:5:41: key `argument` is not known in `turns.2.actions.2`",
        "hint: did you mean `arguments`?",
    ]


def test_every_fault_of_the_configuration_is_told_with_what_mends_it_and_no_key(desk: Desk) -> None:
    folder = desk.folder / ".config" / "pairlock"
    folder.mkdir(parents=True)
    path = folder / "config.yaml"
    path.write_text(
        "version: 1\nmodels:\n  default: {backend: openai, model: m, base_ulr: x, key: sk-123}\n"
        "  c: {backend: openai, model: m, price: {input: 3, outptu: 3}}\ncredential: {}\n"
    )

    said = desk.pairlock("model", "list")

    assert said.code == 2
    assert said.err.splitlines() == [
        f"pairlock: {path}:3:40: key `base_ulr` is not known in `models.default`",
        "hint: did you mean `base_url`?",
        f"{path}:3:53: `models.default.key`: expected a block",
        "hint: its keys are `env`, `file`, `command`",
        f"{path}:4:52: key `outptu` is not known in `models.c.price`",
        "hint: did you mean `output`?",
        f"{path}:5:1: key `credential` is not known",
        "hint: did you mean `credentials`?",
    ]


def test_a_missing_script_is_exit_2(desk: Desk) -> None:
    said = desk.run(model="scripted:nowhere.yaml")

    assert (said.code, said.first) == (
        2,
        "pairlock: script `nowhere.yaml` cannot be read: no such file or directory",
    )


@pytest.mark.parametrize("given", ["../../x", "x" * 5000, "zz", "\u202e", "abcd"])
def test_an_id_that_is_none_is_exit_2(desk: Desk, given: str) -> None:
    said = desk.pairlock("audit", "show", given)

    assert said.code == 2
    assert len(said.first) < 400
    assert "\u202e" not in said.err


def test_a_state_folder_that_is_not_absolute_is_exit_2(desk: Desk) -> None:
    said = desk.run(PAIRLOCK_STATE="here")

    assert said.code == 2
    assert "expected an absolute path" in said.err


@pytest.mark.parametrize(
    ("command", "made"),
    [(("init", "fresh", "--yes"), "fresh/pairlock.yaml"), (("ci", "init", "fresh/t.yaml"), "fresh/t.yaml")],
)
def test_where_the_state_cannot_be_kept_nothing_is_begun_that_would_stand_in_the_way(
    desk: Desk, command: tuple[str, ...], made: str
) -> None:
    (desk.folder / "fresh").mkdir()

    said = desk.pairlock(*command, PAIRLOCK_STATE="/proc/none")  # as on a disk that is read-only or full
    again = desk.pairlock(*command)

    assert said.code == 6
    assert said.err == (
        "pairlock: state folder `/proc/none` cannot be made or written: no such file or directory\n"
        "hint: PAIRLOCK_STATE names another place for it\n"
    )
    assert again.code == 0, again.err
    assert (desk.folder / made).exists()


def test_a_run_that_cannot_keep_its_state_says_where(desk: Desk) -> None:
    said = desk.run(PAIRLOCK_STATE="/proc/none")

    assert said.code == 6
    assert "state folder `/proc/none` cannot be made or written: " in said.first


@pytest.mark.parametrize("state", ["plain", "plain/below"])
@pytest.mark.parametrize(
    "command", [("ps",), ("audit", "list"), ("audit", "query", "any~x"), ("show", "last")]
)
def test_a_state_folder_that_is_no_folder_is_not_taken_for_an_empty_one(
    desk: Desk, command: tuple[str, ...], state: str
) -> None:
    desk.write("plain", "")
    path = desk.folder / state

    said = desk.pairlock(*command, PAIRLOCK_STATE=str(path))

    assert said.code == 2
    assert said.first == f"pairlock: the state folder `{path}` is no folder"


def test_a_state_folder_that_is_not_there_yet_is_one_without_sessions(desk: Desk) -> None:
    said = desk.pairlock("audit", "list", PAIRLOCK_STATE=str(desk.folder / "not" / "yet"))

    assert (said.code, said.out) == (0, "")
    assert said.err == "no sessions yet\n"


def test_variables_of_our_own_sandbox_change_nothing_on_the_host(desk: Desk) -> None:
    """B43: a variable that says `already sandboxed` is believed by nobody."""
    plain = desk.run()

    fooled = desk.run(PAIRLOCK_SANDBOX="1", SANDBOX="docker", PAIRLOCK_UNSAFE="1", IS_SANDBOX="yes")

    assert (fooled.code, fooled.first) == (plain.code, plain.first)


def test_a_dot_env_in_the_workspace_is_never_loaded(desk: Desk) -> None:
    """B34: a repository's `.env` must not set what pairlock reads."""
    (desk.folder / "work" / ".env").write_text("DOCKER_HOST=unix:///elsewhere.sock\n")
    (desk.folder / ".env").write_text("DOCKER_HOST=unix:///elsewhere.sock\n")

    said = desk.run()

    assert "unix:///nowhere.sock" in said.first


def test_what_a_terminals_encoding_has_no_bytes_for_is_spelled_out(desk: Desk) -> None:
    """Of a task in letters beyond Latin-1 `show` told nothing, with a fault of pairlock's own."""
    policy, script = desk.write("p.yaml", POLICY), desk.write("s.yaml", SCRIPT)
    run = ("run", "mend 漢字", "-p", policy, "-w", str(desk.folder / "work"), "-m", f"scripted:{script}")

    ran = desk.pairlock(*run, PYTHONIOENCODING="latin-1")
    shown = desk.pairlock("show", "last", PYTHONIOENCODING="latin-1")
    whole = desk.pairlock("show", "last", PYTHONIOENCODING="utf-8")

    assert (ran.code, shown.code, whole.code) == (4, 0, 0)
    assert "task     mend \\u6f22\\u5b57" in shown.out.splitlines()
    assert "task     mend 漢字" in whole.out.splitlines()


def test_a_machine_that_gives_no_more_threads_is_told_as_what_it_is(desk: Desk) -> None:
    """A stack that no address space holds stands for a limit on processes, which does not bind root."""
    words = ["run", "t", "-p", desk.write("p.yaml", POLICY), "-w", str(desk.folder / "work")]
    words += ["-m", f"scripted:{desk.write('s.yaml', SCRIPT)}"]
    limits = {resource.RLIMIT_STACK: 4 << 30, resource.RLIMIT_AS: 2 << 30}

    def bounded() -> None:
        for limit, most in limits.items():
            resource.setrlimit(limit, (most, resource.getrlimit(limit)[1]))

    short, plain = desk.pairlock(*words, preexec_fn=bounded), desk.pairlock(*words)

    assert (short.code, short.first) == (1, "pairlock: this machine gives no more threads")
    assert plain.code == 4
