#!/usr/bin/env python3
"""Say what a shell script has to know of the Docker engine: `state` or `runtimes`."""

from __future__ import annotations

import sys

import docker
import docker.errors


def state() -> str:
    """Return `running`, `forbidden` or `absent`."""
    try:
        client = docker.from_env(timeout=10)
    except docker.errors.DockerException as error:
        return "forbidden" if "Permission denied" in str(error) else "absent"
    try:
        client.ping()
    except (docker.errors.DockerException, OSError) as error:
        return "forbidden" if "Permission denied" in str(error) else "absent"
    finally:
        client.close()
    return "running"


def runtimes() -> list[str]:
    """Return the names of the engine's runtimes; none where no engine answers."""
    if state() != "running":
        return []
    client = docker.from_env(timeout=10)
    try:
        return sorted(client.info().get("Runtimes") or {})
    finally:
        client.close()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["state"]:
            sys.stdout.write(state() + "\n")
        case ["runtimes"]:
            sys.stdout.write("".join(f"{name}\n" for name in runtimes()))
        case _:
            sys.exit("usage: ask_engine.py state|runtimes")
