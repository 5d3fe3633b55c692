"""Fuzz both ends of the link with atheris: the host's rules, and the guest's streams and workers.

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
    from tests.fuzz import guesting, hosting
    from tests.fuzz.guesting import Guesting
    from tests.fuzz.hosting import Hosting

MOST_STEPS = 200


def fuzz(data: bytes) -> None:
    """Drive one end of a link, from its greeting to its end, as the bytes say."""
    source = atheris.FuzzedDataProvider(data)
    match source.ConsumeIntInRange(0, 3):
        case 0:
            read_plainly(source.ConsumeBytes(source.remaining_bytes()))
        case 1:
            besiege(source)
        case _:
            host = Hosting(sealed=source.ConsumeBool(), accepting=source.ConsumeBool())
            for _ in range(MOST_STEPS):
                if not source.remaining_bytes() or not step(host, source):
                    return


def besiege(source: atheris.FuzzedDataProvider) -> None:
    """Let a host and workers, all hostile, send a guest what the bytes say."""
    with Guesting() as guest:
        for _ in range(MOST_STEPS):
            if guest.lost or not source.remaining_bytes():
                return
            assail(guest, source)


def assail(guest: Guesting, source: atheris.FuzzedDataProvider) -> None:
    """Do one thing to a guest."""
    number = source.ConsumeIntInRange(0, 12)
    match source.ConsumeIntInRange(0, 9):
        case 0:
            guest.host_reads()
        case 1:
            guest.worker_answers(number, dies=source.ConsumeBool())
        case 2:
            guest.signalled(number, dead=source.ConsumeBool())
        case 3:
            guest.worker_says(number, source.ConsumeBytes(source.ConsumeIntInRange(0, 64)))
        case 4 | 5:
            workers = list(guest.pool)
            if workers:
                kind, payload = source.ConsumeIntInRange(0, 12), pick(source, guesting.PAYLOADS)
                guest.worker_frame(workers[number % len(workers)], kind, payload)
        case 6:
            guest.turns(later_seconds=source.PickValueInList([0.0, 0.1, 40.0]))
        case 7:
            guest.hears(source.ConsumeBytes(source.ConsumeIntInRange(0, 64)))
        case _:
            kind, payload = source.ConsumeIntInRange(0, 12), pick(source, guesting.PAYLOADS)
            guest.hears(frames.HEADER.pack(len(payload), kind, number) + payload)


def pick(source: atheris.FuzzedDataProvider, payloads: tuple[bytes, ...]) -> bytes:
    """Return a payload that is nearly lawful, or any."""
    if source.ConsumeBool():
        chosen: bytes = source.PickValueInList(list(payloads))
    else:
        chosen = source.ConsumeBytes(source.ConsumeIntInRange(0, 300))
    return chosen


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
    payload = pick(source, hosting.PAYLOADS)
    whole = host.frame(kind, 0 if kind == frames.BEAT else number, payload)
    return whole[: source.ConsumeIntInRange(0, len(whole))] if source.ConsumeProbability() < 0.05 else whole


if __name__ == "__main__":
    atheris.Setup(sys.argv, fuzz)
    atheris.Fuzz()
