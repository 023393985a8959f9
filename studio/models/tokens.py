"""Tokens of a prompt as CLIP counts them, without transformers: the page counts at each key press."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import BPE

from studio.errors import BadRequest

# As transformers' CLIPTokenizer builds it (models/clip/tokenization_clip.py).
WORDS = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
UNKNOWN = "<|endoftext|>"


def load_tokenizer(folder: Path) -> Tokenizer:
    """From a model's `tokenizer` folder. Raises BadRequest (`model_incomplete`)."""
    try:
        if not (folder / "vocab.json").is_file():
            tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            tokenizer.no_padding()
            tokenizer.no_truncation()
            return tokenizer
        vocab, merges = BPE.read_file(str(folder / "vocab.json"), str(folder / "merges.txt"))
        model = BPE(
            vocab,
            merges,
            continuing_subword_prefix="",
            end_of_word_suffix="</w>",
            fuse_unk=False,
            unk_token=UNKNOWN,
        )
    except Exception as error:  # the library raises bare Exception for a missing or broken file
        raise BadRequest(
            "The model's tokenizer cannot be read.", hint="Copy the model again.", code="model_incomplete"
        ) from error
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.add_special_tokens(["<|startoftext|>", "<|endoftext|>"])
    return tokenizer


def count(tokenizer: Tokenizer, text: str) -> int:
    """Without the start and end token."""
    return len(tokenizer.encode(text, add_special_tokens=False).ids)
