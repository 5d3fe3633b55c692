"""Ask for one address with one of Python's clients, and print what it answers. Runs inside the container."""

import asyncio
import socket
import sys
import urllib.error
import urllib.request
from urllib.parse import urlsplit

NAME, URL = sys.argv[1:]


def say(text: str) -> None:
    """Print it."""
    sys.stdout.write(text + "\n")


def with_urllib() -> None:
    """Use the standard library."""
    try:
        with urllib.request.urlopen(URL, timeout=60) as answer:  # noqa: S310 - the test's own address
            say(answer.read().decode())
    except urllib.error.HTTPError as error:
        say(error.read().decode())
        raise


def with_requests() -> None:
    """Use requests."""
    import requests

    answer = requests.get(URL, timeout=60)
    say(answer.text)
    answer.raise_for_status()


def with_httpx() -> None:
    """Use httpx."""
    import httpx

    answer = httpx.get(URL, timeout=60)
    say(answer.text)
    answer.raise_for_status()


async def with_aiohttp(*, trust_env: bool) -> None:
    """Use aiohttp, which reads the variables for the proxy only when it is told to."""
    import aiohttp

    async with aiohttp.ClientSession(trust_env=trust_env) as session, session.get(URL) as answer:
        say(await answer.text())
        answer.raise_for_status()


def with_a_socket() -> None:
    """Use no client at all."""
    place = urlsplit(URL)
    socket.create_connection((place.hostname, place.port), timeout=60)
    say("connected")


match NAME:
    case "urllib":
        with_urllib()
    case "requests":
        with_requests()
    case "httpx":
        with_httpx()
    case "aiohttp":
        asyncio.run(with_aiohttp(trust_env=True))
    case "aiohttp-direct":
        asyncio.run(with_aiohttp(trust_env=False))
    case "socket":
        with_a_socket()
    case _:
        sys.exit(f"no client `{NAME}`")
