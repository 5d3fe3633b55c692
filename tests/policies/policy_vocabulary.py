"""The commands as the policies' tests know them; `cli_tools` hands in the same kind of data."""

from __future__ import annotations

from policies.capability import Capability
from policies.facts import ArgumentFacts, CommandFacts

F, N, E = Capability.FILES, Capability.NETWORK, Capability.EXEC


def _files(word: str, *arguments: ArgumentFacts) -> CommandFacts:
    return CommandFacts(path=("files", word), needs=frozenset({F}), arguments=arguments)


def _path(role: str = "read", name: str = "path") -> ArgumentFacts:
    return ArgumentFacts(name=name, role=role, positional=True)  # type: ignore[arg-type]  # test data


def _http(word: str) -> CommandFacts:
    url = ArgumentFacts(name="url", role="url", positional=True)
    body = ArgumentFacts(name="body")
    return CommandFacts(
        path=("http", word),
        needs=frozenset({N}),
        arguments=(url, body),
        method=word.upper().replace("DOWNLOAD", "GET"),
    )


def _connector(
    *path: str, named: tuple[ArgumentFacts, ...] = (), options: tuple[str, ...] = ()
) -> CommandFacts:
    plain = tuple(ArgumentFacts(name=name) for name in options)
    return CommandFacts(path=path, needs=frozenset({F, N}), arguments=(*named, *plain))


CHANNEL = ArgumentFacts(name="channel", sink="channel")
MESSAGE = ArgumentFacts(name="message", positional=True)
TO = ArgumentFacts(name="to", sink="address", many=True)

COMMANDS = (
    _files("list", _path()),
    _files("read", _path()),
    _files("search", ArgumentFacts(name="pattern", positional=True), _path()),
    _files("stat", _path()),
    _files("write", _path("write"), ArgumentFacts(name="content")),
    _files("patch", _path("write"), ArgumentFacts(name="diff")),
    _files("move", _path("write"), _path("write", "to")),
    _files("remove", _path("write"), ArgumentFacts(name="recursive", flag=True)),
    *(
        CommandFacts(path=("git", word), needs=frozenset({F}), arguments=(_path(),))
        for word in ("status", "diff", "log", "show", "blame")
    ),
    CommandFacts(
        path=("run",),
        needs=frozenset({E}),
        arguments=(
            ArgumentFacts(name="program", role="program", positional=True),
            ArgumentFacts(name="arguments", positional=True, many=True),
        ),
    ),
    *(_http(word) for word in ("get", "head", "post", "put", "delete", "download")),
    *(_connector("slack", word, options=("query",)) for word in ("list", "read", "search")),
    _connector("slack", "post", named=(CHANNEL,), options=("text",)),
    _connector("mail", "list", options=("folder",)),
    _connector("mail", "read", named=(MESSAGE,)),
    _connector("mail", "search", named=(ArgumentFacts(name="query", positional=True),)),
    _connector("mail", "move", named=(MESSAGE, ArgumentFacts(name="folder", sink="text"))),
    _connector("mail", "send", named=(TO,), options=("subject", "text")),
    _connector("mail", "reply", named=(MESSAGE, TO), options=("text",)),
    CommandFacts(
        path=("finish",),
        needs=frozenset(),
        arguments=(ArgumentFacts(name="status"), ArgumentFacts(name="summary")),
    ),
    CommandFacts(path=("output", "last"), needs=frozenset(), arguments=(ArgumentFacts(name="start"),)),
)
