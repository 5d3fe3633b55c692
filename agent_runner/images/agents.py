"""Know the third-party agents that an image can be made for: names and pinned versions, as data."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from ruamel.yaml import YAML

from agent_runner.errors import InvalidInputError
from agent_runner.images.manifests import Manifest

_FILE: Final = "agents.yaml"


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: Literal["pip", "npm"]
    package: Annotated[str, Field(pattern=r"^(@[a-z0-9-]+/)?[a-z0-9][a-z0-9._-]*$")]
    version: Annotated[str, Field(pattern=r"^[0-9][0-9A-Za-z.+-]*$")]
    program: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """One agent, at one version."""

    name: str
    kind: Literal["pip", "npm"]
    package: str
    """What its registry calls it."""
    version: str
    program: str
    """What starts it."""

    @property
    def title(self) -> str:
        """The agent and its version, for people."""
        return f"{self.name} {self.version}"

    def manifest(self) -> Manifest:
        """Return the file that asks a registry for exactly this version."""
        if self.kind == "pip":
            line = f"{self.package}=={self.version}\n"
            return Manifest(kind="pip", name="requirements.txt", content=line.encode())
        text = json.dumps({"private": True, "dependencies": {self.package: self.version}}, indent=1)
        return Manifest(kind="npm", name="package.json", content=text.encode())


def known_agents() -> tuple[Agent, ...]:
    """Return every agent that an image can be made for, by name."""
    text = files(__package__).joinpath(_FILE).read_text("utf-8")
    found = YAML(typ="safe", pure=True).load(text)
    entries = {str(name): _Entry.model_validate(entry) for name, entry in found.items()}
    return tuple(Agent(name=name, **entry.model_dump()) for name, entry in sorted(entries.items()))


def find_agent(name: str, *, version: str = "") -> Agent:
    """Return one agent.

    Args:
        name: As the list has it.
        version: In place of the one that was tried; empty for that one.

    Raises:
        InvalidInputError: When there is none of that name, or the version is none.
    """
    agents = {agent.name: agent for agent in known_agents()}
    if name not in agents:
        raise InvalidInputError(f"no agent `{name}` is known", hint=f"one of {', '.join(agents)}")
    agent = agents[name]
    if not version:
        return agent
    try:
        entry = _Entry(kind=agent.kind, package=agent.package, version=version, program=agent.program)
    except ValueError:
        raise InvalidInputError(f"`{version[:40]}` is not a version, expected one as in `1.2.3`") from None
    return Agent(name=name, **entry.model_dump())
