"""An agent may show a model pictures whose bytes stand in its request; nothing that a server would fetch."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final

import orjson
import pytest

from agent_runner.backends.backend import ObservationMessage, UserMessage
from agent_runner.backends.chat_wire import wire_message as chat_message
from agent_runner.backends.closed import require_closed
from agent_runner.backends.estimate import estimated
from agent_runner.backends.failure import ModelServerError
from agent_runner.backends.media import MOST_BYTES, MOST_MEDIA, TOKENS, Media, media_of
from agent_runner.backends.messages_wire import wire_messages
from agent_runner.gateway.asked import Asked, RefusedRequestError
from agent_runner.gateway.chat_api import ChatApi
from agent_runner.gateway.crossing import question_bytes, question_of
from agent_runner.gateway.messages_api import MessagesApi
from agent_runner.gateway.responses_api import ResponsesApi
from sandbox.egress.wire import WireError

if TYPE_CHECKING:
    from agent_runner.gateway.api import Api

PNG: Final = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
PICTURES: Final = {
    "image/png": PNG,
    "image/jpeg": b"\xff\xd8\xff\xe0" + bytes(30),
    "image/gif": b"GIF89a" + bytes(30),
    "image/webp": b"RIFF\1\2\3\4WEBPVP8 ",
}


def encoded(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def chat(url: object, **more: object) -> tuple[Api, dict[str, Any]]:
    part = {"type": "image_url", "image_url": {"url": url, **more}}
    said = {"role": "user", "content": [{"type": "text", "text": "What is it?"}, part]}
    return ChatApi(), {"model": "main", "messages": [said]}


def responses(url: object) -> tuple[Api, dict[str, Any]]:
    part = {"type": "input_image", "image_url": url, "detail": "auto"}
    said = {"role": "user", "content": [{"type": "input_text", "text": "What is it?"}, part]}
    return ResponsesApi(), {"model": "main", "input": [said]}


def messages(kind: object, data: object, **more: object) -> tuple[Api, dict[str, Any]]:
    part = {"type": "image", "source": {"type": "base64", "media_type": kind, "data": data, **more}}
    said = {"role": "user", "content": [part, {"type": "text", "text": "What is it?"}]}
    return MessagesApi(), {"model": "main", "max_tokens": 9, "messages": [said]}


def ways(kind: str, data: str) -> list[tuple[Api, dict[str, Any]]]:
    """Return the three APIs' requests with one picture."""
    url = f"data:{kind};base64,{data}"
    return [chat(url, detail="high"), responses(url), messages(kind, data)]


def user_of(asked: Asked) -> UserMessage:
    (said,) = asked.messages
    assert isinstance(said, UserMessage)
    return said


