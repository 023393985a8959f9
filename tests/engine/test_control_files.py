"""ControlNets that somebody brings: told by content, laid into the models they fit, used as folders are."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_controlnet_checkpoint
from drive import ask, finish, photo, png
from fastapi.testclient import TestClient
from hub_server import COMMIT, serve
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from bench.one_file import write_control
from studio.api.app import unwalled
from studio.cli.app import app
from studio.engine import Engine
from studio.errors import BadRequest, Conflict, NotFound, StudioError, UnsafeFormat, WrongBase
from studio.models import Models, add
from studio.models.hub import Hub
from studio.models.pulls import name_of, pull
from studio.sandbox import Sandbox
from studio.schema import Control, Done, Rendered
from studio.settings import Settings
from studio.studio import Studio

pytestmark = pytest.mark.usefixtures("nothing_but_models")
EDGES = Control(image="edges", scale=1.5)
WEIGHTS = "diffusion_pytorch_model.safetensors"
Change = Callable[[dict[str, torch.Tensor]], object]


@dataclass(frozen=True)
class Given:
    """`model`: a folder without ControlNet. `whole`: the same with it, as diffusers saved both.

    `folder`: the ControlNet's. `lone`: its weights without config. `makers`, `bare`: in its makers' names,
    with and without their mark.
    """

    model: Path
    whole: Path
    folder: Path
    lone: Path
    makers: Path
    bare: Path


def give(place: Path, save: Callable[[Path], Path]) -> Given:
    whole = save(place / "whole")
    model = Path(shutil.copytree(whole, place / "model"))
    folder = (model / "controlnet-canny").rename(place / "edges-canny")
    lone = Path(shutil.copy(folder / WEIGHTS, place / "lone_canny.safetensors"))
    makers = write_control(folder, place / "control_canny.safetensors")
    bare = write_control(folder, place / "bare-canny.safetensors", mark="")
    return Given(model, whole, folder, lone, makers, bare)


@pytest.fixture(scope="module")
def sd(tmp_path_factory: pytest.TempPathFactory) -> Given:
    return give(tmp_path_factory.mktemp("sd"), tiny.save_sd)


@pytest.fixture(scope="module")
def xl(tmp_path_factory: pytest.TempPathFactory) -> Given:
    return give(tmp_path_factory.mktemp("xl"), tiny.save_xl)


@pytest.fixture
def models(tmp_path: Path, sd: Given) -> Models:
    """With the model alone."""
    found = Models(Settings(home=tmp_path / "home", device="cpu"))
    found.add_model(sd.model, "sd")
    return found


def draw(models: Models, model: str, **fields: Any) -> bytes:
    with closing(Engine(models.settings, models)) as engine:
        engine.submit("job", ask(model=model, **fields), {"edges": png(photo())})
        (picture,) = [event for _, event in finish(engine) if isinstance(event, Rendered)]
        return picture.data


@pytest.mark.parametrize("family", ["sd", "xl"])
def test_whatever_way_it_comes_the_picture_is_that_of_diffusers_folder(
    family: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    given: Given = request.getfixturevalue(family)
    models = Models(Settings(home=tmp_path, device="cpu"))
    models.add_model(given.whole, "whole")
    wanted = draw(models, "whole", control=EDGES)
    assert wanted != draw(models, "whole")
    models.add_model(given.model, "model")
    for way in (given.folder, given.lone, given.makers, given.bare):
        row = add(models, way, "edges")
        assert models.get("model").controls == ("canny",)
        assert draw(models, "model", control=EDGES) == wanted, way.name
        assert getattr(row, "fits", ()) == ("model",)
        models.remove("edges")
        assert models.get("model").controls == ()


def test_its_makers_names_are_read_as_diffusers_reads_them(sd: Given, models: Models, tmp_path: Path) -> None:
    """diffusers' reader knows the eight convolutions of true ones alone."""
    network = UNet2DConditionModel.from_pretrained(sd.model / "unet")
    made = ControlNetModel.from_unet(network, conditioning_embedding_out_channels=(4, 6, 8, 10))
    made.save_pretrained(tmp_path / "given")
    file = write_control(tmp_path / "given", tmp_path / "canny.safetensors")
    row = models.controls.add(file, "canny", None, {})
    theirs, ours = (load_file(place / WEIGHTS) for place in (tmp_path / "given", row.network))
    read = convert_controlnet_checkpoint(load_file(file), {"layers_per_block": 1})
    assert set(ours) == set(theirs) == set(read)
    assert all(torch.equal(ours[name], read[name]) for name in theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert ControlNetModel.from_pretrained(row.network).config.conditioning_embedding_out_channels == [
        4,
        6,
        8,
        10,
    ]


def test_models_that_come_later_get_it_too_and_all_lose_it_together(models: Models, sd: Given) -> None:
    row = add(models, sd.makers)
    models.add_model(sd.model, "later")
    assert models.get("later").controls == ("canny",)
    (row,) = models.controls.list()
    assert row.fits == ("later", "sd") and row.control == "canny" and len(row.hash) == 64
    parts = [models.get(name).folder / "controlnet-canny" / WEIGHTS for name in row.fits]
    assert len({file.stat().st_ino for file in parts}) == 1  # three places, one copy on the disk
    models.remove("later")
    assert models.controls.list()[0].fits == ("sd",)
    models.remove(row.name)
    assert models.get("sd").controls == () and models.controls.list() == []
    assert not list((models.settings.home / "controls").iterdir())
    with pytest.raises(NotFound):
        models.remove(row.name)


def test_a_model_keeps_its_hash_and_its_own_controlnet(models: Models, sd: Given) -> None:
    before = models.get("sd").hash
    row = add(models, sd.lone)
    assert models.get("sd").hash == before
    assert set(models.check("sd").values()) == {"ok"} and not any(
        "control" in at for at in models.check("sd")
    )
    assert models.check(row.name) == {f"controlnet-canny/{WEIGHTS}": "ok"}
    copy = models.add_model(models.get("sd").folder, "copy")  # a model with what was laid into it
    assert "control" in " ".join(models.check("copy")) and copy.controls == ("canny",)
    models.remove(row.name)
    assert (models.get("sd").controls, models.get("copy").controls) == ((), ("canny",))


def test_a_model_in_memory_takes_it_up_when_its_runs_have_ended(models: Models, sd: Given) -> None:
    models.add_model(sd.whole, "whole")
    with closing(Engine(models.settings, models)) as engine:
        engine.submit("plain", ask(model="sd", steps=6), {})
        events = engine.tick()
        add(models, sd.makers)
        engine.submit("edges", ask(model="sd", control=EDGES), {"edges": png(photo())})
        events += finish(engine)
    assert [name for name, event in events if isinstance(event, Done)] == ["plain", "edges"]
    pictures = {name: event.data for name, event in events if isinstance(event, Rendered)}
    assert pictures["edges"] == draw(models, "whole", control=EDGES)
    assert pictures["plain"] == draw(models, "sd", steps=6)


def test_one_for_another_base_is_refused_with_both_figures(models: Models, xl: Given) -> None:
    with pytest.raises(WrongBase) as caught:
        add(models, xl.makers)
    assert "text rows 32 wide, blocks of 8, 16 channels" in caught.value.message
    assert (
        "sd: text rows 16 wide" in caught.value.message and str(xl.makers.parent) not in caught.value.message
    )
    assert not list((models.settings.home / "controls").glob("*"))


@pytest.mark.parametrize(
    ("name", "asked", "words"),
    [
        ("depth", "depth", "'depth' ControlNets are not served; served: canny"),
        ("scribble", None, "does not tell what this ControlNet reads; served: canny"),
    ],
)
def test_what_is_not_served_is_refused_in_a_sentence(
    models: Models, sd: Given, tmp_path: Path, name: str, asked: str | None, words: str
) -> None:
    file = Path(shutil.copy(sd.makers, tmp_path / f"{name}.safetensors"))
    with pytest.raises(BadRequest, match=words) as caught:
        add(models, file, None, asked)
    assert caught.value.code == "control_unknown"
    add(models, file, None, "canny")
    assert models.get("sd").controls == ("canny",)


def test_a_second_one_for_the_same_models_is_refused(models: Models, sd: Given) -> None:
    add(models, sd.makers)
    with pytest.raises(Conflict, match="has a Canny edges ControlNet already: sd"):
        add(models, sd.bare)
    with pytest.raises(Conflict, match="A ControlNet control_canny is there already"):
        add(models, sd.makers)
    with pytest.raises(Conflict, match="A ControlNet control_canny"):
        models.add_model(sd.model, "control_canny")
    with pytest.raises(Conflict, match="A model sd"):
        add(models, sd.makers, "sd")


def lose(tensors: dict[str, torch.Tensor]) -> None:
    del tensors["control_model.zero_convs.1.0.bias"]


def widen(tensors: dict[str, torch.Tensor]) -> None:
    tensors["control_model.input_blocks.0.0.weight"] = torch.zeros(8, 9, 3, 3)


def rot(tensors: dict[str, torch.Tensor]) -> None:
    tensors["control_model.input_hint_block.0.bias"].fill_(float("nan"))


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (lose, "model_incomplete", "ControlNet lacks 1 of"),
        (widen, "model_unknown", "reads 9 channels of latents"),
        (
            lambda tensors: tensors.update({"lora_controlnet": torch.zeros(1)}),
            "model_unknown",
            "Control-LoRA",
        ),
        (
            lambda tensors: tensors.update({"control_model.task_embedding": torch.zeros(6, 8)}),
            "model_unknown",
            "1 tensors of its ControlNet belong to no model",
        ),
        (rot, "non_finite", "NaN"),
    ],
)
def test_a_broken_or_strange_file_is_refused_and_leaves_nothing(
    sd: Given, tmp_path: Path, change: Change, code: str, words: str
) -> None:
    tensors = load_file(sd.makers)
    change(tensors)
    save_file(tensors, tmp_path / "canny.safetensors")
    with closing(Sandbox()) as sandbox:
        models = Models(Settings(home=tmp_path / "home"), sandbox.check_weights)
        models.add_model(sd.model, "sd")
        with pytest.raises(BadRequest, match=words) as caught:
            add(models, tmp_path / "canny.safetensors")
    assert caught.value.code == code
    assert models.get("sd").controls == () and not list((tmp_path / "home").glob("controls/*"))


