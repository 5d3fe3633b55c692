"""Read numbers."""


def number(text: str) -> float:
    """Return a text's number."""
    return float(text)
