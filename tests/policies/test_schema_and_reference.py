from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import pytest
from policy_vocabulary import COMMANDS

from policies.expectations import run_expectations
from policies.explain import explain
from policies.leaves import METHODS
from policies.library import library_names, library_policy
from policies.package_data import default_paths, kept_globs
from policies.reference import reference
from policies.schema import json_schema
from policies.source import parse_policy

DOCS = Path(__file__).parents[2] / "docs"


def test_the_reference_is_what_the_models_say() -> None:
    assert (DOCS / "policy-reference.md").read_text(encoding="utf-8") == reference(), (
        "run: python -m policies.reference > docs/policy-reference.md"
    )


@pytest.mark.parametrize("name", library_names())
def test_each_library_policy_has_a_page_that_shows_its_text_and_says_what_it_does(name: str) -> None:
    source = library_policy(name)
    assert source is not None
    policy = parse_policy(source.text, origin=source.origin)
    page = (DOCS / "policies" / f"{name}.md").read_text(encoding="utf-8")

    assert source.text.strip() in page
    assert str(policy.description) in page
    assert explain(policy, COMMANDS).sections[0].title in page
    assert run_expectations(policy, COMMANDS).failures == ()


def test_the_schema_is_closed_json_and_knows_every_key() -> None:
    for document in ("policy", "ceiling"):
        schema = json_schema(document)  # type: ignore[arg-type]  # the two literals
        definitions = schema["$defs"]
        assert json.loads(json.dumps(schema)) == schema
        assert schema["additionalProperties"] is False
        assert isinstance(definitions, dict)
        assert all(
            isinstance(block, dict) and block["additionalProperties"] is False
            for block in definitions.values()
        )


def test_the_schema_cannot_express_three_capabilities() -> None:
    properties = json_schema("policy")["properties"]
    assert isinstance(properties, dict)
    grant = properties["grant"]

    assert isinstance(grant, dict)
    assert grant["maxItems"] == 2
    assert grant["uniqueItems"] is True


def test_every_sentence_of_the_schema_is_written() -> None:
    schema = json_schema("policy")
    definitions = schema["$defs"]
    assert isinstance(definitions, dict)

    for block in (schema, *definitions.values()):
        assert isinstance(block, dict)
        properties = block["properties"]
        assert isinstance(properties, dict)
        for name, field in properties.items():
            assert isinstance(field, dict)
            assert field.get("description"), name


def test_each_default_path_has_a_reason_and_stands_once() -> None:
    for section in ("hide", "visible", "protect", "removable", "mark"):
        items = default_paths(section)  # type: ignore[arg-type]  # the five literals
        assert items
        assert all(item.reason and not item.reason.endswith(".") for item in items)
    both = {item.glob.text for item in default_paths("protect")} & {
        item.glob.text for item in default_paths("mark")
    }
    assert both == set()


def test_what_may_be_removed_is_of_what_is_protected() -> None:
    """A glob that is spelled otherwise there would be no exception at all."""
    protected = {item.glob.text for item in default_paths("protect")}
    removable = {item.glob.text for item in default_paths("removable")}

    assert removable < protected
    assert {glob.text for glob in kept_globs().globs} == protected - removable


def test_methods_are_a_closed_set() -> None:
    assert METHODS == ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
    assert "TRACE" not in METHODS
    assert "CONNECT" not in METHODS


def test_the_package_reads_its_own_data_only() -> None:
    names = sorted(item.name for item in resources.files("policies").joinpath("data").iterdir())

    assert names == ["hosts.toml", "paths.toml", "reference.md"]
