"""Copies of weights in their working type: bit-equal, bounded, gone with their model."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import tiny
import torch
from drive import Shelf, ask, finish
from safetensors.torch import load_file, save_file
from torch import Tensor

from studio.engine import Engine, weights
from studio.engine.copying import Copier, is_mapped
from studio.engine.memory import budget
from studio.models import Models
from studio.models.copies import Copies
from studio.schema import Rendered
from studio.settings import Settings

CPU = torch.device("cpu")
HALF = torch.bfloat16
NETWORKS = ("unet", "vae", "controlnet-canny")  # text stays float32 beside bfloat16
MUCH = 2**30


@pytest.fixture
def lone(tmp_path: Path) -> Shelf:
    """One model, with room for copies."""
    return Shelf({"sd": tiny.save_sd(tmp_path / "sd")}, {}, copies=MUCH)


@pytest.fixture
def copier(lone: Shelf) -> Iterator[Copier]:
    made = Copier(lone.copies, lone.networks)
    made.start()
    yield made
    made.close()


def load(shelf: Shelf, copier: Copier | None, name: str = "sd") -> weights.ModelBundle:
    return weights.load(shelf.get(name), CPU, HALF, copier=copier)


def files(shelf: Shelf) -> list[Path]:
    return sorted((shelf.models["sd"].parent / "copies").glob("*"))


def written(shelf: Shelf, count: int = len(NETWORKS)) -> list[Path]:
    """The copies, once there are so many of them."""
    until = time.monotonic() + 20
    while len(found := files(shelf)) != count or any(file.suffix == ".tmp" for file in found):
        assert time.monotonic() < until, found
        time.sleep(0.02)
    return found


def tensors(bundle: weights.ModelBundle) -> dict[str, Tensor]:
    networks = {"unet": bundle.unet, "vae": bundle.vae, "canny": bundle.controlnets["canny"]}
    networks["embedding"] = bundle.control_embeddings["canny"]
    return {
        f"{part}.{name}": tensor
        for part, network in networks.items()
        for name, tensor in network.state_dict().items()
    }


def same(one: weights.ModelBundle, other: weights.ModelBundle) -> bool:
    """Bits and the way they lie."""
    a, b = tensors(one), tensors(other)
    return a.keys() == b.keys() and all(
        tensor.dtype == b[name].dtype
        and torch.equal(tensor.view(torch.int16), b[name].view(torch.int16))
        and tensor.stride() == b[name].stride()
        for name, tensor in a.items()
    )


def test_a_copy_is_the_cast_bit_for_bit_and_lies_as_it_does(lone: Shelf, copier: Copier) -> None:
    cast = load(lone, copier)
    assert not cast.mapped
    written(lone)
    copied = load(lone, copier)
    assert is_mapped(copied.unet) and len(copied.mapped) == len(NETWORKS)
    assert same(cast, copied)


def test_what_is_as_wide_already_or_wider_is_not_copied(lone: Shelf, copier: Copier) -> None:
    exact = weights.load(lone.get("sd"), CPU, torch.float32, copier=copier)
    assert not exact.mapped
    for part in NETWORKS:
        (file,) = (lone.models["sd"] / part).glob("*.safetensors")
        save_file({name: tensor.to(HALF) for name, tensor in load_file(file).items()}, file)
    kept = load(lone, copier)
    copier.finish()
    assert not files(lone) and not kept.mapped


def test_a_broken_copy_is_dropped_and_the_original_read(lone: Shelf, copier: Copier) -> None:
    cast = load(lone, copier)
    for file in written(lone):
        file.write_bytes(file.read_bytes()[:-8])
    again = load(lone, copier)
    assert same(cast, again) and not again.mapped
    written(lone)  # anew
    assert load(lone, copier).mapped


def test_a_copy_of_other_weights_is_not_used(lone: Shelf, copier: Copier) -> None:
    kept = load(lone, copier)
    written(lone)
    del kept
    shutil.rmtree(lone.models["sd"])
    tiny.save_sd(lone.models["sd"], seed=8)
    changed = load(lone, copier)
    assert same(changed, load(lone, None))


def test_two_models_with_one_vae_have_one_copy_of_it(lone: Shelf, copier: Copier, tmp_path: Path) -> None:
    lone.models["second"] = tiny.save_sd(tmp_path / "second", seed=8)  # type: ignore[index]
    kept = [load(lone, copier, name) for name in ("sd", "second")]
    copier.finish()
    assert len(kept) == 2 and len(files(lone)) == 5  # 2 UNets, 2 ControlNets grown from them, 1 VAE


@pytest.mark.parametrize(("most", "spare", "kept"), [(0, 0, 0), (MUCH, 2**62, 0)])
def test_no_copy_where_it_is_off_or_the_disk_is_short(
    lone: Shelf, most: int, spare: int, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    use = shutil.disk_usage(lone.models["sd"])
    monkeypatch.setattr(shutil, "disk_usage", lambda path: use._replace(free=use.total // 20))
    copies = Copies(lone.models["sd"].parent / "copies", lone.hashes, most, spare)
    copier = Copier(copies, lone.networks)
    copier.start()
    held = load(lone, copier)
    copier.finish()
    assert len(files(lone)) == kept and not held.mapped


def test_copies_together_stay_below_their_limit_and_the_oldest_leaves(lone: Shelf, copier: Copier) -> None:
    kept = load(lone, copier)
    sizes = {file: file.stat().st_size for file in written(lone)}
    oldest = min(sizes, key=lambda file: file.stat().st_mtime_ns)
    copies = Copies(oldest.parent, lone.hashes, sum(sizes.values()), 0)
    place = copies.place(lone.models["sd"] / "text_encoder", "BF16", 1)
    assert place is not None and not oldest.exists() and not kept.mapped
    assert len(files(lone)) == 2


def test_a_copy_goes_with_the_last_model_that_has_its_network(tmp_path: Path) -> None:
    home = tmp_path / "home"
    models = Models(Settings(home=home))
    for name, seed in (("first", 1), ("second", 8)):
        models.add_model(tiny.save_sd(tmp_path / name, seed=seed), name)
    copier = Copier(models.copies, models.networks)
    copier.start()
    kept = [weights.load(models.get(name), CPU, HALF, copier=copier) for name in ("first", "second")]
    copier.finish()
    assert len(kept) == 2
    count = len(list((home / "cache" / "weights").iterdir()))
    models.remove("first")
    assert len(list((home / "cache" / "weights").iterdir())) == count - 2  # the VAE is the other's too
    models.remove("second")
    assert not list((home / "cache" / "weights").iterdir())


def test_what_an_interrupted_writing_left_goes(lone: Shelf, copier: Copier) -> None:
    kept = load(lone, copier)
    (first, *_) = written(lone)
    left = first.with_suffix(".1.tmp")
    left.write_bytes(b"half")
    first.unlink()
    again = load(lone, copier)
    written(lone)
    assert not left.exists() and len(again.mapped) == 2 and not kept.mapped


def test_the_engine_makes_the_same_picture_from_a_copy_and_counts_its_memory_once(
    lone: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(device="cpu", model="sd", backend="bfloat16")

    def picture() -> tuple[bytes, int, int]:
        with closing(Engine(settings, lone)) as engine:  # type: ignore[arg-type]
            asked: list[int] = []
            real = engine.planner.budget
            monkeypatch.setattr(engine._residency, "_budget", lambda own: asked.append(own) or real(own))
            engine.submit("a", ask(), {})
            (shown,) = [event for _, event in finish(engine) if isinstance(event, Rendered)]
            (bundle,) = engine._residency.bundles()
            engine._residency.room()
            written(lone)
            return shown.data, asked[-1], bundle.bytes

    cast, own, bytes_ = picture()
    assert own == bytes_
    copied, own, bytes_ = picture()
    assert copied == cast
    assert own < bytes_ / 2 and budget(0, CPU, 0, 0) > 0
