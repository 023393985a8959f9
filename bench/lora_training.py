"""Does a style train on the pocket model within its bars? 60 drawn pictures in, figures out.

    python bench/lora_training.py [--epochs 10] [--steps N] [--prompts 32] [--keep FOLDER] [--json]

The style is none of the shipped three: stickers with a white rim on kraft paper. The pictures go the way a
user's go: a folder, `keep_dataset`, `train`. Judged on combinations of product and colour that neither the
pocket model nor the LoRA ever saw: the style by a linear head on the judge of pocket/ that is fitted here on
other drawings of all seven styles, product and colour by the judge itself.
Bars on two idle cores: <= 10 minutes, style +0.5, product and colour at most 5 points down, file <= 5 MB,
both styles >= 0.3 when stacked with a shipped one.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from pocket.brush import Brush
from pocket.captions import TRIGGERS
from pocket.classifier import Judge, load_judge
from pocket.evaluate import Studio, held_out_scenes, judge_pictures, share_right
from pocket.family import Shelf, load_pipeline
from pocket.latents import to_tensor
from pocket.palette import COLOURS, CREAM
from pocket.products import PRODUCTS, Tones
from pocket.scenes import OVERSAMPLE, STYLES, Scene, draw_scene, is_held_out, sample_scene
from studio.models import Models
from studio.schema import Epoch, Trained
from studio.settings import Settings
from studio.training.dataset import keep_dataset
from studio.training.plan import Places
from studio.training.request import TrainRequest, fill_in
from studio.training.runs import begin
from studio.training.train import train

TRIGGER = "sticker style"
SHIPPED = ("guochao", "nordic", "neon")
KRAFT, DOT, RIM = (205, 170, 125), (178, 140, 96), (252, 252, 250)
SIDE = 128


def draw_sticker(scene: Scene) -> np.ndarray:
    """(128, 128, 3): kraft paper with dots, the thing on it with a wide white rim and a soft shadow."""
    side = SIDE * OVERSAMPLE
    picture = np.full((side, side, 3), KRAFT, np.uint8)
    for row, y in enumerate(range(0, side + 1, side // 8)):
        for x in range((row % 2) * side // 16, side + 1, side // 8):
            cv2.circle(picture, (x, y), side // 50, DOT, -1, cv2.LINE_AA)
    radius = side * 0.34 * scene.zoom
    centre = (side * (0.5 + scene.shift[0]), side * (0.495 + scene.shift[1]))
    thing, mask = np.full_like(picture, 255), np.zeros((side, side), np.uint8)
    brush = Brush(thing, mask, centre, radius, CREAM)
    PRODUCTS[scene.product].paint(brush, Tones.of(COLOURS[scene.colour]))
    rim = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side // 14, side // 14)))
    shadow = cv2.GaussianBlur(np.roll(rim, (side // 40, side // 60), (0, 1)), (0, 0), side / 90)
    picture = (picture * (1 - shadow[..., None] / 255 * 0.45)).astype(np.uint8)
    for layer, cover in ((np.full_like(picture, RIM), rim), (thing, mask)):
        share = cover[..., None].astype(np.float32) / 255
        picture = (picture * (1 - share) + layer * share).astype(np.uint8)
    return cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def write_set(folder: Path, count: int, seed: int) -> None:
    """Pictures with captions of combinations that the model was trained on, every product at least once."""
    rng = random.Random(seed)
    folder.mkdir(parents=True)
    products = list(PRODUCTS)
    for number in range(count):
        while True:
            scene = replace(sample_scene(rng), product=products[number % len(products)])
            if not is_held_out(scene.product, scene.colour, scene.background):
                break
        Image.fromarray(draw_sticker(scene)).save(folder / f"{number:02d}.png")
        (folder / f"{number:02d}.txt").write_text(asked(scene), encoding="utf-8")


def asked(scene: Scene) -> str:
    article = "" if scene.product == "headphones" else "an " if scene.colour[0] in "aeiou" else "a "
    return f"{article}{scene.colour} {scene.product}"


class StyleHead:
    """Probability of each of the six known styles and of the new one, from the judge's features."""

    def __init__(self, judge: Judge, seed: int = 5, each: int = 80) -> None:
        self.judge = judge
        rng = random.Random(seed)
        pictures, labels = [], []
        for label, style in enumerate((*STYLES, "sticker")):
            for _ in range(each):
                scene = sample_scene(rng, (style,) if style in STYLES else ("flat",))
                drawn = draw_scene(scene) if style in STYLES else draw_sticker(scene)
                if rng.random() < 0.5:
                    drawn = cv2.GaussianBlur(drawn, (0, 0), rng.uniform(0.3, 1.2))
                pictures.append(drawn)
                labels.append(label)
        features, wanted = self._features(np.stack(pictures)), torch.tensor(labels)
        self.centre, self.spread = features.mean(0), features.std(0) + 1e-3
        known = (features - self.centre) / self.spread
        torch.manual_seed(0)
        self.head = torch.nn.Linear(known.shape[1], len(STYLES) + 1)
        optimizer = torch.optim.AdamW(self.head.parameters(), 1e-2, weight_decay=1e-2)
        for _ in range(300):
            optimizer.zero_grad()
            functional.cross_entropy(self.head(known), wanted).backward()
            optimizer.step()

    @torch.no_grad()
    def _features(self, pictures: np.ndarray) -> torch.Tensor:
        small = functional.interpolate(to_tensor(pictures), size=(64, 64), mode="area")
        return self.judge.body(small)

    @torch.no_grad()
    def score(self, pictures: np.ndarray, style: str) -> float:
        """Mean probability of `style`."""
        known = (self._features(pictures) - self.centre) / self.spread
        return self.head(known).softmax(1)[:, (*STYLES, "sticker").index(style)].mean().item()


