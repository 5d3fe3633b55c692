# ruff: noqa: E501 - tables of mistakes and keys, one case on each line
"""The schema as an editor's YAML language server reads it: it underlines mistakes, and offers the keys."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from policies.library import library_names, library_policy
from policies.schema import json_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

VERSION = "1.25.0"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "pairlock-tests"
LONGEST_SILENCE_SECONDS = 120
HEAD = "version: 1\nname: p\n"

pytestmark = pytest.mark.long  # it installs a server, which takes some seconds, and starts it


def _install(folder: Path) -> None:
    npm = shutil.which("npm")
    assert npm, "npm is needed to install the language server"
    folder.mkdir()
    package = f"yaml-language-server@{VERSION}"
    command = [npm, "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--silent", package]
    subprocess.run(command, check=True, timeout=300)


@pytest.fixture(scope="module")
def server_command() -> list[str]:
    """Install the language server outside of the checkout, once: a folder of that name is always whole."""
    folder = CACHE / f"yaml-language-server-{VERSION}-whole"
    if not folder.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="installing-", dir=CACHE) as installing:
            _install(Path(installing) / "whole")
            with suppress(OSError):  # another worker was first; what it installed is as good
                (Path(installing) / "whole").rename(folder)
    program = folder / "node_modules" / "yaml-language-server" / "bin" / "yaml-language-server"
    assert program.exists(), f"`{folder}` holds no whole installation; remove it"
    node = shutil.which("node")
    assert node, "node is needed to run the language server"
    return [node, str(program), "--stdio"]


class Editor:
    """An editor's side of the Language Server Protocol, as far as these tests go."""

    def __init__(self, command: list[str], schema: str) -> None:
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self.unread = b""
        self.settings = {
            "validate": True,
            "completion": True,
            "yamlVersion": "1.2",
            "schemaStore": {"enable": False},
            "schemas": {schema: ["*.yaml"]},
        }
        self.number = 0
        self.found: dict[str, list[dict[str, Any]]] = {}
        self.ask("initialize", {"processId": os.getpid(), "rootUri": None, "capabilities": {}})
        self.tell("initialized", {})
        self.tell("workspace/didChangeConfiguration", {"settings": {"yaml": self.settings}})
        self._wait_for_the_schema()

    def _wait_for_the_schema(self) -> None:
        """The server reads its settings when it likes, and until then underlines and offers nothing."""
        uri = self.open("before.yaml", "nonsense: 1\n")
        while not self.found.get(uri):
            self._receive()

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self.process.stdin is not None
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        self.process.stdin.flush()

    def _until(self, end_of: Callable[[bytes], int | None]) -> bytes:
        """Read until what came holds a whole piece, and return that; a silent server fails the test."""
        assert self.process.stdout is not None
        while (end := end_of(self.unread)) is None:
            ready, _, _ = select.select([self.process.stdout], [], [], LONGEST_SILENCE_SECONDS)
            assert ready, f"the server said nothing for {LONGEST_SILENCE_SECONDS} s"
            more = os.read(self.process.stdout.fileno(), 65536)
            assert more, "the server ended"
            self.unread += more
        piece, self.unread = self.unread[:end], self.unread[end:]
        return piece

    def _receive(self) -> dict[str, Any]:
        head = self._until(lambda unread: unread.find(b"\r\n\r\n") + 4 if b"\r\n\r\n" in unread else None)
        lines = (line.partition(b":") for line in head.splitlines())
        length = next(int(value) for name, _, value in lines if name.lower() == b"content-length")
        message: dict[str, Any] = json.loads(
            self._until(lambda unread: length if len(unread) >= length else None)
        )
        if message.get("method") == "workspace/configuration":
            answers = [
                self.settings if item.get("section") == "yaml" else None
                for item in message["params"]["items"]
            ]
            self._send({"id": message["id"], "result": answers})
        elif "method" in message and "id" in message:
            self._send({"id": message["id"], "result": None})
        if message.get("method") == "textDocument/publishDiagnostics":
            self.found[message["params"]["uri"]] = message["params"]["diagnostics"]
        return message

    def tell(self, method: str, params: dict[str, Any]) -> None:
        """Send a notification."""
        self._send({"method": method, "params": params})

    def ask(self, method: str, params: dict[str, Any]) -> Any:
        """Send a request and return its result."""
        self.number += 1
        self._send({"id": self.number, "method": method, "params": params})
        while (message := self._receive()).get("id") != self.number or "method" in message:
            pass
        assert "error" not in message, message
        return message["result"]

    def open(self, name: str, text: str) -> str:
        """Open a file in the editor; return its address."""
        uri = f"file:///policies/{name}"
        self.found.pop(uri, None)
        document = {"uri": uri, "languageId": "yaml", "version": 1, "text": text}
        self.tell("textDocument/didOpen", {"textDocument": document})
        return uri

    def underlined(self, name: str, text: str) -> list[tuple[int, str]]:
        """Open a file and return what is underlined: line, counted from 1, and message."""
        uri = self.open(name, text)
        while uri not in self.found:
            self._receive()
        return [(item["range"]["start"]["line"] + 1, item["message"]) for item in self.found[uri]]

    def offered(self, name: str, text: str) -> set[str]:
        """Open a file and return the keys that are offered at its end."""
        uri = self.open(name, text)
        lines = text.split("\n")
        place = {"line": len(lines) - 1, "character": len(lines[-1])}
        result = self.ask("textDocument/completion", {"textDocument": {"uri": uri}, "position": place})
        return {item["label"] for item in (result["items"] if isinstance(result, dict) else result)}

    def close(self) -> None:
        """End the server."""
        self.ask("shutdown", {})
        self.tell("exit", {})
        self.process.communicate(timeout=60)


