"""The variables by which programs find their way out."""

from __future__ import annotations

import pytest

from sandbox.proxied import program_environment, proxy_environment, trust_environment


def test_every_proxy_variable_has_its_twin_in_small_letters() -> None:
    variables = proxy_environment()

    capital = {name for name in variables if name.isupper() and "PROXY" in name} - {"NODE_USE_ENV_PROXY"}
    assert capital == {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"}
    assert {name: variables[name.lower()] for name in capital} == {name: variables[name] for name in capital}
    assert {variables[name] for name in capital - {"NO_PROXY"}} == {"http://127.0.0.1:3128"}


def test_the_trust_variables_name_one_file_and_touch_no_proxy() -> None:
    """Java alone has one variable for both, which says both."""
    variables, proxies = trust_environment("/tmp/a.pem"), proxy_environment()

    java = "JAVA_TOOL_OPTIONS"
    assert {value for name, value in variables.items() if name != java} == {"/tmp/a.pem"}
    assert set(variables) & set(proxies) == {java}
    assert variables[java].startswith(proxies[java])
    assert "trustStore=/tmp/.pairlock-authorities.jks" in variables[java]


WAYS = {
    **proxy_environment(),
    **trust_environment("/tmp/a.pem"),
    "PATH": "/bin",
    "PAIRLOCK_COMMANDS": "/tmp/c",
}
JAVA = "JAVA_TOOL_OPTIONS"


@pytest.mark.parametrize("name", ["NODE_USE_ENV_PROXY", "SSL_CERT_FILE", "CURL_CA_BUNDLE"])
@pytest.mark.parametrize("value", ["", "0"])
def test_what_only_spares_an_option_is_a_programs_own_to_set(name: str, value: str) -> None:
    assert program_environment({name: value, "CI": "1"}, WAYS) == {**WAYS, name: value, "CI": "1"}


def test_options_of_java_are_put_behind_ours_and_empty_ones_take_ours_away() -> None:
    """Java says on stderr that it read the variable even where it is empty, so it is left out then."""
    others = {name: value for name, value in WAYS.items() if name != JAVA}

    assert program_environment({JAVA: "-Xmx1g"}, WAYS) == {**WAYS, JAVA: f"{WAYS[JAVA]} -Xmx1g"}
    assert program_environment({JAVA: ""}, WAYS) == others
    assert program_environment({JAVA: "-Xmx1g"}, {}) == {JAVA: "-Xmx1g"}
    assert program_environment({}, WAYS) == WAYS


@pytest.mark.parametrize("name", sorted(set(WAYS) - set(trust_environment("x")) - {"NODE_USE_ENV_PROXY"}))
def test_where_the_proxy_and_the_commands_are_is_no_choice_of_a_program(name: str) -> None:
    assert program_environment({name: "elsewhere"}, WAYS) == WAYS
