"""The variables by which programs find their way out."""

from __future__ import annotations

from sandbox.proxied import proxy_environment, trust_environment


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