@pytest.mark.parametrize("kind", PICTURES)
def test_a_picture_reaches_either_kind_of_server_as_its_bytes(kind: str) -> None:
    for api, body in ways(kind, encoded(PICTURES[kind])):
        said = user_of(question_of(question_bytes(api.read(body))))

        assert said == UserMessage(text="What is it?", media=(Media(kind, PICTURES[kind]),))
        as_chat = {"messages": [chat_message(said)], "model": "m"}
        as_messages = {"messages": wire_messages([said]), "model": "m", "max_tokens": 9}
        require_closed("chat", as_chat)
        require_closed("messages", as_messages)
        for sent in (as_chat, as_messages):
            assert encoded(PICTURES[kind]).encode() in orjson.dumps(sent)


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/a.png",
        "file:///etc/passwd",
        " data:image/png;base64," + encoded(PNG),
        "DATA:image/png;base64," + encoded(PNG),
        {"url": "data:"},
        ["data:"],
        7,
    ],
)
def test_a_picture_elsewhere_is_refused_as_what_a_server_would_fetch(url: object) -> None:
    for api, body in (chat(url), responses(url)):
        with pytest.raises(RefusedRequestError) as caught:
            api.read(body)

        assert caught.value.code == "capability"
        assert "evil.example" not in caught.value.message


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("data:image/png,", ""),
        ("data:image/png;charset=utf-8;base64,", ""),
        ("data:image/PNG;base64,", ""),
        ("data:;base64,", ""),
        ("data:image/svg+xml;base64,", ""),
        ("data:text/html;base64,", ""),
        ("data:image/png;base64,", "\n"),
        ("data:image/png;base64,", "#https://evil.example"),
        ("data:image/png;base64,", ",https://evil.example"),
        ("data:image/png;base64,", "%2F"),
        ("data:image/png;base64,data:image/png;base64,", ""),
        ("data:image/jpeg;base64,", ""),
        ("data:image/png;base64,A", ""),
    ],
)
def test_a_picture_is_written_in_one_way(before: str, after: str) -> None:
    url = before + encoded(PNG) + after
    for api, body in (chat(url), responses(url)):
        with pytest.raises(RefusedRequestError):
            api.read(body)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("image/png", "AA=A"),
        ("image/png", "é" * 20),
        ("image/png", ""),
        ("image/png", None),
        ("image/png", encoded(b"<svg/>")),
        ("image/svg+xml", encoded(PNG)),
        (["image/png"], encoded(PNG)),
        ("image/png", encoded(PNG[:8] + bytes(MOST_BYTES))),
    ],
)
def test_what_is_no_picture_is_refused_where_it_comes_in_and_where_it_leaves(
    kind: object, data: object
) -> None:
    api, body = messages(kind, data)
    with pytest.raises(RefusedRequestError):
        api.read(body)

    source = {"type": "base64", "media_type": kind, "data": data}
    sent = {"messages": [{"role": "user", "content": [{"type": "image", "source": source}]}]}
    with pytest.raises(ModelServerError) as caught:
        require_closed("messages", sent)
    assert caught.value.failure.kind == "capability"


@pytest.mark.parametrize(
    "source",
    [
        {"type": "url", "url": "https://evil.example/a.png"},
        {"type": "file", "file_id": "f"},
        {"type": "base64", "media_type": "image/png", "data": encoded(PNG), "url": "https://evil.example"},
        "data:image/png;base64," + encoded(PNG),
    ],
)
def test_only_a_source_that_is_its_bytes_is_taken(source: object) -> None:
    part = {"type": "image", "source": source}
    body = {"model": "main", "max_tokens": 9, "messages": [{"role": "user", "content": [part]}]}
    with pytest.raises(RefusedRequestError) as caught:
        MessagesApi().read(body)

    assert caught.value.code == "capability"
    with pytest.raises(ModelServerError):
        require_closed("messages", {"messages": [{"role": "user", "content": [part]}]})


@pytest.mark.parametrize(
    "url", ["https://evil.example/a.png", "data:image/png;base64,iVBORw0KGgp=", "file:///etc/passwd", None, 7]
)
def test_what_leaves_for_a_chat_server_is_written_as_we_write_it(url: object) -> None:
    """The twin is the first test; bits that base64 leaves over could say the same in two ways."""
    part = {"type": "image_url", "image_url": {"url": url}}
    with pytest.raises(ModelServerError):
        require_closed("chat", {"messages": [{"role": "user", "content": [part]}]})


@pytest.mark.parametrize("role", ["system", "assistant", "tool"])
def test_nobody_but_the_user_shows_pictures(role: str) -> None:
    part = {"type": "image_url", "image_url": {"url": Media("image/png", PNG).url}}
    said = {"role": role, "content": [part], **({"tool_call_id": "c"} if role == "tool" else {})}
    with pytest.raises(RefusedRequestError, match="content of type `image_url`"):
        ChatApi().read({"model": "main", "messages": [said]})
    with pytest.raises(ModelServerError):
        require_closed("chat", {"messages": [said]})


def test_pictures_are_bounded_in_number_and_counted_as_tokens() -> None:
    api, body = chat(Media("image/png", PNG).url)
    (said,) = body["messages"]
    said["content"] = said["content"][1:] * MOST_MEDIA
    asked = api.read(body)
    assert estimated(asked.messages, ()) == TOKENS * MOST_MEDIA
    assert chat_message(asked.messages[0])["content"] == said["content"]

    said["content"] += said["content"][:1]
    with pytest.raises(RefusedRequestError, match=f"more than {MOST_MEDIA} pictures") as caught:
        api.read(body)
    assert caught.value.status == 413


