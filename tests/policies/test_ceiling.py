from __future__ import annotations

import pytest
from arbitrary_policies import ACTIONS, policies
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.ceiling import Ceiling, parse_ceiling, under_ceiling
from policies.decide import decide
from policies.errors import CeilingError, ForbiddenGrantError, PolicyFileError
from policies.expectations import verdict_of
from policies.grant import Grant
from policies.policy import Policy
from policies.request import ActionRequest, HttpUse, SessionFacts
from policies.source import parse_policy

RANK = {"deny": 0, "ask": 1, "allow": 2}
CEILINGS = st.sampled_from(
    [
        "version: 1",
        "version: 1\ngrants: [[files, exec], [network]]",
        "version: 1\nnetwork: {hosts: ['*.a.com'], methods: [GET]}",
        "version: 1\nnetwork: {deny: [b.com], private: false, data_public: true}",
        "version: 1\nfiles: {access: read, hide: ['x.c'], protect: [a]}",
        "version: 1\ncommands: {deny: ['g *']}\nsinks: strict",
        "version: 1\nbudget: {turns: 2}\nisolation: {memory: 64MiB, runtime: gvisor}",
        "version: 1\nexec: {any_program: false, images: [pairlock/starter]}",
    ]
).map(lambda text: parse_ceiling(text, origin="ceiling.yaml"))


def _rank(policy: Policy, request: ActionRequest, ceiling: Ceiling | None) -> int:
    session = SessionFacts(grant=policy.grant, headless=False, task="mail a@b.com", ceiling=ceiling)
    return RANK[verdict_of(decide(policy, session, request))]


@settings(max_examples=300)
@given(policies(), CEILINGS, ACTIONS)
def test_a_ceiling_only_takes_away(policy: Policy, ceiling: Ceiling, request: ActionRequest) -> None:
    try:
        narrowed = under_ceiling(policy, ceiling)
    except CeilingError:
        return

    assert _rank(narrowed, request, ceiling) <= _rank(policy, request, None)
    assert _rank(narrowed, request, None) <= _rank(policy, request, None)
    assert narrowed.budget.turns <= policy.budget.turns
    assert narrowed.isolation.memory <= policy.isolation.memory


@pytest.mark.parametrize("grant", Grant)
def test_a_grant_beyond_the_ceiling_is_refused_and_not_quietly_narrowed(grant: Grant) -> None:
    ceiling = parse_ceiling("version: 1\ngrants: [[files, exec], [network]]", origin="c.yaml")
    policy = Policy(version=1, name="p", grant=grant)
    permitted = grant.within(Grant.FILES_EXEC) or grant is Grant.NETWORK

    if permitted:
        assert under_ceiling(policy, ceiling).grant is grant
        return
    with pytest.raises(CeilingError) as refused:
        under_ceiling(policy, ceiling)
    assert str(refused.value.at) == "c.yaml:2:9"


def test_an_empty_list_of_grants_permits_only_none() -> None:
    ceiling = parse_ceiling("version: 1\ngrants: []", origin="c.yaml")

    assert [grant for grant in Grant if ceiling.permits(grant)] == [Grant.NONE]


def test_an_empty_list_of_hosts_is_no_host_and_an_absent_one_is_no_limit() -> None:
    policy = parse_policy(
        "version: 1\nname: p\ngrant: [network]\nnetwork: {allow: [{host: a.com}]}", origin="p"
    )

    def hosts(text: str) -> list[str]:
        narrowed = under_ceiling(policy, parse_ceiling(text, origin="c"))
        assert narrowed.network is not None
        return [rule.host.text for rule in narrowed.network.allow]

    assert hosts("version: 1\nnetwork: {hosts: []}") == []
    assert hosts("version: 1\nnetwork: {methods: []}") == []
    assert hosts("version: 1\nnetwork: {}") == ["a.com"]
    assert hosts("version: 1") == ["a.com"]


