"""Who is let in to the report server: only a browser that was given the printed address, asking by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent_runner.report.serving.doorman import COOKIE, Door, Request, refusal

if TYPE_CHECKING:
    from http import HTTPStatus

DOOR = Door(port=4321, token="t" * 32, cookie="c" * 32, room="r" * 32)
HOST = ("host", "127.0.0.1:4321")
HELD = ("cookie", f"{COOKIE}={DOOR.cookie}")
SESSION = f"{DOOR.home}session/0123456789ab"


def asked(target: str, *headers: tuple[str, str], method: str = "GET") -> Request:
    return Request(method=method, target=target, headers=headers)


def status(request: Request) -> HTTPStatus | None:
    found = refusal(DOOR, request)
    return found.status if found else None


@pytest.mark.parametrize(
    "request_",
    [
        asked(DOOR.home, HOST, HELD),
        asked(SESSION, HOST, HELD),
        asked(SESSION, ("host", "localhost:4321"), HELD, ("origin", "http://localhost:4321")),
        asked(SESSION, HOST, HELD, ("sec-fetch-site", "same-origin")),
        asked(SESSION, HOST, HELD, ("sec-fetch-site", "none")),
        asked(SESSION, HOST, ("cookie", f"other=1; {COOKIE}={DOOR.cookie}; x=2")),
        asked(SESSION, HOST, HELD, ("content-length", "0")),
    ],
)
def test_whoever_holds_the_cookie_and_asks_from_here_is_let_in(request_: Request) -> None:
    assert status(request_) is None


@pytest.mark.parametrize(
    ("name", "request_", "expected"),
    [
        ("rebound name", asked(SESSION, ("host", "evil.example:4321"), HELD), 421),
        ("rebound name without port", asked(SESSION, ("host", "127.0.0.1"), HELD), 421),
        ("another port", asked(SESSION, ("host", "127.0.0.1:4322"), HELD), 421),
        ("a name below", asked(SESSION, ("host", "localhost:4321.evil.example"), HELD), 421),
        ("upper case", asked(SESSION, ("host", "LOCALHOST:4321"), HELD), 421),
        ("no host", asked(SESSION, HELD), 421),
        ("two hosts", asked(SESSION, HOST, HOST, HELD), 421),
        ("another origin", asked(SESSION, HOST, HELD, ("origin", "http://evil.example")), 403),
        ("no origin's origin", asked(SESSION, HOST, HELD, ("origin", "null")), 403),
        ("the origin of another port", asked(SESSION, HOST, HELD, ("origin", "http://127.0.0.1:8000")), 403),
        ("the other name's origin", asked(SESSION, HOST, HELD, ("origin", "http://localhost:4321")), 403),
        ("an https origin", asked(SESSION, HOST, HELD, ("origin", "https://127.0.0.1:4321")), 403),
        ("another site", asked(SESSION, HOST, HELD, ("sec-fetch-site", "cross-site")), 403),
        ("another port's page", asked(SESSION, HOST, HELD, ("sec-fetch-site", "same-site")), 403),
        ("no cookie", asked(SESSION, HOST), 403),
        ("a wrong cookie", asked(SESSION, HOST, ("cookie", f"{COOKIE}={'c' * 31}d")), 403),
        ("a short cookie", asked(SESSION, HOST, ("cookie", f"{COOKIE}=")), 403),
        ("two cookies", asked(SESSION, HOST, HELD, HELD), 403),
        ("the token as cookie", asked(SESSION, HOST, ("cookie", f"{COOKIE}={DOOR.token}")), 403),
        ("not ASCII", asked(SESSION, HOST, ("cookie", f"{COOKIE}=\u00fc")), 403),
        ("outside the room", asked("/", HOST, HELD), 403),
        ("in another room", asked("/" + "s" * 32 + "/", HOST, HELD), 403),
        ("the room without its slash", asked(DOOR.home[:-1], HOST, HELD), 403),
        ("post", asked(SESSION, HOST, HELD, method="POST"), 405),
        ("head", asked(SESSION, HOST, HELD, method="HEAD"), 405),
        ("options", asked(SESSION, HOST, HELD, method="OPTIONS"), 405),
        ("connect", asked("127.0.0.1:4321", HOST, HELD, method="CONNECT"), 405),
        ("a whole address", asked("http://127.0.0.1:4321" + SESSION, HOST, HELD), 400),
        ("two slashes", asked("//evil.example" + SESSION, HOST, HELD), 400),
        ("a body", asked(SESSION, HOST, HELD, ("content-length", "5")), 400),
        ("a chunked body", asked(SESSION, HOST, HELD, ("transfer-encoding", "chunked")), 400),
        ("a long address", asked(SESSION + "?" + "a" * 2000, HOST, HELD), 414),
    ],
)
def test_everybody_else_is_refused(name: str, request_: Request, expected: int) -> None:
    assert status(request_) == expected


def test_the_printed_address_gives_a_cookie_once_and_leaves_no_token_behind() -> None:
    found = refusal(DOOR, asked(f"{DOOR.home}?token={DOOR.token}", HOST))

    assert found is not None
    assert found.status == 303
    assert dict(found.more) == {
        "Location": DOOR.home,
        "Set-Cookie": f"{COOKIE}={DOOR.cookie}; Path={DOOR.home}; HttpOnly; SameSite=Strict",
    }
    assert dict(found.headers())["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?token=",
        f"?token={'t' * 31}",
        f"?token={'t' * 32}x",
        f"?token={'t' * 32}&token={'t' * 32}",
        f"?token={'c' * 32}",
        "?a=1&b=2&c=3&d=4&token=" + "t" * 32,
        "?token=%ff",
    ],
)
def test_no_other_token_gives_one(query: str) -> None:
    assert status(asked(f"{DOOR.home}{query}", HOST)) == 403


def test_the_token_gives_nothing_elsewhere_than_at_the_entrance() -> None:
    assert status(asked(f"{SESSION}?token={DOOR.token}", HOST)) == 403


def test_the_token_does_not_open_for_a_page_of_somebody_elses() -> None:
    """A page that learnt the address, from a history or a log, cannot use it from within a browser."""
    target = f"{DOOR.home}?token={DOOR.token}"

    assert status(asked(target, HOST, ("sec-fetch-site", "cross-site"))) == 403
    assert status(asked(target, ("host", "evil.example:4321"))) == 421


def test_secrets_are_long_random_and_not_in_what_is_printed_of_a_door() -> None:
    one, other = Door(port=1), Door(port=1)

    assert len({one.token, one.cookie, one.room, other.token, other.cookie, other.room}) == 6
    assert min(map(len, (one.token, one.cookie, one.room))) >= 32
    assert not [secret for secret in (one.token, one.cookie, one.room) if secret in repr(one)]
