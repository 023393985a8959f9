"""A BLIP model at hand writes captions, in a process of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from school import pictures
from transformers import (
    BertTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipTextConfig,
    BlipVisionConfig,
)

from studio.errors import EngineError, NotFound
from studio.executors import FakeExecutor
from studio.models import Models
from studio.settings import Settings
from studio.training.captioner import captioners, captions_of
from studio.training.dataset import keep_dataset
from studio.trainings import Trainings

MARKS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "[ENC]")
WORDS = (*MARKS, "a", "red", "mug", "on", "table", "blue")


@pytest.fixture(scope="module")
def blip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models with a tiny captioner of random weights, laid out as BLIP's are."""
    folder = tmp_path_factory.mktemp("models")
    place = folder / "tiny-blip"
    place.mkdir()
    (place / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")
    words = BertTokenizer(str(place / "vocab.txt"))
    torch.manual_seed(0)
    side = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = BlipTextConfig(
        vocab_size=len(WORDS), max_position_embeddings=64, encoder_hidden_size=16, bos_token_id=5,
        eos_token_id=3, pad_token_id=0, sep_token_id=3, **side,
    )  # fmt: skip
    eyes = BlipVisionConfig(image_size=32, patch_size=8, **side)
    config = BlipConfig(
        text_config=text.to_dict(), vision_config=eyes.to_dict(), projection_dim=16,
        image_text_hidden_size=16,
    )  # fmt: skip
    BlipForConditionalGeneration(config).save_pretrained(place)
    words.save_pretrained(place)
    (folder / "pocket").mkdir()
    (folder / "pocket" / "config.json").write_text('{"model_type": "clip"}')
    return folder


def test_a_captioner_is_found_by_what_it_says_of_itself(blip: Path, tmp_path: Path) -> None:
    assert captioners(blip) == ["tiny-blip"] and captioners(tmp_path) == []
    with pytest.raises(NotFound, match="captioner"):
        next(captions_of(blip, "pocket", []))
    with pytest.raises(NotFound):
        next(captions_of(blip, "../x", []))


def test_it_writes_the_missing_captions_and_leaves_the_others(blip: Path, tmp_path: Path) -> None:
    folder = pictures(tmp_path / "in", 6, side=96)
    (folder / "2.txt").unlink()
    (folder / "4.txt").unlink()
    home = tmp_path / "home"
    shutil.copytree(blip, home / "models")
    dataset = keep_dataset(folder, home / "datasets", name="set", size=64, hold_out=0.0)
    settings = Settings(home=home)
    trainings = Trainings(home, Models(settings), FakeExecutor(), clean=None)  # type: ignore[arg-type]
    writing = trainings.caption(dataset.id, "tiny-blip")
    counts = []
    while True:
        try:
            counts.append(next(writing))
        except StopIteration as done:
            written = done.value
            break
    assert counts == [1, 2] and written.id != dataset.id
    captions = {entry.name: entry.caption for entry in written.used}
    assert captions["0.png"] == "picture 0"
    assert set(captions["2.png"].split()) <= set(WORDS) and captions["2.png"]
    again = trainings.caption(dataset.id, "tiny-blip", everything=True)
    assert [next(again), next(again)] == [1, 2]
    again.close()  # the process ends with it


def test_one_that_cannot_be_read_is_told_not_waited_for(blip: Path, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    shutil.copytree(blip, folder)
    (folder / "tiny-blip" / "model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(EngineError, match="could not be read"):
        list(captions_of(folder, "tiny-blip", [tmp_path / "x.png"]))
