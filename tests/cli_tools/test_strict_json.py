"""What two readers of JSON could take in two ways is none: RFC 8259, clauses 4, 6 and 9."""

from __future__ import annotations

import pytest

from cli_tools.strict_json import DEEPEST, read_json

REFUSED = {
    '{"a": 1, "a": 2}': "a name stands twice",
    "NaN": "`NaN` is not JSON",
    "[-Infinity]": "`-Infinity` is not JSON",
    "1e309": "the number `1e309` is too large",
    "-1e309": "the number `-1e309` is too large",
    "9" * 309: "a number has more than 308 digits",
    "-" + "9" * 10**6: "a number has more than 308 digits",
    "[" * 65 + "]" * 65: "it is nested more than 64 deep",
    '{"a": ' * 65 + "1" + "}" * 65: "it is nested more than 64 deep",
    '[[], {"a": ' * 500 + "1" + "}]" * 500: "it is nested more than 64 deep",
    "[" * 10**6: "it is nested more than 64 deep",
}


@pytest.mark.parametrize("text", REFUSED, ids=list(REFUSED.values()))
def test_what_another_reader_would_not_read_so_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=f"^{REFUSED[text]}$"):
        read_json(text)


def test_what_every_reader_reads_is_read() -> None:
    deep = "[" * DEEPEST + "]" * DEEPEST
    value = read_json('{"a": [1, -2.5, 1e308, ' + "9" * 308 + ', null, true, "x"], "b": {"a": {}}}')

    assert value == {"a": [1, -2.5, 1e308, int("9" * 308), None, True, "x"], "b": {"a": {}}}
    assert str(read_json(deep)) == deep
