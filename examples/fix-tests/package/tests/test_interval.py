from datetime import datetime

import pytest

from freetime import Interval, merged


def span(start: int, end: int) -> Interval:
    return Interval(datetime(2026, 3, 2, start), datetime(2026, 3, 2, end))


@pytest.mark.parametrize(
    ("intervals", "expected"),
    [
        ([], []),
        ([span(9, 10)], [span(9, 10)]),
        ([span(11, 12), span(9, 10)], [span(9, 10), span(11, 12)]),
        ([span(9, 11), span(10, 12)], [span(9, 12)]),
        ([span(9, 10), span(10, 11)], [span(9, 11)]),
    ],
)
def test_intervals_are_merged_where_they_overlap_or_touch(intervals, expected):
    assert merged(intervals) == expected


def test_an_interval_cannot_end_before_it_starts():
    with pytest.raises(ValueError, match="is before the start"):
        Interval(datetime(2026, 3, 2, 10), datetime(2026, 3, 2, 9))


def test_an_interval_is_clipped_to_another():
    assert span(8, 12).clipped(span(9, 11)) == span(9, 11)
    assert span(8, 9).clipped(span(9, 11)) is None
