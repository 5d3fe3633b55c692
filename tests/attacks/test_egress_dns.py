"""B69 for real: in a network namespace with a name server of the test's own, count the queries that leave."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import sandbox

ROOT = Path(sandbox.__file__).parent.parent
INSIDE = """
import asyncio, json, subprocess, sys
sys.path.insert(0, sys.argv[1])
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
subprocess.run(["mount", "--bind", sys.argv[2], "/etc/resolv.conf"], check=True)
subprocess.run(["mount", "--bind", sys.argv[3], "/etc/hosts"], check=True)
from sandbox.egress.errors import EgressError
from tests.sandbox.egress.ground import Server, gate_for, rule, rules, serving

asked = []

class Names(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, source):
        name, at = [], 12
        while data[at]:
            name.append(data[at + 1 : at + 1 + data[at]].decode())
            at += 1 + data[at]
        asked.append(".".join(name).lower())
        question = data[12 : at + 5]
        wants_ipv4 = data[at + 1 : at + 3] == b"\\0\\1"
        answers = [a for a in (b"\\x7f\\0\\0\\1", b"\\x0a\\0\\0\\1") if wants_ipv4]
        if asked[-1].startswith("none"):
            self.transport.sendto(data[:2] + b"\\x81\\x83\\0\\1" + bytes(6) + question, source)
            return
        if not asked[-1].startswith("split"):
            answers = answers[:1]
        head = data[:2] + b"\\x81\\x80\\0\\1" + len(answers).to_bytes(2) + b"\\0\\0\\0\\0"
        records = [b"\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\0\\0\\4" + answer for answer in answers]
        self.transport.sendto(head + question + b"".join(records), source)

async def main():
    told = {}
    await asyncio.get_running_loop().create_datagram_endpoint(Names, local_addr=("127.0.0.1", 53))
    async with serving(Server()) as server:
        private = rule("*.example.test", server.port)
        public = rule("*.public.test", server.port, allow_private=False)
        async with gate_for(rules(private, public)) as kept:
            for name in ("c2VjcmV0.evil.test", "a.example.test", "split.example.test", "none.example.test",
                         "hosts.example.test", "x.public.test"):
                asked.clear()
                try:
                    response = await kept.gate.request("GET", f"http://{name}:{server.port}/")
                    outcome = str(response.status)
                except EgressError as error:
                    outcome = error.code
                told[name] = [outcome, sorted(set(asked))]
    print(json.dumps(told))

asyncio.run(main())
"""


def test_b69_no_query_leaves_for_a_name_that_no_rule_allows(tmp_path: Path) -> None:
    """Its twin: an allowed name is asked for, and only as itself, whatever the search list says, and checked.

    A name that does not exist is asked for once; one of the hosts file is found there.
    """
    resolv = tmp_path / "resolv.conf"
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 hosts.example.test\n")
    resolv.write_text("nameserver 127.0.0.1\nsearch evil.test\noptions timeout:2 attempts:1\n")

    done = subprocess.run(
        [
            "unshare",
            "--map-root-user",
            "--net",
            "--mount",
            sys.executable,
            "-c",
            INSIDE,
            str(ROOT),
            str(resolv),
            str(hosts),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=ROOT,
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "c2VjcmV0.evil.test": ["host", []],
        "a.example.test": ["200", ["a.example.test"]],
        "split.example.test": ["200", ["split.example.test"]],
        "none.example.test": ["resolve", ["none.example.test"]],
        "hosts.example.test": ["200", []],
        "x.public.test": ["address", ["x.public.test"]],
    }
