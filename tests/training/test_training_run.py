from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file
from school import begun

from studio.engine.lora_files import read_adapter
from studio.errors import BadRequest, NumericalError, StudioError
from studio.models import Models
from studio.safetensors_header import read_header
from studio.schema import Done, Epoch, Event, Learned, Preview, Trained
from studio.training import checkpoint, loop
from studio.training.plan import Places
from studio.training.runs import Run
from studio.training.train import train

CPU = torch.device("cpu")


pytest_plugins = ("school",)


@pytest.fixture
def home(lesson_home: Path) -> Path:
    return lesson_home


@pytest.fixture
def models(lesson_models: Models) -> Models:
    return lesson_models


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def events_of(run: Run, models: Models, home: Path) -> list[Event]:
    return [event for event in train(run, models, Places(home), CPU) if event is not None]


def weights(run: Run) -> dict[str, torch.Tensor]:
    return load_file(checkpoint.found(run.checkpoints)[-1] / checkpoint.WEIGHTS)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("model", ["sd", "xl"])
@pytest.mark.parametrize("text_encoder", [False, True])
def test_a_training_ends_in_a_lora_that_diffusers_and_the_bank_load(
    home: Path, models: Models, model: str, text_encoder: bool
) -> None:
    run = begun(home, models, model, text_encoder=text_encoder, convolutions=True, epochs=1, flip=True)
    events = events_of(run, models, home)
    trained = next(event for event in events if isinstance(event, Trained))
    assert isinstance(events[-1], Done) and trained.name == "brand" and trained.epoch == 1
    row = models.lora("brand")
    assert (row.problem, row.rank, row.trigger) == ("", 4, "acme style")
    models.check_lora("brand", model)
    kinds = [tiny.CLIPTextModel, tiny.CLIPTextModelWithProjection][: 2 if model == "xl" else 1]
    folder = home / "models" / model
    encoders = [
        kind.from_pretrained(folder / name, use_safetensors=True)
        for kind, name in zip(kinds, ("text_encoder", "text_encoder_2"), strict=False)
    ]
    unet = tiny.UNet2DConditionModel.from_pretrained(folder / "unet", use_safetensors=True)
    adapter = read_adapter(row.file, unet, encoders, models.get(model).family)
    assert adapter.matched == adapter.total == row.tensors // 2
    assert (set(adapter.parts) > {"unet"}) is text_encoder


def test_the_file_says_to_other_tools_what_it_is(home: Path, models: Models) -> None:
    run = begun(home, models, epochs=1)
    events_of(run, models, home)
    notes = read_header(models.lora("brand").file).metadata
    assert notes["ss_network_dim"] == "4" and notes["ss_output_name"] == "brand"
    assert notes["modelspec.trigger_phrase"] == "acme style" and notes["modelspec.license"] == "CC0-1.0"
    assert json.loads(notes["ss_tag_frequency"])["set"]["acme style"] == 8
    data = models.lora("brand").file.read_bytes()
    body = data[8 + int.from_bytes(data[:8], "little") :]
    import hashlib

    assert notes["sshs_model_hash"] == hashlib.sha256(body).hexdigest()


def test_what_was_trained_changes_the_picture_as_it_did_in_training(home: Path, models: Models) -> None:
    """The scale is in the file: plain diffusers draws what PEFT drew with alpha / rank = 2."""
    run = begun(home, models, epochs=1, dropout=0.0)
    events_of(run, models, home)
    pipeline = StableDiffusionPipeline.from_pretrained(home / "models" / "sd", use_safetensors=True)
    pipeline.set_progress_bar_config(disable=True)
    x, times = torch.randn(1, 4, 8, 8), torch.tensor([500])
    text = torch.randn(1, 77, tiny.DIM)
    from studio.training.networks import add_adapters, load_networks

    networks = load_networks(home / "models" / "sd", CPU, torch.float32)
    add_adapters(networks, run.training)
    networks.learn(False)
    held = weights(run)
    for name, parameter in networks.trainable():
        parameter.data.copy_(held[name])
    pipeline.load_lora_weights(str(models.lora("brand").file), adapter_name="brand")
    with torch.no_grad():
        wanted = networks.unet(x, times, text).sample
        pipeline.unet.eval()
        assert torch.allclose(pipeline.unet(x, times, text).sample, wanted, atol=2e-3)
        pipeline.unload_lora_weights()
        assert not torch.allclose(pipeline.unet(x, times, text).sample, wanted, atol=2e-3)


def test_events_tell_steps_pictures_and_epochs(home: Path, models: Models) -> None:
    run = begun(home, models, epochs=2)
    events = events_of(run, models, home)
    learned = [event for event in events if isinstance(event, Learned)]
    epochs = [event for event in events if isinstance(event, Epoch)]
    assert [event.step for event in learned] == list(range(1, 9)) and learned[-1].of == 8
    assert [epoch.number for epoch in epochs] == [1, 2]
    assert all(epoch.held_out is not None and 0 <= (epoch.style or 0) <= 1 for epoch in epochs)
    assert sum(isinstance(event, Preview) for event in events) == 2
    assert [step for step, _ in run.losses()] == list(range(1, 9))


def test_training_lowers_the_loss_on_what_it_sees(home: Path, models: Models) -> None:
    run = begun(home, models, epochs=8, dropout=0.0, plain=0.0)
    epochs = [event for event in events_of(run, models, home) if isinstance(event, Epoch)]
    assert epochs[-1].loss < 0.9 * epochs[0].loss


