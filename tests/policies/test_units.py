from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.errors import BadValueError
from policies.units import LARGEST, Bytes, Count, Seconds, parse_count, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "number"),
    [("0B", 0), ("64MiB", 64 * 2**20), ("1kB", 1000), ("1KiB", 1024), ("2GB", 2 * 10**9), ("1TiB", 2**40)],
)
def test_sizes_have_a_unit(text: str, number: int) -> None:
    assert parse_size(text) == number


@pytest.mark.parametrize(
    "value",
    [512, "512", "1.5GiB", "-1MiB", "1 MiB", "1mib", "1e3B", "", None, True, "٣MiB", "9999999TiB", "01B"],
)
def test_a_size_without_a_unit_or_with_a_doubtful_number_is_refused(value: object) -> None:
    with pytest.raises(BadValueError):
        parse_size(value)


@pytest.mark.parametrize(
    ("text", "number"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("1d", 86400), ("0s", 0)]
)
def test_durations_have_a_unit(text: str, number: int) -> None:
    assert parse_duration(text) == number


@pytest.mark.parametrize("value", [30, "30", "1h30m", "30min", "-1s", "30M", None])
def test_a_duration_in_other_words_is_refused(value: object) -> None:
    with pytest.raises(BadValueError):
        parse_duration(value)


@pytest.mark.parametrize(("value", "number"), [(0, 0), (2000, 2000), ("400k", 400_000), ("2M", 2_000_000)])
def test_counts_may_be_short(value: object, number: int) -> None:
    assert parse_count(value) == number


@pytest.mark.parametrize("value", [-1, True, 1.5, "400", "400K", "many", None, 2**60])
def test_a_count_that_is_none_is_refused(value: object) -> None:
    with pytest.raises(BadValueError):
        parse_count(value)


@given(st.integers(min_value=0, max_value=LARGEST // 1024))
def test_what_is_written_is_read_back(number: int) -> None:
    assert parse_size(Bytes(number).text) == number
    assert parse_duration(Seconds(number).text) == number
    assert parse_count(Count(number).text if number >= 1000 and number % 1000 == 0 else number) == number
