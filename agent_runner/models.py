"""Choose the model: named on the command line, else the default of the operator's configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from agent_runner.backends.scripted import ScriptedBackend, load_script
from agent_runner.errors import InvalidInputError

if TYPE_CHECKING:
    from agent_runner.backends.backend import Backend

SCRIPTED: Final = "scripted:"


class ScriptedModel(BaseModel):
    """A model that is a script."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    backend: Literal["scripted"]
    script: str
    """Path of the script, relative to the configuration."""


class Configuration(BaseModel):
    """The operator's configuration."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: Literal[1]
    models: dict[str, ScriptedModel] = Field(default_factory=dict)
    """Names, and what they stand for; `default` is used when none is named."""


def configuration_path() -> Path:
    """Return where the operator's configuration lies."""
    return Path(platformdirs.user_config_dir("pairlock", appauthor=False)) / "config.yaml"


def choose_backend(model: str | None) -> Backend:
    """Return the backend that a name stands for.

    Args:
        model: `scripted:FILE`, a name of the configuration, or None for its `default`.

    Raises:
        InvalidInputError: When there is none; the hint says how to configure one.
    """
    if model is not None and model.startswith(SCRIPTED):
        path = Path(model.removeprefix(SCRIPTED))
        return ScriptedBackend(load_script(path), name=f"{SCRIPTED}{path.name}")
    path = configuration_path()
    configured = read_configuration(path).models
    found = configured.get(model or "default")
    if found is None:
        what = f"no model `{model}` is configured" if model else "no model is configured"
        raise InvalidInputError(what, hint=_how_to_configure(path))
    script = path.parent / found.script
    return ScriptedBackend(load_script(script), name=model or "default")


def _how_to_configure(path: Path) -> str:
    return (
        f"name one with `--model scripted:FILE`, or write these lines to {path}:\n"
        "  version: 1\n"
        "  models:\n"
        "    default: {backend: scripted, script: script.yaml}"
    )


def read_configuration(path: Path) -> Configuration:
    """Read the configuration; a missing one is empty.

    Raises:
        InvalidInputError: When it is not valid, with file:line:column.
    """
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return Configuration(version=1)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"configuration `{path}` cannot be read: {error}") from error
    try:
        return Configuration.model_validate(YAML(typ="safe", pure=True).load(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise InvalidInputError(f"{where}: {error.problem or 'not valid YAML'}") from error
    except YAMLError as error:
        raise InvalidInputError(f"{path}:1:1: not valid YAML") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InvalidInputError(f"{path}: `{place}`: {first['msg'].lower()}") from error
