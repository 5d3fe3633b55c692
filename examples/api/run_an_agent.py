"""Run somebody else's agent from Python, here a few lines that ask the model on their loopback.

    python examples/api/run_an_agent.py

The program runs in a sandbox without files and network; what it reaches is the model, here a script, and
nothing else. A Docker engine has to run.
"""

# ruff: noqa: INP001 - an example is a script, not part of a package
from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from agent_runner import run_command, session_request

POLICY = "version: 1\nname: asks\ngrant: [exec]\n"
SCRIPT = 'version: 1\nturns: [{text: "the answer, from the host"}]\n'
AGENT = """
import json, os, urllib.request
body = {"model": os.environ["OPENAI_MODEL"], "messages": [{"role": "user", "content": "what is it?"}]}
kind = {"content-type": "application/json"}
url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
request = urllib.request.Request(url, json.dumps(body).encode(), kind)
print(json.load(urllib.request.urlopen(request))["choices"][0]["message"]["content"])
"""


def main() -> int:
    """Run it and return its exit code."""
    place = Path(tempfile.mkdtemp(prefix="pairlock-example-"))
    policy, script = place / "asks.yaml", place / "script.yaml"
    policy.write_text(POLICY)
    script.write_text(SCRIPT)
    request = session_request("an agent of somebody else's", policy=str(policy), model=f"scripted:{script}")
    ran = run_command(request, ["python3", "-c", AGENT])
    sys.stderr.write(f"{ran.result.session}: {ran.result.reason}\n")
    return ran.result.exit_code if ran.code is None else ran.code


if __name__ == "__main__":
    sys.exit(main())