KILLED = """
import sys, torch
from pathlib import Path
from studio.models import Models
from studio.schema import Learned
from studio.settings import Settings
from studio.training.plan import Places
from studio.training.runs import Run
from studio.training.train import train
torch.set_num_threads(1)
home = Path(sys.argv[1])
for event in train(Run(Path(sys.argv[2])), Models(Settings(home=home)), Places(home), torch.device("cpu")):
    if isinstance(event, Learned):
        sys.stdout.write(f"{event.step}\\n")
        sys.stdout.flush()
        sys.stdin.readline()
"""


def killed(home: Path, run: Run, step: int) -> None:
    """Runs the training in a process of its own and kills it after `step`, as a power cut would."""
    command = [sys.executable, "-W", "ignore", "-c", KILLED, str(home), str(run.folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        while (said := process.stdout.readline()) and int(said) < step:
            process.stdin.write("\n")
            process.stdin.flush()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert int(said) == step


def test_a_run_killed_twice_ends_bit_equal(home: Path, models: Models) -> None:
    whole = begun(home, models, epochs=3, text_encoder=True, flip=True)
    events_of(whole, models, home)
    run = begun(home, models, epochs=3, text_encoder=True, flip=True)
    killed(home, run, 6)
    assert len(run.epochs()) == 1
    killed(home, run, 11)
    events = events_of(run, models, home)
    assert next(event.step for event in events if isinstance(event, Learned)) == 9  # two epochs are kept
    assert same(weights(run), weights(whole))
    assert run.losses() == whole.losses() and run.epochs() == whole.epochs()


def test_a_paused_run_keeps_every_step(home: Path, models: Models) -> None:
    whole = begun(home, models)
    events_of(whole, models, home)
    for pause in (3, 4):
        run = begun(home, models)
        work = train(run, models, Places(home), CPU)
        for event in work:
            if isinstance(event, Learned) and event.step == pause:
                break
        work.close()  # type: ignore[attr-defined]
        events = events_of(run, models, home)
        assert next(event.step for event in events if isinstance(event, Learned)) == pause + 1
        assert same(weights(run), weights(whole)) and len(run.epochs()) == 2


def test_a_run_goes_back_to_an_epoch_and_on_from_there(home: Path, models: Models) -> None:
    run = begun(home, models, epochs=3)
    events_of(run, models, home)
    before = weights(run)
    run.roll_back(1)
    assert len(run.epochs()) == 1 and len(run.losses()) == 4
    events_of(run, models, home)
    assert same(weights(run), before)
    with pytest.raises(BadRequest, match="no epoch 7"):
        run.roll_back(7)


def test_a_loss_that_is_no_number_stops_with_the_last_good_checkpoint(
    home: Path, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begun(home, models, epochs=3)
    right = loop.loss_of

    def broken(course: loop.Course, places: list[int], step: int) -> torch.Tensor:
        return right(course, places, step) * (float("nan") if step >= 6 else 1.0)

    monkeypatch.setattr(loop, "loss_of", broken)
    with pytest.raises(NumericalError) as said:
        events_of(run, models, home)
    assert said.value.code == "diverged" and "step 7" in said.value.message and "Epoch 1" in said.value.hint
    assert all(bool(tensor.isfinite().all()) for tensor in weights(run).values())
    assert not models.loras() or "brand" not in {row.name for row in models.loras()}


@pytest.mark.parametrize("damage", ["pickle", "cut", "gone"])
def test_a_checkpoint_that_was_touched_is_refused(home: Path, models: Models, damage: str) -> None:
    run = begun(home, models, epochs=1)
    events_of(run, models, home)
    file = checkpoint.found(run.checkpoints)[-1] / checkpoint.MOMENTS
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(b"\x80\x05canary" if damage == "pickle" else file.read_bytes()[:-1])
    with pytest.raises(BadRequest) as said:
        events_of(run, models, home)
    assert said.value.code == "checkpoint_untrusted"


def test_a_checkpoint_of_another_training_is_refused(home: Path, models: Models) -> None:
    run = begun(home, models, epochs=1)
    events_of(run, models, home)
    told = run.told
    told["training"]["rank"] = 8
    run.note(training=told["training"])
    with pytest.raises(StudioError) as said:
        events_of(run, models, home)
    assert said.value.code == "checkpoint_foreign" and "request" in said.value.message


def test_gradient_checkpointing_and_half_precision_train(home: Path, models: Models) -> None:
    for options in ({"checkpointing": True}, {"precision": "bf16"}):
        run = begun(home, models, epochs=1, name=f"brand-{next(iter(options))}", **options)
        assert isinstance(events_of(run, models, home)[-1], Done)


def test_gradient_checkpointing_changes_memory_and_not_the_weights(home: Path, models: Models) -> None:
    plain, kept = begun(home, models, epochs=1), begun(home, models, epochs=1, checkpointing=True)
    for run in (plain, kept):
        events_of(run, models, home)
    one, other = weights(plain), weights(kept)
    assert all(torch.allclose(one[name], other[name], atol=1e-5) for name in one)


def test_the_best_epoch_looks_most_like_the_set_unless_it_learned_by_heart() -> None:
    rows = [
        {"number": 1, "held_out": 0.50, "style": 0.4},
        {"number": 2, "held_out": 0.45, "style": 0.6},
        {"number": 3, "held_out": 0.60, "style": 0.9},
    ]
    assert loop.best(rows) == 2
    assert loop.best([row | {"style": None} for row in rows]) == 2
    assert loop.best([row | {"style": None, "held_out": None} for row in rows]) == 3


def test_the_next_lora_of_a_name_gets_another_one(home: Path, models: Models) -> None:
    for seed in (1, 2):
        events_of(begun(home, models, epochs=1, seed=seed), models, home)
    assert {"brand", "brand-2"} <= {row.name for row in models.loras()}
