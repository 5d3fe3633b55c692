"""Make a model's folder without weights, which Dynamo's frontend and simulated engine take for one.

It runs in Dynamo's own environment: model_folder.py FOLDER. Nothing is downloaded; the tokenizer is trained
on text that is made up here, always the same.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

VOCABULARY = 2048
"""The simulated engine says tokens 1000 to 1999: all of them have to mean something."""
CONTEXT = 32768
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
VISIBLE = ["<tool_call>", "</tool_call>", "<think>", "</think>"]
NOUNS = ["agent", "file", "folder", "network", "code", "policy", "session", "tool", "command", "report"]
VERBS = ["reads", "writes", "runs", "opens", "lists", "checks", "denies", "calls", "prints", "tests"]
SYLLABLES = [
    "ka",
    "lo",
    "mi",
    "ter",
    "ven",
    "dor",
    "sa",
    "ru",
    "pol",
    "in",
    "ex",
    "qua",
    "ber",
    "ta",
    "nis",
    "cor",
]

BREAK = "{{ '\\n' }}"  # an expression, which the template engine does not trim
TEMPLATE = (
    "{% if tools %}<|im_start|>system"
    + BREAK
    + "{% if messages[0].role == 'system' %}{{ messages[0].content }}"
    + BREAK
    + "{% endif %}<tools>"
    + BREAK
    + "{% for t in tools %}{{ t | tojson }}"
    + BREAK
    + "{% endfor %}</tools><|im_end|>"
    + BREAK
    + "{% elif messages[0].role == 'system' %}<|im_start|>system"
    + BREAK
    + "{{ messages[0].content }}<|im_end|>"
    + BREAK
    + "{% endif %}"
    "{% for m in messages %}{% if not (loop.first and m.role == 'system') %}<|im_start|>{{ m.role }}"
    + BREAK
    + "{% if m.content %}{{ m.content }}{% endif %}{% if m.tool_calls %}{% for c in m.tool_calls %}"
    '<tool_call>{"name": {{ c.function.name | tojson }}, '
    '"arguments": {{ c.function.arguments | tojson }}}</tool_call>'
    "{% endfor %}{% endif %}<|im_end|>" + BREAK + "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant" + BREAK + "{% endif %}"
)


def sentences() -> list[str]:
    """Return what the tokenizer learns from."""
    chance = random.Random(7)  # noqa: S311 - the same text each time; it guards nothing
    words = ["".join(chance.choice(SYLLABLES) for _ in range(chance.randint(2, 4))) for _ in range(3000)]
    made = []
    for _ in range(10_000):
        noun, verb = chance.choice(NOUNS), chance.choice(VERBS)
        made.append(f"The {noun} {verb} {chance.randint(0, 999)} {chance.choice(NOUNS)}s.")
        made.append(" ".join(chance.choice(words) for _ in range(12)))
        made.append(json.dumps({"name": "read_file", "arguments": {"path": f"/src/{noun}.py"}}))
    return made


def make(folder: Path) -> None:
    """Write the folder."""
    folder.mkdir(parents=True)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(sentences(), trainer)
    tokenizer.add_tokens(VISIBLE)
    tokenizer.save(str(folder / "tokenizer.json"))
    begin, end = (tokenizer.token_to_id(name) for name in (SPECIAL[0], SPECIAL[2]))
    files = {
        "config.json": {
            "architectures": ["Qwen2ForCausalLM"],
            "model_type": "qwen2",
            "bos_token_id": begin,
            "eos_token_id": end,
            "hidden_size": 512,
            "intermediate_size": 1024,
            "num_hidden_layers": 8,
            "num_attention_heads": 8,
            "num_key_value_heads": 8,
            "max_position_embeddings": CONTEXT,
            "torch_dtype": "bfloat16",
            "vocab_size": tokenizer.get_vocab_size(),
            "tie_word_embeddings": True,
        },
        "generation_config.json": {"bos_token_id": begin, "eos_token_id": [end]},
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": CONTEXT,
            "bos_token": None,
            "eos_token": SPECIAL[2],
            "pad_token": SPECIAL[0],
            "add_bos_token": False,
            "chat_template": TEMPLATE,
        },
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    _write_replies(folder, tokenizer, end)


def _write_replies(folder: Path, tokenizer: Tokenizer, end: int) -> None:
    """Write what the simulated engine says when a request picks it: `output_replay_id:NAME`."""
    with (folder / "replies.jsonl").open("w") as file:
        for name, text in json.loads((Path(__file__).parent / "replies.json").read_text()).items():
            tokens = [*tokenizer.encode(text, add_special_tokens=False).ids, end]
            row = {"request_id": name, "session_id": name, "timestamp": 0, "input_length": 1, "hash_ids": [0]}
            file.write(json.dumps({**row, "output_length": len(tokens), "output_token_ids": tokens}) + "\n")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
