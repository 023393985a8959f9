"""A CLIP tokenizer of our own: byte-level BPE trained on captions, in the layout SD 1.5 uses."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from pocket.captions import TRIGGERS, ZH_TRIGGERS, caption_scene
from pocket.scenes import sample_scene

VOCABULARY = 1536
LENGTH = 77  # tokens a caption, padded with the end token as in SD 1.5
START, END = "<|startoftext|>", "<|endoftext|>"
SUFFIX = "</w>"


def train_tokenizer(folder: Path, captions: int = 20_000, seed: int = 0) -> CLIPTokenizer:
    """Learns merges from `captions` captions and writes vocab.json, merges.txt and configs to `folder`."""
    learner = Tokenizer(models.BPE(end_of_word_suffix=SUFFIX, unk_token=END))
    clip = CLIPTokenizer().backend_tokenizer  # its splitting rules, so that training and reading agree
    learner.normalizer, learner.pre_tokenizer = clip.normalizer, clip.pre_tokenizer
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - 256 - 2,
        initial_alphabet=letters,
        end_of_word_suffix=SUFFIX,
        show_progress=False,
        min_frequency=10,
    )
    learner.train_from_iterator(_write_captions(captions, seed), trainer)
    learned = json.loads(learner.to_str())["model"]
    words = list(dict.fromkeys([*letters, *(letter + SUFFIX for letter in letters), *learned["vocab"]]))
    vocabulary = {word: number for number, word in enumerate([*words, START, END])}
    merges = [tuple(pair) for pair in learned["merges"]]
    tokenizer = CLIPTokenizer(
        vocab=vocabulary,
        merges=merges,
        bos_token=START,
        eos_token=END,
        pad_token=END,
        unk_token=END,
        model_max_length=LENGTH,
    )
    save_tokenizer(tokenizer, folder, vocabulary, merges)
    return CLIPTokenizer.from_pretrained(folder)


def save_tokenizer(
    tokenizer: CLIPTokenizer, folder: Path, vocabulary: dict[str, int], merges: list[tuple[str, str]]
) -> None:
    """All the files SD 1.5 has, so that older readers find vocab.json and merges.txt too."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "special_tokens_map.json").write_text(
        json.dumps({"bos_token": START, "eos_token": END, "pad_token": END, "unk_token": END}, indent=2)
    )


def _write_captions(count: int, seed: int) -> Iterator[str]:
    rng = random.Random(seed)
    triggers = [*TRIGGERS.values(), *ZH_TRIGGERS.values()]
    for _ in range(count):
        caption = caption_scene(sample_scene(rng), rng).text
        yield f"{caption}, {rng.choice(triggers)}" if rng.random() < 0.05 else caption
