"""Two models with one VAE or text encoder hold it once, and nothing of one shows in the other."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny
import torch
from drive import Row, Shelf, ask, finish

from bench.one_file import write_one_file
from studio.engine import Engine, weights
from studio.engine.components import Components
from studio.models import hashes as hashing
from studio.models.hashes import Hashes
from studio.models.layout_parts import read_vae
from studio.safetensors_header import read_header
from studio.schema import Rendered
from studio.settings import Settings

CPU = torch.device("cpu")
F32 = torch.float32


pytestmark = pytest.mark.usefixtures("nothing_but_models")


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    """`first` and `second` have one VAE and one text encoder, `third` has its own of the same shapes."""
    home = tmp_path_factory.mktemp("twins")
    models = {
        "first": tiny.save_sd(home / "first"),
        "second": tiny.save_sd(home / "second", seed=8),
        "third": tiny.save_sd(home / "third", seed=9, text_seed=20, vae_seed=21),
    }
    return Shelf(models, {"warm": tiny.save_lora(home / "warm.safetensors", tiny.unet(), seed=1, rank=4)})


@pytest.fixture
def components(twins: Shelf) -> Components:
    return Components(twins.hashes)


def load(
    shelf: Shelf, name: str, components: Components | None, dtype: torch.dtype = F32
) -> weights.ModelBundle:
    return weights.load(shelf.get(name), CPU, dtype, components)


def test_equal_networks_are_held_once_and_others_are_not(twins: Shelf, components: Components) -> None:
    first, second, third = (load(twins, name, components) for name in ("first", "second", "third"))
    assert first.vae is not second.vae
    assert first.vae.decoder.conv_in.weight is second.vae.decoder.conv_in.weight
    assert [*first.text_encoders[0].parameters()][0] is [*second.text_encoders[0].parameters()][0]
    assert first.unet.conv_in is not second.unet.conv_in
    assert len(set(first.parts) & set(second.parts)) == 2  # the ControlNets grew from different UNets
    assert not set(first.parts) & set(third.parts)


def test_a_shared_model_answers_as_one_read_by_itself(twins: Shelf, components: Components) -> None:
    kept = load(twins, "first", components)
    shared, alone = load(twins, "second", components), load(twins, "second", None)
    assert set(kept.parts) & set(shared.parts)
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    ids = torch.arange(77)[None]
    with torch.inference_mode():
        assert torch.equal(shared.vae.decode(latents)[0], alone.vae.decode(latents)[0])
        assert torch.equal(shared.text_encoders[0](ids)[0], alone.text_encoders[0](ids)[0])


def test_dtypes_are_not_mixed(twins: Shelf, components: Components) -> None:
    """Text stays float32 beside bfloat16, so it is shared still."""
    full, half = load(twins, "first", components), load(twins, "second", components, torch.bfloat16)
    assert half.vae.dtype == torch.bfloat16
    assert half.text_encoders[0].dtype == torch.float32
    assert len(set(full.parts) & set(half.parts)) == 1


def test_what_the_last_model_held_goes_with_it(twins: Shelf, components: Components) -> None:
    first = load(twins, "first", components)
    assert components.find(twins.models["second"] / "vae", F32, CPU) is not None
    del first
    gc.collect()
    assert components.find(twins.models["second"] / "vae", F32, CPU) is None


def test_a_file_that_changed_since_it_was_read_is_not_trusted(twins: Shelf, tmp_path: Path) -> None:
    copy = shutil.copytree(twins.models["first"], tmp_path / "copy")
    components = Components(Hashes(tmp_path / "hashes.json"))
    kept = weights.load(Row("copy", "sd15", copy, copy), CPU, F32, components)
    (file,) = (copy / "vae").glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    assert components.find(twins.models["second"] / "vae", F32, CPU) is None
    assert kept.parts


def test_nothing_is_hashed_while_no_network_of_those_shapes_is_there(
    twins: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> str:
        raise AssertionError("hashed")

    monkeypatch.setattr(hashing, "_digest", never)
    components = Components(Hashes(tmp_path / "hashes.json"))
    assert weights.load(twins.get("first"), CPU, F32, components)


def test_a_network_in_one_file_has_the_hash_it_has_in_a_folder(twins: Shelf, tmp_path: Path) -> None:
    """So that a checkpoint shares with a folder. Only names and bytes count here: the model is not run."""
    folder = twins.models["first"]
    hashes = Hashes(tmp_path / "hashes.json")
    file = write_one_file(folder, tmp_path / "one.safetensors")
    shapes = {key: shape for key, (_, shape) in read_header(file).tensors.items()}
    part = read_vae(shapes, 1.0, 16)
    assert hashing._digest(hashing._inside(file, part.sources)) == hashes.network(folder / "vae")


@pytest.fixture
def room(twins: Shelf) -> int:
    return weights.bytes_needed(twins.models["first"], F32)


@pytest.fixture
def engine(twins: Shelf, room: int) -> Iterator[Engine]:
    """Without sharing, two models would not fit."""
    shared = room - weights.bytes_needed(twins.models["first"], F32) // 10
    made = Engine(Settings(device="cpu", model="first", memory=str(room + shared)), twins)  # type: ignore[arg-type]
    yield made
    made.close()


def test_what_is_shared_counts_once_against_the_budget(engine: Engine, twins: Shelf, room: int) -> None:
    engine.load("first")
    engine.load("second")
    assert [name for name, _ in engine.status().resident] == ["first", "second"]
    assert engine._residency.bytes < 2 * room
    engine.load("third")  # shares nothing: somebody has to leave
    assert "third" in [name for name, _ in engine.status().resident]
    assert len(engine.status().resident) < 3


def test_a_lora_on_one_model_does_not_show_in_the_one_it_shares_with(engine: Engine) -> None:
    def picture(name: str, model: str, loras: list[dict[str, object]]) -> bytes:
        engine.submit(name, ask(model=model, steps=2, loras=loras), {})
        (found,) = [event for _, event in finish(engine) if isinstance(event, Rendered)]
        return found.data

    plain = picture("a", "first", [])
    styled = picture("b", "second", [{"name": "warm", "weight": 1.0}])
    assert picture("c", "first", []) == plain
    assert picture("d", "second", []) != styled