def results_showing(part: object, *, read: bool = True) -> list[tuple[Api, dict[str, Any]]]:
    """Return requests in which one of two results is a text and this part, with what follows."""
    text = [{"type": "text", "text": "It is "}, part] if read else [part]
    said = [{"type": "text", "text": "Well?"}]
    results = [
        {"type": "tool_result", "tool_use_id": name, "content": content}
        for name, content in (("a", "A"), ("b", text))
    ]
    outputs = [
        {"type": "function_call_output", "call_id": name, "output": output}
        for name, output in (("b", text), ("a", "A"))
    ]
    user = {"role": "user", "content": "Well?"}
    return [
        (MessagesApi(), {"model": "main", "messages": [{"role": "user", "content": results + said}]}),
        (ResponsesApi(), {"model": "main", "input": [*outputs, user]}),
        (ResponsesApi(), {"model": "main", "input": outputs}),
    ]


def test_a_picture_in_a_result_is_shown_behind_all_of_the_results() -> None:
    """Agents look at files so. Calls and results stay together; servers of chat take no picture there."""
    source = {"type": "base64", "media_type": "image/png", "data": encoded(PNG)}
    url = {"type": "input_image", "image_url": Media("image/png", PNG).url, "detail": "high"}
    first, last = (
        ObservationMessage(call_id="a", text="A", refused=False),
        ObservationMessage(call_id="b", text="It is [pictures that follow: 1]", refused=False),
    )
    (api, body), *_ = results_showing({"type": "image", "source": source})
    _, *others = results_showing(url)
    media = (Media("image/png", PNG),)

    asked = [question_of(question_bytes(api.read(body))).messages for api, body in ((api, body), *others)]

    assert asked[0] == (first, last, UserMessage(text="Well?", media=media))
    assert asked[1] == (last, first, UserMessage(text="", media=media), UserMessage(text="Well?"))
    assert asked[2] == (last, first, UserMessage(text="", media=media))
    for talk in asked:
        require_closed("chat", {"messages": [chat_message(each) for each in talk]})
        require_closed("messages", {"messages": wire_messages(list(talk))})


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image", "source": {"type": "url", "url": "https://evil.example/a.png"}},
        {"type": "image", "source": {"type": "file", "file_id": "f"}},
        {"type": "document", "source": {"type": "url", "url": "https://evil.example/a.pdf"}},
        {"type": "search_result", "source": "https://evil.example", "title": "x", "content": []},
        {"type": "tool_reference", "tool_name": "x"},
        {"type": "input_image", "image_url": "https://evil.example/a.png"},
        {"type": "input_image", "file_id": "f"},
        {"type": "input_file", "file_url": "https://evil.example/a.pdf"},
        {"type": "input_file", "file_data": "data:application/pdf;base64,AA=="},
        {"type": "image_url", "image_url": {"url": "file:///etc/passwd"}},
    ],
)
def test_what_a_server_would_fetch_is_refused_in_a_result_too(part: object) -> None:
    for api, body in results_showing(part, read=False):
        with pytest.raises(RefusedRequestError) as caught:
            api.read(body)

        assert caught.value.code == "capability"
        assert "evil.example" not in caught.value.message


@pytest.mark.parametrize("spoilt", [b"image/svg", b"text/html,"])
def test_a_parser_that_was_taken_over_can_send_no_other_picture(spoilt: bytes) -> None:
    api, body = chat(Media("image/png", PNG).url)
    blob = question_bytes(api.read(body))
    assert user_of(question_of(blob)).media

    for crossed in (blob.replace(b"image/png", spoilt), blob.replace(encoded(PNG).encode(), b"PHN2Zy8+")):
        with pytest.raises(WireError):
            question_of(crossed)


def test_bits_that_base64_leaves_over_are_not_passed_on() -> None:
    """`iVBORw0KGgo=` and `iVBORw0KGgp=` are the same eight bytes."""
    found = media_of("image/png", "iVBORw0KGgp=")

    assert found.data == "iVBORw0KGgo="