@pytest.fixture(scope="module")
def editor(server_command: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Editor]:
    """Return an editor that knows the schema of policies."""
    schema = tmp_path_factory.mktemp("schema") / "policy.json"
    schema.write_text(json.dumps(json_schema("policy")))
    made = Editor(server_command, schema.as_uri())
    yield made
    made.close()


@pytest.mark.parametrize("name", library_names())
def test_nothing_of_a_library_policy_is_underlined(editor: Editor, name: str) -> None:
    source = library_policy(name)
    assert source is not None

    assert editor.underlined(f"{name}.yaml", source.text) == []


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("grnat: [files]", 3, "Property grnat is not allowed."),
        ("grant: [files]\nfiles:\n  hidee: [x]", 5, "Property hidee is not allowed."),
        ("grant: [files, network, exec]", 3, "Array has too many items. Expected 2 or fewer."),
        ("grant: [file]", 3, 'Value is not accepted. Valid values: "files", "network", "exec".'),
        ("grant: [files]\nfiles: {access: stagee}", 4, 'Value is not accepted. Valid values: "read", "stage", "direct".'),
        ("budget: {tokens: many}", 3, ""),
        ("isolation: {memory: 64}", 3, ""),
        ("isolation: {runtime: kata}", 3, ""),
        ("network: {allow: [{methods: [GET]}]}", 3, 'Missing property "host".'),
        ("network: {allow: [{host: a.com, methods: [FETCH]}]}", 3, ""),
        ("network: {allow: a.com}", 3, ""),
        ("expect: [{because: nonsense}]", 3, ""),
    ],
)  # fmt: skip
def test_a_mistake_is_underlined_where_it_stands(editor: Editor, text: str, line: int, message: str) -> None:
    found = editor.underlined(f"wrong{abs(hash(text))}.yaml", HEAD + text + "\n")

    assert [where for where, _ in found] == [line]
    assert message in found[0][1]


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("", {"grant", "files", "network", "exec", "commands", "sinks", "isolation", "budget", "expect", "extends"}),
        ("files:\n  ", {"access", "hide", "protect", "visible", "limits"}),
        ("network:\n  allow:\n    - ", {"host", "methods", "paths", "ports", "credential"}),
        ("budget:\n  ", {"turns", "tokens", "cost_usd", "wall_time"}),
        ("files:\n  access: ", {"read", "stage", "direct"}),
    ],
)  # fmt: skip
def test_the_keys_of_a_block_are_offered(editor: Editor, text: str, keys: set[str]) -> None:
    assert keys <= editor.offered(f"open{abs(hash(text))}.yaml", HEAD + text)


def test_the_ceiling_has_a_schema_of_its_own(server_command: list[str], tmp_path: Path) -> None:
    schema = tmp_path / "ceiling.json"
    schema.write_text(json.dumps(json_schema("ceiling")))
    editor = Editor(server_command, schema.as_uri())
    try:
        right = editor.underlined(
            "right.yaml", "version: 1\ngrants: [[files, exec]]\nexec: {any_program: false}\n"
        )
        wrong = editor.underlined("wrong.yaml", "version: 1\ngrant: [[files]]\n")
    finally:
        editor.close()

    assert right == []
    assert [where for where, _ in wrong] == [2]
