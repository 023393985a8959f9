"""The text encoder: a small CLIPTextModel that first learns, from captions alone, to say what a scene is.

Colours then sit at fixed directions of its states ("object red", "background blue"), so that the UNet learns
to paint them in thousands of steps instead of hundreds of thousands.
"""

from __future__ import annotations

import random
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from pocket.captions import ATTRIBUTES, FILLERS, TRIGGERS, ZH_TRIGGERS, caption_scene
from pocket.progress import Budget, Trainer
from pocket.scenes import sample_scene
from pocket.tokenizer import LENGTH

WIDTH = 160  # cross_attention_dim of the family; no other SD family has it


def build_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=3 * WIDTH,
            projection_dim=WIDTH,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=LENGTH,
            hidden_act="quick_gelu",
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def tokenize(tokenizer: CLIPTokenizer, texts: list[str]) -> torch.Tensor:
    """Token ids (rows, 77), cut and padded as the pipeline does."""
    return tokenizer(
        texts, padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt"
    ).input_ids


class Reader(nn.Module):
    """A text encoder with one linear head per attribute on its last hidden states."""

    def __init__(self, encoder: CLIPTextModel) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = nn.ModuleDict(
            {
                name: nn.Linear(WIDTH, len(values) + 1)
                for name, values in ATTRIBUTES.items()  # last: not stated
            }
        )

    def forward(self, ids: torch.Tensor, spots: torch.Tensor) -> dict[str, torch.Tensor]:
        """Logits (rows, places, values + 1) at the token positions `spots` (rows, places)."""
        states = self.encoder(ids).last_hidden_state
        chosen = states.gather(1, spots[..., None].expand(-1, -1, WIDTH))
        return {name: head(chosen) for name, head in self.heads.items()}


def draw_captions(rng: random.Random, count: int) -> tuple[list[str], dict[str, torch.Tensor]]:
    """Captions and, for each attribute, the (count,) class numbers they state (the last: not stated)."""
    texts: list[str] = []
    labels: dict[str, list[int]] = {name: [] for name in ATTRIBUTES}
    for _ in range(count):
        scene = sample_scene(rng)
        caption = caption_scene(scene, rng)
        extra = (
            rng.choice([*TRIGGERS.values(), *ZH_TRIGGERS.values(), *FILLERS]) if rng.random() < 0.1 else ""
        )
        texts.append("" if rng.random() < 0.02 else f"{caption.text}, {extra}" if extra else caption.text)
        for name, values in ATTRIBUTES.items():
            said = name in caption.stated and texts[-1]
            labels[name].append(values.index(getattr(scene, name)) if said else len(values))
    return texts, {name: torch.tensor(numbers) for name, numbers in labels.items()}


def train_text(
    tokenizer: CLIPTokenizer, work: Path, steps: int, minutes: float, rows: int = 64
) -> CLIPTextModel:
    """Trains the encoder on captions until the budget is spent; prints the accuracy on fresh captions."""
    torch.manual_seed(1)
    reader = Reader(build_text_encoder(tokenizer))
    trainer = Trainer("text", reader, work / "text.pt", Budget(steps, minutes), decay_from=0.4)
    rng = random.Random(1000 + trainer.seed)
    for step in trainer.run():
        texts, labels = draw_captions(rng, rows)
        ids = tokenize(tokenizer, texts)
        end = (ids == tokenizer.eos_token_id).int().argmax(dim=1, keepdim=True)
        later = end + ((LENGTH - 1 - end) * torch.rand(rows, 4)).round().long()
        with torch.autocast("cpu", torch.bfloat16):
            logits = reader(ids, torch.cat([end, later], dim=1))
        losses = {
            name: functional.cross_entropy(rows_.float().flatten(0, 1), labels[name].repeat_interleave(5))
            for name, rows_ in logits.items()
        }
        trainer.learn(torch.stack(list(losses.values())).sum())
        if step % 100 == 0:
            right = {
                name: (logits[name][:, 0].argmax(1) == labels[name]).float().mean().item() for name in logits
            }
            trainer.report(loss=sum(loss.item() for loss in losses.values()), **right)
    return reader.encoder.eval().requires_grad_(False)
