"""Start Dynamo's simulated engine with a parser of tool calls in its model card.

It runs in Dynamo's own environment and takes what `python -m dynamo.mocker` takes. That command (1.6.1) has
no option for the parsers; without one the frontend returns the markup of a tool call as plain text.
"""

from __future__ import annotations

from typing import Any

import dynamo.mocker.main as mocker

TOOL_PARSER = "hermes"
REASONING_PARSER = "basic"
_stock = mocker.build_runtime_config


def with_parsers(engine_args: Any) -> Any:
    """Return what the stock command builds, with the two parsers named."""
    block_size, configuration = _stock(engine_args)
    configuration.tool_call_parser = TOOL_PARSER
    configuration.reasoning_parser = REASONING_PARSER
    return block_size, configuration


if __name__ == "__main__":
    mocker.build_runtime_config = with_parsers
    mocker.main()