def test_a_folder_is_judged_by_its_weights(models: Models, sd: Given, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(sd.folder, tmp_path / "canny"))
    config = json.loads((folder / "config.json").read_text())

    def refused(kind: type[StudioError], **changed: Any) -> str:
        (folder / "config.json").write_text(json.dumps(config | changed))
        with pytest.raises(kind) as caught:
            add(models, folder)
        return caught.value.message

    assert "ControlNetUnionModel" in refused(BadRequest, _class_name="ControlNetUnionModel")
    assert "its weights have text rows 16 wide" in refused(BadRequest, cross_attention_dim=768)
    assert "no model_index.json" in refused(BadRequest, _class_name="AutoencoderKL")
    (folder / WEIGHTS).rename(folder / "diffusion_pytorch_model.bin")
    assert "this folder has 0" in refused(BadRequest)
    (folder / WEIGHTS).write_bytes(b"\x80\x04")
    refused(UnsafeFormat)


def test_a_lora_goes_to_the_loras_and_a_model_to_the_models(
    models: Models, sd: Given, tmp_path: Path
) -> None:
    add(models, tiny.save_lora(tmp_path / "warm.safetensors", tiny.unet(), seed=1, rank=4))
    assert [row.name for row in models.loras() if row.name == "warm"] == ["warm"]
    add(models, sd.model, "other")
    assert models.get("other").controls == ()
    with pytest.raises(BadRequest, match="That is a LoRA, no ControlNet"):
        add(models, tmp_path / "warm.safetensors", "cold", "canny")
    with pytest.raises(BadRequest, match="No ControlNet: none of its"):
        models.controls.add(tmp_path / "warm.safetensors", "x", "canny", {})


