"""Policies and actions for Hypothesis: small alphabets, so that patterns meet, cover and miss often."""

from __future__ import annotations

from hypothesis import strategies as st

from policies.capability import Capability
from policies.commands import CommandPattern, ValuePattern
from policies.commands_block import ArgumentRule, CommandsBlock
from policies.exec_block import ExecBlock
from policies.files_block import FilesBlock
from policies.globs import Glob
from policies.grant import Grant
from policies.hosts import HostPattern
from policies.leaves import Programs
from policies.network_block import EgressRule, NetworkBlock, NetworkLimits, RuleLimits
from policies.policy import Budget, Policy
from policies.request import ActionRequest, HttpUse, PathUse, SinkUse
from policies.units import Bytes, Count
from policies.urls import UrlPath

F, N, E = Capability.FILES, Capability.NETWORK, Capability.EXEC


def _some(items: st.SearchStrategy[object], most: int = 3) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(items, max_size=most).map(tuple)


GLOBS = st.sampled_from(["a", "b", "*.c", "a/**", "**/b", "a/b", "*"]).map(Glob.parse)
COMMANDS = st.sampled_from(["g a", "g b", "g *", "h", "h x"]).map(CommandPattern.parse)
VALUES = st.sampled_from(["1", "2", "1*", "*2", "a@b.com"]).map(ValuePattern.parse)
HOSTS = st.sampled_from(["a.com", "x.a.com", "*.a.com", "*.x.a.com", "b.com"]).map(HostPattern.parse)
URL_PATHS = st.sampled_from(["/", "/a", "/a/**", "/*", "/**"]).map(UrlPath.parse)
METHODS = st.lists(st.sampled_from(["GET", "HEAD", "POST"]), min_size=1, unique=True).map(tuple)

FILES = st.builds(
    FilesBlock,
    access=st.sampled_from(["read", "stage"]),
    hide=_some(GLOBS),
    hide_defaults=st.booleans(),
    protect=_some(GLOBS),
    protect_defaults=st.booleans(),
    visible=st.just(()),
) | st.builds(
    FilesBlock, hide=_some(GLOBS), visible=_some(st.sampled_from([".env", ".env.x"]).map(Glob.parse))
)
EXECS = st.builds(
    ExecBlock,
    contents=st.just("public"),
    programs=st.builds(
        Programs,
        names=st.lists(st.sampled_from(["p", "q"]), unique=True).map(tuple),
        any_program=st.booleans(),
    ),
)
RULES = st.builds(
    EgressRule,
    host=HOSTS,
    ports=st.sampled_from([(443,), (80, 443), (80,)]),
    methods=st.none() | METHODS,
    paths=st.none() | st.lists(URL_PATHS, min_size=1, max_size=2).map(tuple),
    credential=st.sampled_from([None, None, "one", "two"]),
    data=st.just("public"),
    private=st.booleans(),
    sink_pattern=st.booleans(),
    ask=st.booleans(),
    limits=st.builds(RuleLimits, sent_bytes=st.sampled_from([None, Bytes(0), Bytes(2**20)])),
)
NETWORKS = st.builds(
    NetworkBlock,
    allow=_some(RULES),
    deny=_some(HOSTS, 1),
    limits=st.builds(NetworkLimits, sent_bytes=st.sampled_from([Bytes(0), Bytes(2**20)])),
)
ARGUMENTS = st.dictionaries(
    st.sampled_from(["to", "n"]), st.lists(VALUES, min_size=1, max_size=2).map(tuple), max_size=2
)
ARGUMENT_RULES = st.builds(
    ArgumentRule,
    command=COMMANDS,
    arguments=ARGUMENTS,
    sink_pattern=st.just({}),
    max_calls=st.sampled_from([Count(1), Count(2)]),
)
COMMAND_BLOCKS = st.builds(
    CommandsBlock,
    allow=_some(COMMANDS),
    ask=_some(COMMANDS),
    deny=_some(COMMANDS, 1),
    rules=_some(ARGUMENT_RULES, 2),
)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """Draw a resolved policy."""
    grant = draw(st.sampled_from(Grant))
    return Policy(
        version=1,
        name=draw(st.sampled_from(["one", "two"])),
        grant=grant,
        files=draw(FILES) if grant.holds(F) else None,
        exec=draw(EXECS) if grant.holds(E) else None,
        network=draw(NETWORKS) if grant.holds(N) else None,
        commands=draw(COMMAND_BLOCKS),
        sinks=draw(st.sampled_from(["default", "strict"])),
        budget=draw(st.builds(Budget, turns=st.sampled_from([Count(1), Count(9)]))),
    )


ACTIONS = st.builds(
    ActionRequest,
    command=st.sampled_from([("g", "a"), ("g", "b"), ("h",), ("h", "x"), ("finish",)]),
    needs=st.sampled_from([frozenset(), frozenset({F}), frozenset({N}), frozenset({E}), frozenset({F, N})]),
    arguments=st.dictionaries(st.sampled_from(["to", "n"]), st.sampled_from(["1", "2", "12", "9"])),
    paths=_some(
        st.builds(
            PathUse,
            st.sampled_from(["a", "a/b", "x.c", "b/a", ".env", ".env.x"]),
            st.sampled_from(["read", "write"]),
        ),
        1,
    ),
    http=_some(
        st.builds(
            HttpUse,
            st.sampled_from(["GET", "POST"]),
            st.sampled_from(
                ["https://a.com/", "https://x.a.com/a", "http://y.x.a.com/a/b", "https://b.com/c"]
            ),
        ),
        1,
    ),
    sinks=_some(st.just(SinkUse("to", "address", "a@b.com")), 1),
    program=st.none() | st.sampled_from(["p", "q", "r"]),
)
