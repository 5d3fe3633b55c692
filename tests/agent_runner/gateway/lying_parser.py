"""Be a parser that an agent has taken over: say on the pipe what a test wrote into the model's name."""

from __future__ import annotations

import json
import socket
import struct
import time


def main(arguments: list[str]) -> int:
    """Say it, and go on as if nothing were."""
    pipe = socket.socket(fileno=int(arguments[0]))
    head = pipe.recv(65536)
    (said,) = json.loads(head[8:])["models"]
    for words, blob in json.loads(said):
        pipe.sendall(struct.pack(">II", len(words), len(blob)) + words.encode() + blob.encode())
    time.sleep(60)
    return 0
