"""CLIP's tokenizer files, which one-file checkpoints leave out: every Stable Diffusion has the same ones.

clip/merges.txt.gz holds the merges of OpenAI's CLIP (MIT, see clip/LICENSE) in the order in which they were
learned; the vocabulary follows from them.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path

WORDS = 49_408
FILE = Path(__file__).with_name("clip") / "merges.txt.gz"
START, END = "<|startoftext|>", "<|endoftext|>"


def write_tokenizer(folder: Path, padding: str) -> None:
    """vocab.json, merges.txt and tokenizer_config.json. `padding`: token that fills a short prompt's rows."""
    folder.mkdir(parents=True)
    merges = gzip.decompress(FILE.read_bytes())
    (folder / "merges.txt").write_bytes(merges)
    vocabulary = json.dumps({word: number for number, word in enumerate(_words(merges.decode()))})
    (folder / "vocab.json").write_text(vocabulary, encoding="utf-8")
    config = {
        "tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "bos_token": START, "eos_token": END,
        "unk_token": END, "pad_token": padding,
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")


def _words(merges: str) -> list[str]:
    """Every byte as a letter, every byte at a word's end, each merge in its order, start and end."""
    letters = _letters()
    merged = ["".join(line.split()) for line in merges.splitlines()[1:]]
    return [*letters, *(letter + "</w>" for letter in letters), *merged, START, END]


def _letters() -> list[str]:
    """A printable letter for each byte: itself where it is one, then 256 on (GPT-2's table)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    return [chr(code) for code in (*printable, *range(256, 512 - len(printable)))]
