"""Registries are the operator's: named on the command line, configured, or the public ones. Never secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent_runner.errors import InvalidInputError
from agent_runner.images.registries import PUBLIC, Host, Kind, hosts, registry

if TYPE_CHECKING:
    from pathlib import Path


def public(name: str) -> tuple[str, ...]:
    """Resolve every name to a public address."""
    assert name
    return ("8.8.8.8",)


def test_without_configuration_the_public_registry_is_asked(tmp_path: Path) -> None:
    """With the hosts to which it sends its clients."""
    found = registry("go", {}, {"HOME": str(tmp_path)})

    assert (found.url, found.source) == (PUBLIC["go"], "public")
    assert [(host.name, host.port) for host in hosts((found,), (), resolve=public)] == [
        ("proxy.golang.org", 443),
        ("sum.golang.org", 443),
        ("storage.googleapis.com", 443),
    ]


@pytest.mark.parametrize(
    ("kind", "environment", "files", "url"),
    [
        ("pip", {"PIP_INDEX_URL": "https://a.example/simple"}, {}, "https://a.example/simple"),
        (
            "pip",
            {},
            {".config/pip/pip.conf": "[global]\nindex-url = https://b.example/\n"},
            "https://b.example/",
        ),
        ("pip", {}, {".pip/pip.conf": "[install]\nindex-url=https://c.example/\n"}, "https://c.example/"),
        ("npm", {"NPM_CONFIG_REGISTRY": "https://d.example/"}, {}, "https://d.example/"),
        (
            "npm",
            {},
            {".npmrc": "; x\nregistry = https://e.example/\n//x:_authToken=y\n"},
            "https://e.example/",
        ),
        ("go", {"GOPROXY": "https://f.example,direct"}, {}, "https://f.example"),
        ("go", {"GOPROXY": "off"}, {}, PUBLIC["go"]),
    ],
)
def test_the_operators_own_configuration_is_honoured(
    kind: Kind, environment: dict[str, str], files: dict[str, str], url: str, tmp_path: Path
) -> None:
    """As the programs themselves read it."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    assert registry(kind, {}, {"HOME": str(tmp_path), **environment}).url == url


def test_npm_is_asked_where_nothing_is_configured(tmp_path: Path) -> None:
    """It knows where it goes by itself; it is asked in a folder without a project's `.npmrc`."""
    program = tmp_path / "npm"
    program.write_text(
        '#!/bin/sh\n[ "$PWD" = / ] && [ "$1 $2 $3" = "config get registry" ] && echo https://g.example/\n'
    )
    program.chmod(0o755)

    found = registry("npm", {}, {"HOME": str(tmp_path), "PATH": str(tmp_path)})

    assert (found.url, found.source) == ("https://g.example/", "npm config")


@pytest.mark.parametrize("script", [None, "#!/bin/sh\nexit 1\n", "#!/bin/sh\necho undefined\n"])
def test_where_npm_does_not_tell_the_person_has_to(script: str | None, tmp_path: Path) -> None:
    if script is not None:
        (tmp_path / "npm").write_text(script)
        (tmp_path / "npm").chmod(0o755)

    with pytest.raises(InvalidInputError) as refused:
        registry("npm", {}, {"HOME": str(tmp_path), "PATH": str(tmp_path)})

    assert "--index" in refused.value.hint


def test_what_is_named_on_the_command_line_goes_before_all(tmp_path: Path) -> None:
    """And its port is kept."""
    found = registry("pip", {"pip": "http://127.0.0.2:8080/simple"}, {"PIP_INDEX_URL": "https://a.example"})

    assert found.source == "--index"
    assert hosts((found,), ()) == (Host(name="127.0.0.2", port=8080, address="127.0.0.2, loopback"),)


@pytest.mark.parametrize(
    "url",
    [
        "https://user:geheim@x.example/simple",
        "https://geheim@x.example/simple",
        "https://x.example/simple?token=geheim",
        "ftp://geheim@x.example/",
        "file:///geheim",
        "https:///geheim",
        "https://x.example:99999/geheim",
        "geheim",
    ],
)
def test_an_address_with_a_secret_or_of_another_kind_is_refused_without_telling_it(url: str) -> None:
    """What stands in it would enter the container, and the ledger."""
    with pytest.raises(InvalidInputError) as caught:
        registry("pip", {"pip": url})

    assert "user" not in caught.value.message
    assert "@" not in caught.value.message


@pytest.mark.parametrize("text", ["", ":443", "a b", "host:0", "host:65536", "host:x", "-x/", "h\n"])
def test_a_host_that_is_none_is_refused(text: str) -> None:
    """Before anything is resolved."""
    with pytest.raises(InvalidInputError):
        hosts((), (text,))


def test_a_further_host_may_have_a_port() -> None:
    """443 where it has none."""
    found = hosts((), ("Files.example", "127.0.0.3:81"), resolve=public)

    assert [(host.name, host.port) for host in found] == [
        ("files.example", 443),
        ("127.0.0.3", 81),
    ]


@pytest.mark.parametrize(
    ("addresses", "shown"),
    [
        ((), ""),
        (("8.8.8.8", "2001:4860:4860::8888"), ""),
        (("8.8.8.8", "10.1.2.3"), "10.1.2.3, private"),
        (("169.254.169.254",), "169.254.169.254, a cloud's metadata service"),
    ],
)
def test_an_address_that_is_no_public_one_is_shown(addresses: tuple[str, ...], shown: str) -> None:
    """The person agrees to it; what the gate never opens, it refuses all the same."""
    (host,) = hosts((), ("x.example",), resolve=lambda _: addresses)

    assert host.address == shown
