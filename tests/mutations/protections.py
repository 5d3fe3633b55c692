"""Remove one protection at a time in a copy of the sources, run tests, and print which went red.

Run it with `python -m tests.mutations.protections [NAME …]`; it prints the table of docs/isolation.md and
exits 1 when no test noticed that a protection was gone. Each takes up to a minute, most of it in containers.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
COPIED = ("policies", "audit", "sandbox", "cli_tools", "agent_runner", "tests", "docs", "pyproject.toml")
PURE = (
    "tests/sandbox/test_spec.py",
    "tests/sandbox/test_seccomp.py",
    "tests/sandbox/guest/test_guest_syscalls.py",
)
LIVE = (
    "tests/sandbox/probing/test_battery_in_containers.py::test_nothing_gets_through[files]",
    "tests/sandbox/test_attest_changed.py::test_what_was_asked_for_is_attested[none]",
)
REQUEST, SPEC, PROFILE = "sandbox/docker_request.py", "sandbox/spec.py", "sandbox/seccomp.py"
FILTER, NUMBERS, LOCK = "sandbox/guest/bpf.py", "sandbox/guest/syscalls.py", "sandbox/guest/lockdown.py"
ALL = (*PURE, *LIVE)
BOUND = ("tests/sandbox/test_seccomp.py", "tests/attacks/test_kernel_sockets.py", "-k", "not runsc")
CHANGED = ("tests/sandbox/test_attest_changed.py", "-k", "root or device or LD_PRELOAD or swap")
COMPARED = ("tests/sandbox/test_docker_request.py", *CHANGED[:1], "-k", "future or device or resolver")
DETOURS = (*PURE, "tests/attacks/test_guest_containers.py", "-k", "detour or priority or owner")
ABIS = (*PURE, "tests/attacks/test_kernel_calls.py", "-k", "abi or syscalls or seccomp or 32_bit")


@dataclass(frozen=True, slots=True)
class Removal:
    """One protection, and the edit that takes it away."""

    name: str
    file: str
    old: str
    """Text of the file; its first occurrence is replaced."""
    new: str
    tests: tuple[str, ...] = ALL


REMOVALS = (
    Removal("capabilities dropped", REQUEST, '"CapDrop": ["ALL"]', '"CapDrop": []'),
    Removal("no new privileges", REQUEST, '"no-new-privileges:true", f"seccomp', 'f"seccomp'),
    Removal("read-only root", REQUEST, '"ReadonlyRootfs": True', '"ReadonlyRootfs": False'),
    Removal("network namespace", REQUEST, '"NetworkMode": "none"', '"NetworkMode": "host"'),
    Removal("IPC namespace", REQUEST, '"IpcMode": "none"', '"IpcMode": "host"'),
    Removal("masked paths", REQUEST, "list(spec.masked_paths)", "[]"),
    Removal("process limit", REQUEST, '"PidsLimit": spec.processes', '"PidsLimit": 0'),
    Removal("memory limit", SPEC, "return limits.memory_bytes + held", "return (1 << 34) + held"),
    Removal("limits of processes", SPEC, "{**PROCESS_LIMITS, ", "{"),
    Removal("noexec on the scratch", SPEC, 'executable else "noexec"', 'executable else "exec"'),
    Removal("number of files of the scratch", SPEC, ",nr_inodes={files},", ","),
    Removal("never gid 0", SPEC, "if self.uid <= 0 or self.gid <= 0:", "if self.uid <= 0:"),
    Removal("environment blanked", SPEC, "cleared = {*image_names, *guest.cleared}", "cleared = set[str]()"),
    Removal("declared volumes covered", SPEC, "volumes_to_cover(image.volumes, ours)", "()"),
    Removal("pairs only beside a bound folder", SPEC, "not isinstance(workspace, BindMount)", "True", BOUND),
    Removal("profile: refuses what it does not name", PROFILE, '"SCMP_ACT_ERRNO",', '"SCMP_ACT_ALLOW",'),
    Removal("profile: namespaces by clone", PROFILE, "Final = 0x7E020000", "Final = 0"),
    Removal("profile: TCP and UDP only", PROFILE, "(1, (0, 6))", "(1, (0, 6, 132, 262))"),
    Removal("guest's filter: execve", NUMBERS, 'EXEC = ("execve", ', "EXEC = ("),
    Removal("guest's filter: signals to PID 1", NUMBERS, 'SIGNALS = (\n    "kill", ', "SIGNALS = ("),
    Removal("guest's filter: priorities", NUMBERS, '{"setpriority": 2, "ioprio_set": 3}', "{}", DETOURS),
    Removal("guest's filter: owners of descriptors", FILTER, "1, _owners(), ALLOW", "1, (), ALLOW", DETOURS),
    Removal("guest's filter: other ABIs", FILTER, "0, KILL_PROCESS)", "0, ALLOW)", ABIS),
    Removal("guest's filter at all", LOCK, "        _install(bpf.assemble", "        bool(bpf.assemble"),
    Removal("guest not dumpable", LOCK, "PR_SET_DUMPABLE, 0", "PR_SET_DUMPABLE, 1"),
    Removal("attestation's verdict", "sandbox/attest.py", "if not all(piece.holds for piece in seen):",
            "if not seen:", CHANGED),
    Removal("closed comparison with inspect", "sandbox/docker_compare.py", "sorted({*expected, *observed}):",
            "sorted(expected):", COMPARED),
)  # fmt: skip


def red(removal: Removal) -> list[str]:
    """Return the names of the tests that fail without a protection."""
    with tempfile.TemporaryDirectory(prefix="pairlock-mutation-") as folder:
        copy = Path(folder)
        for name in COPIED:
            source = ROOT / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, copy / name)
        file = copy / removal.file
        text = file.read_text("utf-8")
        if removal.old not in text:
            raise SystemExit(f"`{removal.name}`: `{removal.old}` is not in `{removal.file}` any more")
        file.write_text(text.replace(removal.old, removal.new, 1), "utf-8")
        ran = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly",
             "-m", "not long", *removal.tests],
            cwd=copy, capture_output=True, check=False, text=True,
        )  # fmt: skip
    if ran.returncode not in (0, 1):
        raise SystemExit(f"`{removal.name}`: pytest ended with {ran.returncode}\n{ran.stdout[-2000:]}")
    return re.findall(r"^(?:FAILED|ERROR) (\S+)", ran.stdout, re.MULTILINE)


def print_red(removals: tuple[Removal, ...], names: list[str]) -> int:
    """Print a row for each removal, or for those that are named, and return 1 when one went unnoticed."""
    unnoticed = 0
    sys.stdout.write("| removed | red | which |\n| --- | --- | --- |\n")
    for removal in removals:
        if names and removal.name not in names:
            continue
        failed = red(removal)
        unnoticed += not failed
        tests = sorted({name.split("::")[-1].split("[")[0] for name in failed})
        which = ", ".join(f"`{test}`" for test in tests)
        sys.stdout.write(f"| {removal.name} | {len(failed)} | {which} |\n")
        sys.stdout.flush()
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(print_red(REMOVALS, sys.argv[1:]))
