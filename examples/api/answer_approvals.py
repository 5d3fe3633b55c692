"""Answer a question that pairlock posted: read it from stdin, sign, print what `answers` has to serve.

    python answer_approvals.py key.pem approved < question.json > answers/NUMBER

The key is made with `openssl genpkey -algorithm ed25519 -out key.pem`; with nothing but the key, this prints
the `public_key` for the configuration.
"""

# ruff: noqa: INP001 - an example is a script, not part of a package
from __future__ import annotations

import base64
import getpass
import json
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from agent_runner.webhook import signed_answer


def main(key_file: str, verdict: str = "") -> None:
    """Sign one answer."""
    key = load_pem_private_key(Path(key_file).read_bytes(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        sys.exit(f"`{key_file}` holds no Ed25519 key")
    if verdict not in {"approved", "denied"}:
        sys.exit("public_key: " + base64.b64encode(key.public_key().public_bytes_raw()).decode())
    shown = json.load(sys.stdin)
    answer = signed_answer(
        shown, "approved" if verdict == "approved" else "denied", by=getpass.getuser(), key=key
    )
    sys.stdout.write(answer.decode())


if __name__ == "__main__":
    main(*sys.argv[1:3])