@pytest.fixture
def hub(sd: Given, tmp_path: Path) -> Iterator[str]:
    repo = Path(shutil.copytree(sd.folder, tmp_path / "hub" / "control_v11p_sd15_canny"))
    (repo / "diffusion_pytorch_model.bin").write_bytes(b"\x80\x04")
    style = tmp_path / "hub" / "style"
    tiny.save_lora(style / "pytorch_lora_weights.safetensors", tiny.unet(), seed=1, rank=4)
    with serve({"brand/control_v11p_sd15_canny": repo, "brand/style": style}) as running:
        yield running.url


def test_the_hubs_controlnets_and_loras_find_their_place(models: Models, hub: str) -> None:
    for id in ("brand/control_v11p_sd15_canny", "brand/style"):
        plan = Hub(hub).plan(id)
        for _ in pull(models, Hub(hub), plan, name_of(plan)):
            pass
    (row,) = models.controls.list()
    assert (row.name, row.source, row.revision) == (
        "control_v11p_sd15_canny", "brand/control_v11p_sd15_canny", COMMIT,
    )  # fmt: skip
    assert models.get("sd").controls == ("canny",)
    assert "style" in [lora.name for lora in models.loras()]
    with pytest.raises(BadRequest, match="not served"):
        next(pull(models, Hub(hub), plan, "new", "depth"))


