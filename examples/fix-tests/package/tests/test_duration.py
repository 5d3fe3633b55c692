from datetime import timedelta

import pytest

from freetime import DurationError, parse_duration, show_duration


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("PT45M", timedelta(minutes=45)),
        ("PT1H30M", timedelta(minutes=90)),
        ("P1DT12H", timedelta(hours=36)),
        ("P2W", timedelta(days=14)),
        ("PT0S", timedelta()),
    ],
)
def test_a_duration_is_read(text, duration):
    assert parse_duration(text) == duration


@pytest.mark.parametrize("text", ["", "P", "PT", "P1DT", "1H", "PT1H30", "P1M", "P1Y", "PT-1H", "pt1h"])
def test_what_is_no_duration_or_has_no_certain_length_is_refused(text):
    with pytest.raises(DurationError, match="is not a duration"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["PT45M", "PT1H30M", "P1DT12H", "P14D", "PT0S"])
def test_what_is_shown_is_what_was_read(text):
    assert show_duration(parse_duration(text)) == text
