"""What a policy calls an image: registry, repository, tag, digest, id."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.images.errors import ImageNameError
from sandbox.images.reference import parse_reference

DIGEST = f"sha256:{'a1' * 32}"


@pytest.mark.parametrize(
    ("text", "name", "version", "moves", "ours", "fetchable"),
    [
        ("python", "python", "latest", True, False, True),
        ("python:3.12-slim", "python", "3.12-slim", True, False, True),
        ("library/python:3", "library/python", "3", True, False, True),
        ("127.0.0.1:5000/app", "127.0.0.1:5000/app", "latest", True, False, True),
        ("localhost/app:1", "localhost/app", "1", True, False, True),
        ("ghcr.io/acme/app:v1", "ghcr.io/acme/app", "v1", True, False, True),
        (f"ghcr.io/acme/app:v1@{DIGEST}", "ghcr.io/acme/app", DIGEST, False, False, True),
        (f"app@{DIGEST}", "app", DIGEST, False, False, True),
        (DIGEST, "", "", False, False, False),
        ("a1" * 32, "", "", False, False, False),
        ("pairlock/for-app", "pairlock/for-app", "latest", True, True, False),
        ("pairlock/starter:latest", "pairlock/starter", "latest", True, True, False),
        ("docker.io/pairlock/x:1", "pairlock/x", "1", True, True, False),
        ("index.docker.io/pairlock/x", "pairlock/x", "latest", True, True, False),
        (f"docker.io/pairlock/x@{DIGEST}", "pairlock/x", DIGEST, False, True, False),
        ("docker.io/library/pairlock", "library/pairlock", "latest", True, True, False),
        ("docker.io/python:3", "python", "3", True, False, True),
        ("docker.io:5000/pairlock/x", "docker.io:5000/pairlock/x", "latest", True, False, True),
        ("ghcr.io/pairlock/app", "ghcr.io/pairlock/app", "latest", True, False, True),
    ],
)
def test_a_name_is_read_in_one_way(  # noqa: PLR0913 - the parts of a name
    text: str, name: str, version: str, *, moves: bool, ours: bool, fetchable: bool
) -> None:
    """Only a name without digest may move; a registry is never asked for one of ours, nor for an id."""
    reference = parse_reference(text)

    assert (reference.name, reference.version) == (name, version)
    assert (reference.moves, reference.ours, reference.fetchable) == (moves, ours, fetchable)


@pytest.mark.parametrize(
    "text", ["", "-v", "/etc", "App", "a b", "a\nb", "a@sha256:12", "a:b:c", "https://x/y", "a//b", "../a"]
)
def test_what_is_no_name_is_refused(text: str) -> None:
    """One clear line, with the text in it."""
    with pytest.raises(ImageNameError) as caught:
        parse_reference(text)

    assert caught.value.name == text
    assert caught.value.hint


@given(st.text(max_size=60))
def test_no_text_breaks_the_reader_but_by_its_own_error(text: str) -> None:
    """A reference begins with no dash and holds nothing that a command line or a URL would read otherwise."""
    try:
        reference = parse_reference(text)
    except ImageNameError:
        return

    assert reference.text == text
    assert text[0].isalnum()
    assert not set(text) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/:@")
