"""Fuzz the host's end of the link, and the guest's reader, with atheris.

A long run, by hand::

    python3.11 -m venv /tmp/fuzz && /tmp/fuzz/bin/pip install atheris
    PYTHONPATH=. nice /tmp/fuzz/bin/python tests/fuzz/fuzz_link.py -max_total_time=600 -timeout=10

Anything but a protocol error, a broken promise of the model or more than 10 seconds ends it with a traceback
and writes the input that did it. `-rss_limit_mb=512` is the bound on memory.
"""

from __future__ import annotations

import sys

import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]  # in an environment of its own: see above

with atheris.instrument_imports(include=["sandbox"]):
    from sandbox.guest import frames
    from sandbox.guest.frames import Decoder, ProtocolError
    from sandbox.guest.objects import decode_object, encode_object
    from tests.fuzz.hosting import PAYLOADS, Hosting

MOST_STEPS = 200


def fuzz(data: bytes) -> None:
    """Drive one link, from its greeting to its end, as the bytes say."""
    source = atheris.FuzzedDataProvider(data)
    if source.ConsumeBool():
        read_plainly(source.ConsumeBytes(source.remaining_bytes()))
        return
    host = Hosting(sealed=source.ConsumeBool(), accepting=source.ConsumeBool())
    for _ in range(MOST_STEPS):
        if not source.remaining_bytes() or not step(host, source):
            return


def read_plainly(data: bytes) -> None:
    """Read bytes as both ends read them before they have spoken, and every payload as an object."""
    try:
        heard = Decoder().feed(data)
    except ProtocolError:
        heard = []
    for payload in [data, *(frame.payload for frame in heard)]:
        try:
            value = decode_object(payload)
        except ProtocolError:
            continue
        assert decode_object(encode_object(value)) == value


def step(host: Hosting, source: atheris.FuzzedDataProvider) -> bool:
    """Let the host or the guest do one thing; return whether the link goes on."""
    number = source.ConsumeIntInRange(0, 12)
    match source.ConsumeIntInRange(0, 11):
        case 0:
            host.opens()
        case 1:
            host.beats()
        case 2:
            host.says(number, source.ConsumeIntInRange(0, 70_000))
        case 3:
            host.grants(number, source.ConsumeIntInRange(1, 100_000))
        case 4:
            host.cancels(number)
        case 5:
            host.answers(number)
        case 6:
            return host.hears(source.ConsumeBytes(source.ConsumeIntInRange(0, 64)))
        case _:
            return host.hears(frame(host, source, number))
    return True


def frame(host: Hosting, source: atheris.FuzzedDataProvider, number: int) -> bytes:
    """Return a frame that is nearly lawful."""
    kind = source.ConsumeIntInRange(0, 12)
    if source.ConsumeBool():
        payload = source.PickValueInList(list(PAYLOADS))
    else:
        payload = source.ConsumeBytes(source.ConsumeIntInRange(0, 300))
    whole = host.frame(kind, 0 if kind == frames.BEAT else number, payload)
    return whole[: source.ConsumeIntInRange(0, len(whole))] if source.ConsumeProbability() < 0.05 else whole


if __name__ == "__main__":
    atheris.Setup(sys.argv, fuzz)
    atheris.Fuzz()
