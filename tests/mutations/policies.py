"""Change one thing at a time in what decides, run the tests that reach it, and say what none of them noticed.

`scripts/mutation.sh` calls it in a copy of the tree, with mutmut, which makes the changes: every mutant of
a module stands in it at once, and a variable says which one holds. Tests are collected once; each mutant is
tried in a fork of that process, the tests that noticed its neighbours first, up to the first that fails. What
a fork cannot see (values that were made while collecting) is tried again in a process of its own: `--alone`.
"""

from __future__ import annotations

import argparse
import functools
import gc
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from mutmut.mutation.file_mutation import mutate_file_contents
from mutmut.mutation.trampoline import set_mutant_under_test
from mutmut.state import state

if TYPE_CHECKING:
    from collections.abc import Iterator

MODULES = (
    *("join", "meeting", "join_network", "join_commands", "decide", "grant", "lineage", "path_reasons"),
    *("commands", "globs", "origin", "urls", "hosts", "egress", "sinks", "network_block", "files_block"),
)
CONTROL = "policies.grant.x_nothing__mutmut_0"  # no mutant at all: it has to survive
OWN = {  # module -> words in the names of the files that are about it: tried before others
    "decide": ("decide", "reasons"),
    "path_reasons": ("reasons", "paths"),
    "origin": ("reasons", "origin", "sinks"),
    "egress": ("reasons", "paths_and_requests"),
    "commands": ("patterns", "names_and_reasons"),
    "globs": ("globs", "names_and_reasons"),
    "urls": ("urls", "patterns", "names_and_reasons"),
    "hosts": ("hosts", "names_and_reasons"),
    "sinks": ("sinks", "origin"),
    "files_block": ("paths", "decide"),
    "network_block": ("paths_and_requests", "joined_origins"),
}
RESULTS = Path("results.jsonl")
REACHED = Path("reached.json")  # test -> its seconds, and the functions that it calls
CACHED = ("globs", "urls", "commands", "hosts", "files_block")  # what the package keeps rests on these
MOST_KILLERS = 20  # tests that noticed a mutant of the same function or module: tried first
CPU_SECONDS = 120  # of one mutant: an endless loop is noticed


def mutate(root: Path) -> list[str]:
    """Put every mutant into the modules below a folder; return their names, in the modules' order."""
    names: list[str] = []
    for module in MODULES:
        file = root / "policies" / f"{module}.py"
        made = mutate_file_contents(str(file), file.read_text(), None)
        file.write_text(made.code)
        names += [f"policies.{module}.{name}" for name in made.mutant_names]
    return names


def function_of(mutant: str) -> str:
    """Return the name under which a mutant's function is recorded."""
    return mutant.rpartition("__mutmut_")[0]


def forget() -> None:
    """Empty every cache: what the code as it is has computed says nothing of a mutant."""
    for found in gc.get_objects():
        kept = (
            isinstance(found, functools._lru_cache_wrapper) and found.__module__ != "policies.public_suffixes"
        )
        if kept and found.__module__.startswith("policies"):
            found.cache_clear()


