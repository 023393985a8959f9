"""The judge of evaluation: a small network that names what a drawn scene shows."""

from __future__ import annotations

import random
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from pocket.latents import NATIVE, to_tensor
from pocket.palette import COLOURS
from pocket.products import PRODUCTS
from pocket.progress import Average, Budget, Trainer
from pocket.scenes import STYLES, Scene, draw_scene, sample_scene

QUESTIONS: dict[str, tuple[str, ...]] = {
    "product": tuple(PRODUCTS),
    "colour": tuple(COLOURS),
    "style": STYLES,
}
SEEN = 64  # px a side the network looks at


class Judge(nn.Module):
    """Pictures (rows, 3, 128, 128) in -1..1 to logits (rows, values) for each question."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in ((3, 32), (32, 64), (64, 128), (128, 192)):
            layers += [
                nn.Conv2d(before, after, 3, stride=2, padding=1),
                nn.GroupNorm(4, after),
                nn.SiLU(),
                nn.Conv2d(after, after, 3, padding=1),
                nn.GroupNorm(4, after),
                nn.SiLU(),
            ]
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Linear(192 * 16, 160), nn.SiLU())
        self.heads = nn.ModuleDict({name: nn.Linear(160, len(values)) for name, values in QUESTIONS.items()})

    def forward(self, pictures: torch.Tensor) -> dict[str, torch.Tensor]:
        small = functional.interpolate(pictures, size=(SEEN, SEEN), mode="area")
        features = self.body(small)
        return {name: head(features) for name, head in self.heads.items()}


def draw_exam(rng: random.Random, rows: int, spoil: bool = True) -> tuple[list[Scene], torch.Tensor]:
    """Scenes of every style, held-out combinations included, and their pictures (rows, 3, 128, 128).

    With `spoil`, two pictures in three are blurred or made noisy, as a sampler's pictures can be.
    """
    scenes = [sample_scene(rng, STYLES, held_out=rng.random() < 0.1) for _ in range(rows)]
    pictures = []
    for scene in scenes:
        picture = draw_scene(scene, NATIVE)
        if spoil and rng.random() < 0.5:
            picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.3, 1.6))
        if spoil and rng.random() < 0.4:
            noise = np.random.default_rng(rng.getrandbits(32)).normal(0, rng.uniform(2, 12), picture.shape)
            picture = np.clip(picture + noise, 0, 255).astype(np.uint8)
        pictures.append(picture)
    return scenes, to_tensor(np.stack(pictures))


def truth(scenes: list[Scene], question: str) -> torch.Tensor:
    return torch.tensor([QUESTIONS[question].index(getattr(scene, question)) for scene in scenes])


def train_judge(work: Path, steps: int, minutes: float, rows: int = 64) -> Judge:
    torch.manual_seed(10)
    judge = Judge().to(memory_format=torch.channels_last)
    trainer = Trainer(
        "judge", judge, work / "judge.pt", Budget(steps, minutes), warm_up=20, average=Average(judge, 0.99)
    )
    rng = random.Random(11 + trainer.seed)
    for step in trainer.run():
        scenes, pictures = draw_exam(rng, rows)
        with torch.autocast("cpu", torch.bfloat16):
            answers = judge(pictures.contiguous(memory_format=torch.channels_last))
        losses = [
            functional.cross_entropy(logits.float(), truth(scenes, name)) for name, logits in answers.items()
        ]
        trainer.learn(torch.stack(losses).sum())
        if step % 50 == 0:
            trainer.report(**grade(answers, scenes))
    return trainer.average.module.eval()


def grade(answers: dict[str, torch.Tensor], scenes: list[Scene]) -> dict[str, float]:
    """Share of right answers per question, 0..1."""
    return {
        name: (logits.argmax(1) == truth(scenes, name)).float().mean().item()
        for name, logits in answers.items()
    }


@torch.no_grad()
def examine(judge: Judge, count: int = 1000, seed: int = 77) -> dict[str, float]:
    """The judge's own accuracy on clean drawn scenes it has never seen."""
    scenes, pictures = draw_exam(random.Random(seed), count, spoil=False)
    return grade(judge(pictures), scenes)


def save_judge(judge: Judge, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: weight.half().contiguous() for name, weight in judge.state_dict().items()}, path)


def load_judge(path: Path) -> Judge:
    judge = Judge().eval()
    judge.load_state_dict({name: weight.float() for name, weight in load_file(path).items()})
    return judge
