"""Prompts as text rows: 75-token chunks, weights on tokens, one LoRA stack a text.

A prompt without markup and under 76 tokens gives exactly what `encode_prompt` of a diffusers pipeline gives.
Source of the chunking and of the weighting ("Original"): modules/sd_hijack_clip.py and modules/sd_emphasis.py
of AUTOMATIC1111/stable-diffusion-webui.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from studio.engine.lora import Bank
from studio.prompt import Span, parse

BACKTRACK = 20  # tokens: a chunk may end early at a comma this near, so that a phrase stays in one piece


class TextModel(Protocol):
    """What is needed of a model to encode text.

    `text_encoders`: one CLIP text model, two (SDXL type) or the second of those alone (its refiner), with a
    tokenizer each.
    `banks`: "text_encoder" and "text_encoder_2" -> the encoder's bank; a model without banks takes no LoRA.
    """

    @property
    def tokenizers(self) -> Sequence[Any]: ...
    @property
    def text_encoders(self) -> Sequence[Any]: ...
    @property
    def banks(self) -> Mapping[str, Bank]: ...
    @property
    def device(self) -> torch.device: ...
    @property
    def dtype(self) -> torch.dtype: ...


@dataclass(frozen=True)
class TextRows:
    """`embeds`: (77 * chunks, dim), dim over both encoders. `pooled`: (dim), of the first chunk."""

    embeds: Tensor
    pooled: Tensor | None


@dataclass
class _Chunk:
    """Up to 75 tokens, without start and end."""

    tokens: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    comma: int = -1  # where the last one is


def encode(
    texts: Sequence[str], model: TextModel, stacks: Sequence[Mapping[str, float]] = ()
) -> list[TextRows]:
    """One TextRows a text, each as long as it needs. `stacks`: adapter -> weight for each text, () = none.

    Raises BadRequest for markup that cannot be read.
    """
    sections = [parse(text).sections for text in texts]
    rows = [dict(stack) for stack in stacks] or [{} for _ in texts]
    chunked = [
        [_Chunker(tokenizer, _room(encoder)).cut(spans) for spans in sections]
        for tokenizer, encoder in zip(model.tokenizers, model.text_encoders, strict=True)
    ]
    _level(chunked)
    encoded = [_encode(number, per_text, rows, model) for number, per_text in enumerate(chunked)]
    return [_join(parts, model) for parts in zip(*encoded, strict=True)]


def pad_to(
    rows: TextRows, tokens: int, model: TextModel, stack: Mapping[str, float] | None = None
) -> TextRows:
    """`rows` with empty chunks up to `tokens` tokens, so that rows of several prompts fit into one batch."""
    missing = tokens - len(rows.embeds)
    if missing <= 0:
        return rows
    empty = encode([""], model, [stack or {}])[0].embeds
    return TextRows(torch.cat([rows.embeds, empty.repeat(-(-missing // len(empty)), 1)]), rows.pooled)


def _room(encoder: Any) -> int:
    """Tokens of a chunk without start and end: 75."""
    return int(encoder.config.max_position_embeddings) - 2


class _Chunker:
    def __init__(self, tokenizer: Any, room: int) -> None:
        self._tokenizer, self._room = tokenizer, room
        comma = tokenizer.convert_tokens_to_ids(",</w>")
        self._comma = None if comma == tokenizer.unk_token_id else comma
        self._chunks: list[_Chunk] = []

    def cut(self, sections: Sequence[Sequence[Span]]) -> list[_Chunk]:
        """At least one chunk; every section begins a new one."""
        for spans in sections:
            self._chunks.append(_Chunk())
            for span in spans:
                for token in self._tokenizer(span.text, add_special_tokens=False, verbose=False).input_ids:
                    self._take(token, span.weight)
        if len(self._chunks) > 1 and not self._chunks[-1].tokens:
            self._chunks.pop()  # BREAK at the very end
        return self._chunks

    def _take(self, token: int, weight: float) -> None:
        if len(self._chunks[-1].tokens) == self._room:
            self._turn_over(token)
        chunk = self._chunks[-1]
        if token == self._comma:
            chunk.comma = len(chunk.tokens)
        chunk.tokens.append(token)
        chunk.weights.append(weight)

    def _turn_over(self, token: int) -> None:
        """A new chunk; what stood behind the last comma of the full one goes along."""
        full, following = self._chunks[-1], _Chunk()
        if token != self._comma and full.comma >= 0 and self._room - full.comma <= BACKTRACK:
            cut = full.comma + 1
            following = _Chunk(full.tokens[cut:], full.weights[cut:])
            del full.tokens[cut:], full.weights[cut:]
        self._chunks.append(following)


def _level(chunked: Sequence[Sequence[list[_Chunk]]]) -> None:
    """The tokenizers of a model cut alike; where ever they do not, the shorter text gets empty chunks."""
    for per_text in zip(*chunked, strict=True):
        longest = max(map(len, per_text))
        for chunks in per_text:
            chunks.extend(_Chunk() for _ in range(longest - len(chunks)))


@torch.no_grad()
def _encode(
    number: int, chunked: list[list[_Chunk]], stacks: Sequence[Mapping[str, float]], model: TextModel
) -> list[tuple[Tensor, Tensor | None]]:
    """All chunks of all texts through encoder `number` in one call: (77 * chunks, dim) and pooled a text."""
    encoder, tokenizer = model.text_encoders[number], model.tokenizers[number]
    chunks = [chunk for per_text in chunked for chunk in per_text]
    rows = [stack for per_text, stack in zip(chunked, stacks, strict=True) for _ in per_text]
    ids = torch.tensor([_ids(chunk, tokenizer, _room(encoder)) for chunk in chunks], device=encoder.device)
    bank = model.banks.get("text_encoder_2" if number else "text_encoder")
    with nullcontext() if bank is None else bank.weights(rows):
        projects = hasattr(encoder, "text_projection")
        if len(model.text_encoders) == 1 and not projects:
            embeds, pooled = encoder(ids)[0], None
        else:  # SDXL type: the last layer but one of both; pooled is what the second one projects
            output = encoder(ids, output_hidden_states=True)
            embeds, pooled = output.hidden_states[-2], output[0] if projects else None
    weighed = [_weigh(row, chunk) for row, chunk in zip(embeds, chunks, strict=True)]
    results: list[tuple[Tensor, Tensor | None]] = []
    begin = 0
    for per_text in chunked:
        end = begin + len(per_text)
        results.append((torch.cat(weighed[begin:end]), None if pooled is None else pooled[begin]))
        begin = end
    return results


def _ids(chunk: _Chunk, tokenizer: Any, room: int) -> list[int]:
    padding = [tokenizer.pad_token_id] * (room - len(chunk.tokens))
    return [tokenizer.bos_token_id, *chunk.tokens, tokenizer.eos_token_id, *padding]


def _weigh(row: Tensor, chunk: _Chunk) -> Tensor:
    """`row` (77, dim) times the token weights, its mean restored."""
    if all(weight == 1 for weight in chunk.weights):
        return row
    after = [1.0] * (len(row) - 1 - len(chunk.weights))
    weights = torch.tensor([1.0, *chunk.weights, *after], device=row.device)
    scaled = row.float() * weights[:, None]
    ratio = row.float().mean() / scaled.mean()
    return (scaled * ratio if ratio.isfinite() else scaled).to(row.dtype)


def _join(parts: Sequence[tuple[Tensor, Tensor | None]], model: TextModel) -> TextRows:
    embeds = torch.cat([embeds for embeds, _ in parts], dim=-1).to(model.device, model.dtype)
    pooled = parts[-1][1]
    return TextRows(embeds, None if pooled is None else pooled.to(model.device, model.dtype))
