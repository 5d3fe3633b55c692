"""Count things in a sentence."""


def counted(count: int, noun: str) -> str:
    """Return how many there are in words: `1 action`, `2 actions`; for nouns that take an `s`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
