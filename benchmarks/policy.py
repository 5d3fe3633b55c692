"""Measure the policy engine beside its floors, in one run: a decision, and parse with check and explain.

Run it with ``python -m benchmarks.policy``; it prints floor, ours, ratio, and exits 1 when a gate fails.
The floor of a decision is the least that any could do: look the command up, and match its path against one
compiled expression. The floor of reading is the YAML parser's own events of the same text.
"""

from __future__ import annotations

import re
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ruamel.yaml import YAML

from policies.capability import Capability
from policies.check import check
from policies.decide import decide
from policies.diff import diff
from policies.explain import explain
from policies.facts import ArgumentFacts, CommandFacts
from policies.join import join
from policies.library import library_names, library_policy
from policies.request import ActionRequest, HttpUse, PathUse, SessionFacts, SinkUse
from policies.source import parse_policy

if TYPE_CHECKING:
    from collections.abc import Callable

DECISION_MICROSECONDS = 50.0
READING_MILLISECONDS = 50.0
ROUNDS = 15
FILES, NETWORK, EXEC = Capability.FILES, Capability.NETWORK, Capability.EXEC
PATH = ArgumentFacts(name="path", role="read", positional=True)
COMMANDS = (
    *(
        CommandFacts(path=("files", word), needs=frozenset({FILES}), arguments=(PATH,))
        for word in ("list", "read", "search", "stat", "write", "patch", "move", "remove")
    ),
    *(
        CommandFacts(path=("git", word), needs=frozenset({FILES}))
        for word in ("status", "diff", "log", "show", "blame")
    ),
    CommandFacts(path=("run",), needs=frozenset({EXEC})),
    CommandFacts(path=("http", "get"), needs=frozenset({NETWORK}), method="GET"),
    CommandFacts(path=("finish",), needs=frozenset()),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        name: What was measured.
        floor: The floor, in seconds.
        ours: Ours, in seconds.
        most: The gate, in seconds; 0 is none.
    """

    name: str
    floor: float
    ours: float
    most: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether the gate holds."""
        return not self.most or self.ours <= self.most


def measure(work: Callable[[], object], *, times: int) -> float:
    """Measure one call.

    Args:
        work: What to do.
        times: How often in each round.

    Returns:
        Seconds of processor time a call, in the best round: what else the machine does is not ours.
    """
    rounds = []
    for _ in range(ROUNDS):
        start = time.thread_time()
        for _ in range(times):
            work()
        rounds.append((time.thread_time() - start) / times)
    return min(rounds)


def _text(name: str) -> str:
    found = library_policy(name)
    if found is None:
        raise LookupError(name)
    return found.text


INBOX = """\
version: 1
name: inbox
grant: [files, network]
commands: {allow: [mail send]}
"""


def _decisions() -> list[Row]:
    known = {
        ("files", "read"): re.compile(r"(?:[^/]+/)*[^/]*\.py"),
        ("http", "get"): re.compile(r"https://[^/]+/.*"),
    }

    def floor(command: tuple[str, str], text: str) -> float:
        return measure(lambda: known[command].fullmatch(text), times=2_000)

    fix = parse_policy(_text("fix-tests"), origin="fix-tests")
    notes = parse_policy(_text("release-notes"), origin="release-notes")
    inbox = parse_policy(INBOX, origin="inbox")
    url = "https://api.github.com/repos/acme/app/issues/7"
    read = ActionRequest(
        command=("files", "read"), needs=frozenset({FILES}), paths=(PathUse("src/app/main.py", "read"),)
    )
    get = ActionRequest(command=("http", "get"), needs=frozenset({NETWORK}), http=(HttpUse("GET", url),))
    send = ActionRequest(
        command=("mail", "send"),
        needs=frozenset({FILES, NETWORK}),
        sinks=(SinkUse("to", "address", "someone@example.com"),),
    )
    large = parse_policy(_large(), origin="large")
    write = ActionRequest(
        command=("files", "move"),
        needs=frozenset({FILES}),
        paths=(PathUse("src/app/main.py", "write"), PathUse("src/app/other.py", "write")),
    )
    last = ActionRequest(
        command=("http", "get"),
        needs=frozenset({NETWORK}),
        http=(HttpUse("GET", "https://h11.example11.com/a/b/c"),),
    )
    task = "Answer the mail of someone@example.com in a friendly way, and tell me what you wrote."
    most = DECISION_MICROSECONDS / 1e6
    rows = []
    for name, policy, request, command, text in (
        ("decide: files read", fix, read, ("files", "read"), "src/app/main.py"),
        ("decide: http get", notes, get, ("http", "get"), url),
        ("decide: mail send, sink in the task", inbox, send, ("http", "get"), url),
        ("decide: files move, a large policy", large, write, ("files", "read"), "src/app/main.py"),
        ("decide: http get, a large policy", large, last, ("http", "get"), url),
    ):
        session = SessionFacts(grant=policy.grant, task=task, headless=False)
        ours = measure(lambda p=policy, s=session, r=request: decide(p, s, r), times=300)  # type: ignore[misc]  # the defaults bind the loop's values
        rows.append(Row(name, floor(command, text), ours, most))
    return rows


def _large() -> str:
    """Write a policy larger than people write: a wildcard, 12 hosts, 25 globs."""
    hide = ", ".join(f"'d{number}/**/*.x{number}'" for number in range(15))
    protect = ", ".join(f"'p{number}/*'" for number in range(10))
    hosts = ", ".join(
        f"{{host: h{number}.example{number}.com, methods: [GET, POST], paths: ['/a/**', '/b/*']}}"
        for number in range(12)
    )
    return (
        f"version: 1\nname: large\ngrant: [files, network]\nfiles: {{hide: [{hide}], protect: [{protect}]}}\n"
        f"network: {{allow: [{hosts}, {{host: '*.corp.example.org'}}]}}\n"
        "commands: {allow: ['files *', http get]}\n"
    )


def _readings() -> list[Row]:
    rows = []
    for name, text in (*((name, _text(name)) for name in library_names()), ("a large one", _large())):

        def read(text: str = text) -> None:
            policy = parse_policy(text, origin="policy.yaml")
            check(policy, COMMANDS)
            explain(policy, COMMANDS).text()

        def events(text: str = text) -> object:
            return list(YAML(typ="safe", pure=True).parse(text))

        most = READING_MILLISECONDS / 1e3
        rows.append(
            Row(f"parse, check, explain: {name}", measure(events, times=5), measure(read, times=5), most)
        )
    return rows


def _others() -> list[Row]:
    one = parse_policy(_text("fix-tests"), origin="one")
    other = parse_policy(_text("data-analysis"), origin="other")
    floor = measure(one.model_copy, times=2_000)
    return [
        Row("join two policies", floor, measure(lambda: join(one, other), times=50)),
        Row("diff two policies, with witnesses", floor, measure(lambda: diff(one, other, COMMANDS), times=3)),
    ]


def main() -> int:
    """Print the table.

    Returns:
        1 when a gate fails, else 0.
    """
    rows = [*_decisions(), *_readings(), *_others()]
    out = sys.stdout.write
    out(f"{'':42}{'floor':>12}{'ours':>12}{'ratio':>9}  gate\n")
    for row in rows:
        gate = (
            "" if not row.most else f"{'holds' if row.holds else 'FAILS'} (at most {row.most * 1e6:.0f} us)"
        )
        ratio = row.ours / row.floor
        out(f"{row.name:42}{row.floor * 1e6:10.1f}us{row.ours * 1e6:10.1f}us{ratio:9.1f}  {gate}\n")
    return 0 if all(row.holds for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
