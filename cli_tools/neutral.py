r"""Write untrusted text so that it acts on no terminal and no chat template, and read that back exactly.

One escape serves all: `⟦1b⟧` is the character U+001B, `⟦xff⟧` a byte that is not UTF-8. Of a chat template's
control token only the first character is escaped: `⟦3c⟧|im_start|>`. What looks like an escape already is
escaped itself. So `restore(neutralise(content))` is the content, whatever it is: a file that was read and is
written back keeps its bytes. docs/neutral-output.md says the same to people.
"""

from __future__ import annotations

import re
from typing import Final

from audit.escape import is_hidden

OPEN: Final = "\u27e6"
CLOSE: Final = "\u27e7"
LONGEST_ESCAPE: Final = 9
LONGEST_TOKEN: Final = 200
"""Bytes of the longest control token that is looked for."""

_WORDS: Final = (
    "s|bos|eos|pad|unk|sop|eop|think|tool_call|tool_response|tool_calls|tools|function_calls|function_results"
    "|start_of_turn|end_of_turn|start_of_image|end_of_image|image_soft_token|escape"
    "|(?:start|end)_function_(?:call|declaration|response)|bos_token|eos_token|BOS_TOKEN|EOS_TOKEN"
    "|TOOLCALL|AVAILABLE_TOOLS|TOOL_RESPONSE|minimax:tool_call"
)
_BRACKETED: Final = (
    "INST|SYS|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|ARGS|CALL_ID|THINK|IMG"
    "|IMG_BREAK|IMG_END|AUDIO|BEGIN_AUDIO|MODEL_SETTINGS|PREFIX|MIDDLE|SUFFIX|gMASK|sMASK|BOS|EOS"
)
TOKEN: Final = re.compile(
    rf"<\|[^|<>\n{OPEN}{CLOSE}]{{1,64}}\|>"  # ChatML, Llama 3, Phi, Command R, gpt-oss, …
    f"|<\uff5c[^\uff5c<>\n{OPEN}{CLOSE}]{{1,64}}\uff5c>|</?\uff5cDSML\uff5c"  # DeepSeek, full-width bars
    r"|<\|[a-z_]{1,32}>|<[a-z_]{1,32}\|>"  # Gemma 4: ai.google.dev/gemma/docs/core/prompt-formatting-gemma4
    r"|\]~!?b[\[\]]|\[e~\["  # MiniMax
    rf"|</?(?:{_WORDS})>|<<\/?SYS>>"  # Llama 2, Gemma, Qwen, …
    rf"|\[/?(?:{_BRACKETED})\]"  # Mistral, Llama 2, GLM
    r"|<(?:unused|extra_id_|reserved_|SPECIAL_)[0-9]{1,5}>"
)
"""Control tokens of the chat templates in use; their published `tokenizer_config.json` files name them.

None holds an escape's marks, so that an escape between two halves makes no token of them.
"""

_LOOKS_ESCAPED: Final = rf"{OPEN}(?=x?[0-9a-f]{{1,6}}{CLOSE})"
# INVARIANT: of a token its first character alone is consumed, so that one which overlaps it is seen as well.
_FIRST_OF_TOKEN: Final = re.compile(rf"(?=(?P<token>{TOKEN.pattern}))[<\[\]]")
_SEEN: Final = re.compile(
    rf"(?P<acts>{_LOOKS_ESCAPED}|(?={TOKEN.pattern})[<\[\]])|[\x00-\x08\x0b-\x1f\x7f]|[^\x00-\x7f]"
)
_LAID_OUT: Final = re.compile(r"[\n\t]")
_ESCAPE: Final = re.compile(rb"\xe2\x9f\xa6(?:x([89a-f][0-9a-f])|([0-9a-f]{1,6}))\xe2\x9f\xa7")


def neutralise(content: bytes | str) -> str:
    """Return content as text that is only ever read: newlines and tabs stay, what could act is an escape."""
    text = content if isinstance(content, str) else content.decode("utf-8", "surrogateescape")
    return _SEEN.sub(_escaped, text)


def field(content: bytes | str) -> str:
    """Return one field of a line, such as a file's name: newlines and tabs are escaped as well."""
    return _LAID_OUT.sub(lambda found: _code(found.group()), neutralise(content))


def restore(content: bytes) -> bytes:
    """Return the bytes that neutralised content stood for; what is no escape stays as it is."""
    return _ESCAPE.sub(_original, content) if OPEN.encode() in content else content


def whole(text: str, end: int) -> int:
    """Return the last place up to `end` where neutralised text can be cut without cutting an escape."""
    start = text.rfind(OPEN, max(0, end - LONGEST_ESCAPE), end)
    return end if start < 0 or CLOSE in text[start:end] or CLOSE not in text[start : end + 9] else start


def token_at(text: str, place: int) -> int:
    """Return the last place up to this one where raw text can be cut without cutting a control token."""
    window = max(0, place - LONGEST_TOKEN)
    for found in reversed(list(_FIRST_OF_TOKEN.finditer(text, window))):  # what overlaps moves it once more
        if found.start() < place < found.end("token"):
            place = found.start()
    return place


def _escaped(found: re.Match[str]) -> str:
    text = found.group()
    return _code(text) if found["acts"] or is_hidden(text) else text


def _code(character: str) -> str:
    code = ord(character)
    return f"{OPEN}x{code - 0xDC00:02x}{CLOSE}" if 0xDC80 <= code <= 0xDCFF else f"{OPEN}{code:x}{CLOSE}"


def _original(found: re.Match[bytes]) -> bytes:
    if found[1]:
        return bytes([int(found[1], 16)])
    code = int(found[2], 16)
    if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        return found.group()
    return chr(code).encode()