def test_the_command_line_takes_them_in(
    models: Models, sd: Given, hub: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUDIO_HOME", str(models.settings.home))
    monkeypatch.setenv("HF_ENDPOINT", hub)

    def run(*words: str) -> Any:
        result = CliRunner().invoke(app, ["models", *words])
        assert result.exit_code == 0, (result.output, result.exception)
        return json.loads(result.stdout) if "--json" in words else result.stdout

    plain = Path(shutil.copy(sd.makers, tmp_path / "plain.safetensors"))
    (row,) = run("add", str(plain), "--control", "canny", "--json")
    assert (row["kind"], row["control"], row["fits"]) == ("ControlNet", "canny", ["sd"])
    assert run("controls", "--json")[0]["name"] == "plain"
    assert {"plain", "sd"} <= {entry["name"] for entry in run("check", "--json")}
    run("remove", "plain")
    assert run("controls", "--json") == []
    (row,) = run("pull", "brand/control_v11p_sd15_canny", "--json")
    assert row["fits"] == ["sd"]
    (row,) = run("pull", "brand/style", "--json")
    assert (row["kind"], row["name"]) == ("LoRA", "style")


def test_rest_fetches_lists_and_deletes_them(
    models: Models, hub: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub)
    settings = Settings(home=models.settings.home, executor="fake")
    with closing(Studio.open(settings)) as studio, TestClient(unwalled(studio)) as client:
        wish = {"id": "brand/control_v11p_sd15_canny", "name": "edges", "control": "canny"}
        refused = client.post("/api/v1/pulls", json=wish | {"control": "depth"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "control_unknown")
        at = client.post("/api/v1/pulls", json=wish).headers["location"]
        while (view := client.get(at).json())["state"] in ("queued", "running"):
            pass
        assert view["state"] == "completed", view
        (row,) = client.get("/api/v1/controls").json()
        assert (row["name"], row["control"], row["fits"]) == ("edges", "canny", ["sd"])
        assert client.get("/api/v1/models/sd").json()["controls"] == ["canny"]
        assert client.delete("/api/v1/models/edges").status_code == 204
        assert client.get("/api/v1/controls").json() == []