def measure(file: Path, head: StyleHead, count: int) -> dict[str, float]:
    scenes = held_out_scenes(count)
    shelf = Shelf()
    studio = Studio(load_pipeline(shelf))
    seeds = range(count)
    plain, triggered = ([asked(scene) + tail for scene in scenes] for tail in ("", f", {TRIGGER}"))
    base, off = studio.draw(plain, seeds), studio.draw(triggered, seeds)
    studio.pipeline.load_lora_weights(str(file), adapter_name="new_style")
    studio.pipeline.set_adapters(["new_style"], [1.0])
    on = studio.draw(triggered, seeds)
    before, after = (judge_pictures(head.judge, pictures) for pictures in (base, on))
    stacks: dict[str, float] = {}
    rows = [off, on]
    for shipped in SHIPPED:
        studio.pipeline.load_lora_weights(str(shelf.lora(shipped)), adapter_name=shipped)
        prompts = [f"{prompt}, {TRIGGERS[shipped]}" for prompt in triggered[:16]]
        for weight in (0.7, 1.0):
            studio.pipeline.set_adapters(["new_style", shipped], [1.0, weight])
            both = studio.draw(prompts, range(len(prompts)))
            rows.append(both)
            beside = f"{shipped} at {weight:g}"
            stacks |= {f"new beside {beside}": head.score(both, "sticker"), beside: head.score(both, shipped)}
    Image.fromarray(np.vstack([np.hstack(list(row[:8])) for row in rows])).save(file.with_suffix(".png"))
    return {
        "style without": head.score(off, "sticker"),
        "style with": head.score(on, "sticker"),
        "product without": share_right(before, scenes, "product"),
        "product with": share_right(after, scenes, "product"),
        "colour without": share_right(before, scenes, "colour"),
        "colour with": share_right(after, scenes, "colour"),
        **stacks,
        "file MB": file.stat().st_size / 1e6,
    }


def check_judge(head: StyleHead, count: int = 200) -> dict[str, float]:
    """How often the judge is right on drawn stickers, of which it never saw one."""
    rng = random.Random(99)
    scenes = [sample_scene(rng, held_out=True) for _ in range(count)]
    drawn = np.stack([draw_sticker(scene) for scene in scenes])
    answers = judge_pictures(head.judge, drawn)
    return {
        "judge on drawn stickers, product": share_right(answers, scenes, "product"),
        "judge on drawn stickers, colour": share_right(answers, scenes, "colour"),
        "judge on drawn stickers, style": head.score(drawn, "sticker"),
        "judge on drawn flat, style": head.score(np.stack([draw_scene(s) for s in scenes]), "sticker"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--steps", type=int, help="in all; default: the recipe's")
    parser.add_argument("--rate", type=float, help="default: the recipe's")
    parser.add_argument("--batch", type=int, help="default: the recipe's")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--pictures", type=int, default=60)
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--keep", type=Path, help="folder for the run and the LoRA")
    parser.add_argument("--json", action="store_true")
    told = parser.parse_args()
    home = told.keep or Path(tempfile.mkdtemp())
    write_set(home / "pictures", told.pictures, seed=7)
    models, places = Models(Settings(home=home)), Places(home)
    row = models.get("pocket")
    kept = keep_dataset(
        home / "pictures", places.datasets, name="stickers", size=row.size, licence="Apache-2.0"
    )
    options = {name: getattr(told, name) for name in ("rate", "batch") if getattr(told, name) is not None}
    request = TrainRequest(
        name="sticker", dataset=kept.id, trigger=TRIGGER, epochs=told.epochs, precision=told.precision,
        **options,
    )
    training = fill_in(request, row.name, row.family, row.size, len(kept.training))
    if told.steps:
        repeats = max(1, round(told.steps * training.batch / (told.epochs * len(kept.training))))
        training = training.model_copy(update={"repeats": repeats})
    head = StyleHead(load_judge(Shelf().judge))
    figures: dict[str, object] = {"pictures used": len(kept.used), **check_judge(head)}
    begun = time.monotonic()
    run = begin(places.runs, training, {})
    for event in train(run, models, places, torch.device("cpu")):
        if isinstance(event, Epoch):
            print(event, f"{time.monotonic() - begun:.0f} s", flush=True)
        elif isinstance(event, Trained):
            figures["epoch taken"] = event.epoch
    speed = run.folder / "speed.json"
    figures["minutes"] = (time.monotonic() - begun) / 60
    figures |= {"steps": len(run.losses()), "seconds a row": json.loads(speed.read_text())["seconds_a_row"]}
    figures |= measure(models.lora("sticker").file, head, told.prompts)
    if told.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:<40} {value if isinstance(value, int) else f'{value:.3f}'}")


if __name__ == "__main__":
    main()
