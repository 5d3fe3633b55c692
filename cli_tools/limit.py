"""Declare the option that bounds a list."""

from __future__ import annotations

import click


def limit_option(most: int, default: int) -> click.Option:
    """Return `--limit`.

    Args:
        most: The most that may be asked for.
        default: How many are shown where it is not given.
    """
    return click.Option(["--limit"], type=click.IntRange(1, most), default=default, help="How many to show.")