class Mutants:
    """A pytest plugin: find which tests reach which function, then try each mutant in a fork."""

    def __init__(self, names: list[str], *, children: int, most_seconds: float, again: bool) -> None:
        self.names, self.children, self.most_seconds = names, children, most_seconds
        self.again = again
        self.failed = False
        self.seconds: dict[str, float] = {}
        self.reaching: dict[str, list[pytest.Item]] = {}
        self.killers: dict[str, list[str]] = {}
        self.running: dict[int, tuple[str, float]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember whether a test failed."""
        self.failed |= report.failed

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Try every mutant, instead of running the tests once."""
        self._reach(session)
        done = set() if self.again else {found["mutant"] for found in results()}
        for name in [CONTROL, *self.names]:
            if name in done:
                continue
            while len(self.running) >= self.children:
                self._reap()
            self._start(name)
        while self.running:
            self._reap()
        return True

    def _run(self, item: pytest.Item) -> bool:
        self.failed = False
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
        return not self.failed

    def _reach(self, session: pytest.Session) -> None:
        known = json.loads(REACHED.read_text()) if REACHED.exists() else {}
        os.environ["MUTANT_UNDER_TEST"] = "stats"
        for item in session.items:
            if item.nodeid not in known:
                state()._stats.clear()
                before = time.process_time()
                held = self._run(item)
                seconds = time.process_time() - before if held else None
                known[item.nodeid] = seconds, sorted(state()._stats)
        REACHED.write_text(json.dumps(known))
        for item in session.items:
            seconds, functions = known[item.nodeid]
            if seconds is None:
                sys.stdout.write(f"left out, it fails without a mutant: {item.nodeid}\n")
                continue
            self.seconds[item.nodeid] = seconds
            for function in functions:
                self.reaching.setdefault(function, []).append(item)
        for items in self.reaching.values():
            items.sort(key=lambda item: self.seconds[item.nodeid])
        os.environ["MUTANT_UNDER_TEST"] = ""
        gc.disable()
        gc.freeze()

    def _tests_of(self, name: str) -> list[pytest.Item]:
        items = self.reaching.get(function_of(name), [])
        if name == CONTROL:
            every = {item for items in self.reaching.values() for item in items}
            items = sorted(every, key=lambda item: item.nodeid)
        total = 0.0
        told = [*self.killers.get(function_of(name), []), *self.killers.get(name.split(".")[1], [])]
        first = {item: place for place, item in enumerate(told)}
        own = OWN.get(name.split(".")[1], ("join",))

        def place_of(item: pytest.Item) -> tuple[float, ...]:
            other = not any(word in item.path.name for word in own)
            return first.get(item.nodeid, len(first)), other, self.seconds[item.nodeid]

        items = sorted(items, key=place_of)
        for place, item in enumerate(items):
            total += self.seconds[item.nodeid]
            if total > self.most_seconds:
                return items[:place]
        return items

    def _start(self, name: str) -> None:
        items = self._tests_of(name)
        child = os.fork()
        if child:
            self.running[child] = name, time.monotonic()
            return
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, 1)
        os.dup2(sink, 2)
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
        set_mutant_under_test(name)
        if name.split(".")[1] in CACHED:
            forget()
        code = 0
        for item in items:
            try:
                code = 0 if self._run(item) else 1
            except BaseException:  # noqa: BLE001 - a mutant may raise anything, anywhere
                code = 1
            if code:
                Path(f"killer.{os.getpid()}").write_text(item.nodeid)
                break
        os._exit(code)

    def _reap(self) -> None:
        child, status = os.wait()
        name, began = self.running.pop(child)
        verdict = "survived" if status == 0 else "endless" if os.WIFSIGNALED(status) else "killed"
        line: dict[str, str | float | int] = {
            "mutant": name,
            "verdict": verdict,
            "seconds": round(time.monotonic() - began, 2),
        }
        told = Path(f"killer.{child}")
        if told.exists():
            line["killer"] = killer = told.read_text()
            told.unlink()
            for place in (function_of(name), name.split(".")[1]):
                known = [item for item in self.killers.get(place, []) if item != killer]
                self.killers[place] = [killer, *known][:MOST_KILLERS]
        line["tests"] = len(self._tests_of(name))
        with RESULTS.open("a") as results:
            results.write(json.dumps(line) + "\n")


def results() -> Iterator[dict[str, str]]:
    """Yield what came of each mutant that was tried."""
    for line in RESULTS.read_text().splitlines() if RESULTS.exists() else ():
        yield json.loads(line)


def survivors() -> list[str]:
    """Return the mutants that no test noticed when they were tried last."""
    last = {found["mutant"]: found["verdict"] for found in results()}
    return [name for name, verdict in last.items() if verdict == "survived" and name != CONTROL]


def main() -> int:
    """Make the mutants once, and try them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tests", nargs="+")
    parser.add_argument("--children", type=int, default=2)
    parser.add_argument(
        "--seconds", type=float, default=5, help="of tests for one mutant, the quickest first"
    )
    parser.add_argument("--again", action="store_true", help="try what survived again")
    parser.add_argument("--only", default="", help="modules, with commas")
    parser.add_argument("--alone", action="store_true", help="try survivors again, each in its own process")
    given = parser.parse_args()
    listed = Path("mutants.json")
    if not listed.exists():
        listed.write_text(json.dumps(mutate(Path.cwd())))
    names = json.loads(listed.read_text())
    only = {f"policies.{module}" for module in given.only.split(",")} if given.only else set()
    names = [name for name in names if not only or name.rpartition(".")[0] in only]
    if given.alone:
        left = [name for name in survivors() if not only or name.rpartition(".")[0] in only]
        for name in left:
            environment = os.environ | {"MUTANT_UNDER_TEST": name, "PYTHONPATH": "."}
            command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:randomly", *given.tests]
            ended = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=600)
            sys.stdout.write(f"{'survives' if ended.returncode == 0 else 'killed  '} {name}\n")
        return 0
    if given.again:
        names = [name for name in survivors() if name in set(names)]
    sys.path.insert(0, str(Path.cwd()))
    plugin = Mutants(names, children=given.children, most_seconds=given.seconds, again=given.again)
    return int(pytest.main(["-q", "-p", "no:randomly", *given.tests], plugins=[plugin]))


if __name__ == "__main__":
    sys.exit(main())
