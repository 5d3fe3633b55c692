"""An explanation leaves nothing out, and says nothing that the policy does not do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from policy_vocabulary import COMMANDS

from policies.block import Block
from policies.explain import explain
from policies.policy import Policy
from policies.source import parse_policy

if TYPE_CHECKING:
    from collections.abc import Iterator

CHANGES = {  # a setting -> the text with and without it
    "grant": ("grant: [files]", "grant: [exec]"),
    "files.access": ("files: {access: stage}", "files: {access: direct}"),
    "files.hide": ("files: {}", "files: {hide: [x]}"),
    "files.hide_defaults": ("files: {}", "files: {hide_defaults: false}"),
    "files.visible": ("files: {}", "files: {visible: [.env]}"),
    "files.protect": ("files: {}", "files: {protect: [x]}"),
    "files.protect_defaults": ("files: {}", "files: {protect_defaults: false}"),
    "files.limits.written_bytes": ("files: {}", "files: {limits: {written_bytes: 3B}}"),
    "files.limits.written_files": ("files: {}", "files: {limits: {written_files: 3}}"),
    "exec.image": ("exec: {}", "exec: {image: other/image}"),
    "exec.contents": ("exec: {}", "exec: {contents: public}"),
    "exec.programs": ("exec: {}", "exec: {programs: [pytest]}"),
    "network.allow.host": ("host: a.com", "host: b.com"),
    "network.allow.ports": ("host: a.com", "host: a.com, ports: [8443]"),
    "network.allow.methods": ("host: a.com", "host: a.com, methods: [POST]"),
    "network.allow.paths": ("host: a.com", "host: a.com, paths: [/x]"),
    "network.allow.credential": ("host: a.com", "host: a.com, credential: c"),
    "network.allow.data": ("host: a.com, credential: c", "host: a.com, credential: c, data: public"),
    "network.allow.private": ("host: a.com", "host: a.com, private: true"),
    "network.allow.sink_pattern": ('host: "*.a.com"', 'host: "*.a.com", sink_pattern: true'),
    "network.allow.protocol": ("host: a.com", "host: a.com, protocol: tcp"),
    "network.allow.ask": ("host: a.com", "host: a.com, ask: true"),
    "network.allow.limits.sent_bytes": ("host: a.com", "host: a.com, limits: {sent_bytes: 3B}"),
    "network.allow.limits.received_bytes": ("host: a.com", "host: a.com, limits: {received_bytes: 3B}"),
    "network.allow.limits.requests": ("host: a.com", "host: a.com, limits: {requests: 3}"),
    "network.allow.limits.connections": ("host: a.com", "host: a.com, limits: {connections: 3}"),
    "network.allow.limits.connection_time": ("host: a.com", "host: a.com, limits: {connection_time: 3s}"),
    "network.deny": ("network: {}", "network: {deny: [a.com]}"),
    "network.limits.sent_bytes": ("network: {}", "network: {limits: {sent_bytes: 3B}}"),
    "network.limits.received_bytes": ("network: {}", "network: {limits: {received_bytes: 3B}}"),
    "network.limits.requests": ("network: {}", "network: {limits: {requests: 3}}"),
    "network.limits.connections": ("network: {}", "network: {limits: {connections: 3}}"),
    "network.limits.connection_time": ("network: {}", "network: {limits: {connection_time: 3s}}"),
    "commands.allow": ("commands: {}", "commands: {allow: [files read]}"),
    "commands.ask": ("commands: {allow: [files read]}", "commands: {ask: [files read]}"),
    "commands.deny": ("commands: {}", "commands: {deny: [files read]}"),
    "commands.rules.command": ("command: files read, max_calls: 1", "command: files list, max_calls: 1"),
    "commands.rules.arguments": (
        "command: run, max_calls: 1",
        "command: run, max_calls: 1, arguments: {x: [y]}",
    ),
    "commands.rules.sink_pattern": (
        "command: run, max_calls: 1",
        "command: run, max_calls: 1, sink_pattern: {x: [y]}",
    ),
    "commands.rules.max_calls": ("command: run, max_calls: 1", "command: run, max_calls: 2"),
    "sinks": ("", "sinks: strict"),
    "isolation.runtime": ("", "isolation: {runtime: gvisor}"),
    "isolation.memory": ("", "isolation: {memory: 64MiB}"),
    "isolation.cpus": ("", "isolation: {cpus: 7}"),
    "isolation.processes": ("", "isolation: {processes: 77}"),
    "isolation.scratch": ("", "isolation: {scratch: 7MiB}"),
    "budget.turns": ("", "budget: {turns: 77}"),
    "budget.tokens": ("", "budget: {tokens: 77}"),
    "budget.input_tokens": ("", "budget: {input_tokens: 77}"),
    "budget.output_tokens": ("", "budget: {output_tokens: 77}"),
    "budget.cached_tokens": ("", "budget: {cached_tokens: 77}"),
    "budget.actions": ("", "budget: {actions: 77}"),
    "budget.cost_usd": ("", "budget: {cost_usd: 77}"),
    "budget.wall_time": ("", "budget: {wall_time: 77s}"),
    "outputs": ("", "outputs: results"),
}
TALK = {"version", "name", "description", "extends", "expect"}
JOINED = {"network.allow.also", "network.allow.unfixed", "commands.origins"}


def _settings(model: type[Block], above: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        kinds = [
            kind for kind in _parts(field.annotation) if isinstance(kind, type) and issubclass(kind, Block)
        ]
        if not kinds or f"{above}{name}" in JOINED | TALK:
            yield f"{above}{name}"
        for kind in kinds if f"{above}{name}" not in JOINED | TALK else ():
            yield from _settings(kind, f"{above}{name}.")


def _parts(annotation: object) -> Iterator[object]:
    yield annotation
    for part in getattr(annotation, "__args__", ()):
        yield from _parts(part)


def _policy(body: str) -> Policy:
    grant = "[files]" if body.startswith("files") else "[network]" if body.startswith("network") else "[exec]"
    if body.startswith("host"):
        grant, body = "[network]", f"network: {{allow: [{{{body}}}]}}"
    elif body.startswith("command:"):
        body = f"commands: {{rules: [{{{body}}}]}}"
    elif body.startswith("commands"):
        grant = "[files]"
    head = "" if body.startswith("grant") else f"grant: {grant}\n"
    return parse_policy(f"version: 1\nname: p\n{head}{body}\n", origin="p.yaml")


def test_each_setting_of_a_policy_is_tried_below() -> None:
    assert set(_settings(Policy)) - TALK - JOINED == set(CHANGES)


@pytest.mark.parametrize(("without", "with_it"), CHANGES.values(), ids=CHANGES)
def test_whatever_a_policy_says_changes_its_explanation(without: str, with_it: str) -> None:
    """A person who reads only the explanation misses no setting."""
    assert explain(_policy(with_it), COMMANDS) != explain(_policy(without), COMMANDS)
    assert explain(_policy(with_it), COMMANDS) == explain(_policy(with_it), COMMANDS)


def _lines(body: str, title: str) -> tuple[str, ...]:
    sections = explain(_policy(body), COMMANDS).sections
    return next(section.lines for section in sections if section.title == title)


def test_commands_that_always_write_are_not_offered_where_nothing_can_be_written() -> None:
    def called(access: str) -> str:
        body = f"files: {{access: {access}}}\ncommands: {{allow: [files read, files write]}}"
        return _lines(body, "An agent under this policy can")[-1]

    assert called("read") == "call `files read`, `finish`"
    assert called("stage") == "call `files read`, `files write`, `finish`"


@pytest.mark.parametrize(
    ("files", "line"),
    [
        ("{hide_defaults: false}", None),
        ("{hide_defaults: false, hide: [x]}", "see `x`"),
        ("{}", "see secrets' usual places (83 patterns)"),
        ("{hide: [x, y]}", "see secrets' usual places (83 patterns) and `x`, `y`"),
    ],
)
def test_secrets_are_said_to_be_hidden_only_where_they_are(files: str, line: str | None) -> None:
    seen = [said for said in _lines(f"files: {files}", "It cannot") if said.startswith("see ")]

    assert seen == ([] if line is None else [line])


def test_private_addresses_are_said_to_be_refused_only_where_they_are() -> None:
    refused = "reach private, loopback, link-local and metadata addresses, by whatever name"

    assert refused in _lines("host: a.com", "It cannot")
    assert refused not in _lines("host: a.com, private: true", "It cannot")
    assert refused not in _lines("files: {}", "It cannot")


def test_a_session_without_programs_is_not_said_to_start_any() -> None:
    assert "start `pytest` of the image `pairlock/starter`, with whatever program text it writes" in _lines(
        "exec: {programs: [pytest]}", "An agent under this policy can"
    )
    assert "start a program of the image `pairlock/starter` by `run`: `exec.programs` names none" in _lines(
        "exec: {}", "It cannot"
    )
    assert (
        "start a program of the image `pairlock/starter` by `run`: `exec.programs` names none"
        not in _lines("exec: {programs: any}", "It cannot")
    )