def test_each_limit_is_lowered_and_none_is_raised() -> None:
    policy = parse_policy(
        "version: 1\nname: p\ngrant: [files]\nbudget: {turns: 5, tokens: 100k}\nisolation: {memory: 512MiB}",
        origin="p",
    )
    ceiling = parse_ceiling(
        "version: 1\nbudget: {turns: 50, tokens: 1k, cost_usd: 1, wall_time: 10s}\n"
        "isolation: {memory: 1GiB, cpus: 1, processes: 16, scratch: 2MiB, runtime: gvisor}",
        origin="c",
    )

    narrowed = under_ceiling(policy, ceiling)

    assert (narrowed.budget.turns, narrowed.budget.tokens) == (5, 1000)
    assert (narrowed.budget.cost_usd, narrowed.budget.wall_time) == (1, 10)
    assert narrowed.isolation.memory == 512 * 2**20
    assert (narrowed.isolation.cpus, narrowed.isolation.processes) == (1, 16)
    assert narrowed.isolation.scratch == 2 * 2**20
    assert narrowed.isolation.runtime == "gvisor"


@pytest.mark.parametrize(
    ("ceiling", "exec_block"),
    [
        ("exec: {images: [pairlock/starter]}", "{image: other/image}"),
        ("exec: {any_program: false}", "{programs: any}"),
    ],
)
def test_an_image_or_any_program_beyond_the_ceiling_is_refused(ceiling: str, exec_block: str) -> None:
    text = f"version: 1\nname: p\ngrant: [exec]\nexec: {exec_block}"

    with pytest.raises(CeilingError):
        under_ceiling(parse_policy(text, origin="p"), parse_ceiling(f"version: 1\n{ceiling}", origin="c"))
    assert under_ceiling(parse_policy(text, origin="p"), parse_ceiling("version: 1", origin="c")).name == "p"


def test_public_data_that_the_operator_does_not_accept_makes_three() -> None:
    policy = parse_policy(
        "version: 1\nname: p\ngrant: [network, exec]\nexec: {contents: public}\n"
        "network: {allow: [{host: a.com, credential: c, data: public}]}",
        origin="p.yaml",
    )

    with pytest.raises(PolicyFileError, match="counts as `files`"):
        under_ceiling(policy, parse_ceiling("version: 1\nnetwork: {data_public: false}", origin="c"))
    assert under_ceiling(policy, parse_ceiling("version: 1", origin="c")).digest == policy.digest


@pytest.mark.parametrize(
    "text", ["", "[]", "version: 2", "version: 1\ngrant: [files]", "version: 1\nexec: {image: x}"]
)
def test_a_ceiling_that_says_nothing_clear_is_refused(text: str) -> None:
    with pytest.raises(PolicyFileError):
        parse_ceiling(text, origin="c.yaml")


def test_a_ceiling_cannot_name_all_three() -> None:
    with pytest.raises(ForbiddenGrantError):
        parse_ceiling("version: 1\ngrants: [[files, exec, network]]", origin="c.yaml")


def test_gvisor_may_be_called_as_the_engine_calls_it() -> None:
    """`runsc` is what engines call gVisor; both names mean one runtime."""
    both = [
        parse_policy(f"version: 1\nname: x\ngrant: []\nisolation: {{runtime: {name}}}\n", origin="x")
        for name in ("gvisor", "runsc")
    ]

    assert [policy.isolation.runtime for policy in both] == ["gvisor", "gvisor"]


@pytest.mark.parametrize(("rule", "verdict"), [("{host: '*.a.com'}", "ask"), ("{host: x.a.com}", "allow")])
def test_a_host_that_the_ceiling_names_is_no_destination_that_the_policy_fixes(
    rule: str, verdict: str
) -> None:
    head = "version: 1\nname: p\ngrant: [files, network]\ncommands: {allow: [x]}\n"
    text = f"{head}network: {{allow: [{rule}]}}\n"
    ceiling = parse_ceiling("version: 1\nnetwork: {hosts: [x.a.com]}\n", origin="c")
    request = ActionRequest(command=("x",), http=(HttpUse("GET", "https://x.a.com/"),))

    policy = under_ceiling(parse_policy(text, origin="p"), ceiling)

    session = SessionFacts(grant=policy.grant, headless=False)
    assert verdict_of(decide(policy, session, request)) == verdict
