"""`python -m studio.training.caption_child FOLDER`: places of pictures in, a line each; captions out."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import AutoTokenizer, BlipForConditionalGeneration

MOST = 40  # tokens of a caption
BEAMS = 3
# What CLIP's pictures are centred on, and BLIP's are; a model's preprocessor_config.json may say otherwise.
MEAN, DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


class Captioner:
    """Source: Li et al. 2022, arXiv:2201.12086."""

    def __init__(self, folder: Path) -> None:
        self.model = BlipForConditionalGeneration.from_pretrained(
            folder, local_files_only=True, use_safetensors=True
        ).eval()
        self.words = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        file = folder / "preprocessor_config.json"
        told = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        self.mean = torch.tensor(told.get("image_mean", MEAN)).view(3, 1, 1)
        self.deviation = torch.tensor(told.get("image_std", DEVIATION)).view(3, 1, 1)

    @torch.no_grad()
    def caption(self, picture: Image.Image) -> str:
        side = self.model.config.vision_config.image_size
        small = picture.convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
        pixels = torch.from_numpy(np.asarray(small).copy()).permute(2, 0, 1).float() / 255
        pixels = ((pixels - self.mean) / self.deviation).unsqueeze(0)
        said = self.model.generate(pixel_values=pixels, max_new_tokens=MOST, num_beams=BEAMS)
        return " ".join(self.words.decode(said[0], skip_special_tokens=True).split())


def main(folder: Path) -> None:
    captioner = Captioner(folder)
    for line in sys.stdin:
        with Image.open(json.loads(line)) as picture:
            caption = captioner.caption(picture)
        sys.stdout.write(f"{json.dumps(caption)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
