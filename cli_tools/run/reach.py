"""Say beside a program's output why it reached nothing: what the gate refused, or that there is no way."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cli_tools.command import Outcome, Surroundings
    from sandbox.egress.events import Decided

MOST_TOLD: Final = 3
_LOOKED_AT_BYTES: Final = 16 * 1024
_NO_WAY: Final = re.compile(
    rb"could(?: not|n't) resolve|temporary failure (?:in name resolution|resolving)|name or service not known"
    rb"|network is unreachable|no route to host|nodename nor servname|no such host|unresolvedaddress"
    rb"|getaddrinfo|enotfound|eai_again|enetunreach|unknownhostexception|dns error",
    re.IGNORECASE,
)
_NO_NETWORK: Final = (
    "this session has no `network`, so programs reach nothing\nhint: what a project needs has to be in the "
    "image; `pairlock image build --for DIR` makes one"
)
_PROXY_ONLY: Final = (
    "programs reach hosts only through the proxy of HTTP_PROXY; there is no route and no resolver beside it\n"
    "hint: a program that reads no such variable takes the proxy as an option, as in `--proxy $HTTPS_PROXY`"
)


@dataclass(slots=True)
class Reach:
    """What is known of a program's tries to reach hosts."""

    refused: list[Decided]
    way_out: Mapping[str, str]
    """Variables that point programs to the proxy, where there is one, and to commands."""

    def told(self, outcome: Outcome) -> Outcome:
        """Return an outcome whose note says it too; one of a program that reached what it wanted stays."""
        words = [outcome.note, *map(_refusal, self.refused[:MOST_TOLD])]
        if len(self.refused) > MOST_TOLD:
            words.append("further requests were refused, too")
        if not self.refused and outcome.exit_code and _NO_WAY.search(_end_of(outcome)):
            words.append(_PROXY_ONLY if "HTTP_PROXY" in self.way_out else _NO_NETWORK)
        return replace(outcome, note="\nnote: ".join(filter(None, words)))


@contextmanager
def reaching(surroundings: Surroundings) -> Iterator[Reach]:
    """Watch what is refused while a program runs; others that run beside it are heard as well.

    Args:
        surroundings: What it runs in.
    """
    way_out = surroundings.sandbox.way_out
    if surroundings.egress is None:
        yield Reach([], way_out)
        return
    with surroundings.egress.refusals() as refused:
        yield Reach(refused, way_out)


def _end_of(outcome: Outcome) -> bytes:
    return outcome.output[-_LOOKED_AT_BYTES:] + b"\n" + outcome.errors[-_LOOKED_AT_BYTES:]


def _refusal(event: Decided) -> str:
    where = f" `{event.host}` port {event.port}" if event.host else ""
    hint = f"\nhint: {event.hint}" if event.hint else ""
    return f"the egress gate refused{where} ({event.code}): {event.message}{hint}"
