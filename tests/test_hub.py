"""Models from the hub, against a local server that speaks its routes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from folders import make_model, write_safetensors
from hub_server import COMMIT, Hub, serve

from studio.errors import BadRequest, Conflict, DiskLow, NotFound, NotReady, StudioError, UnsafeFormat
from studio.models import Models, Pulls, PullView, hub
from studio.models.hub import Hub as Client
from studio.models.pulls import pull
from studio.settings import Settings

BIG = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def repos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("hub")
    whole = make_model(place / "whole")
    write_safetensors(whole / BIG, {"weight": (1200, 1200)})  # nearly 3 MB: some pieces
    (whole / "README.md").write_text("hello")
    (whole / "flax_model.msgpack").write_bytes(b"x")
    (whole / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"\x80\x04")
    (whole / "unet" / "diffusion_pytorch_model.non_ema.safetensors").write_bytes(b"x")
    coded = make_model(place / "coded", controls=False)
    (coded / "pipeline.py").write_text("raise SystemExit")
    pickled = make_model(place / "pickled", controls=False)
    (pickled / BIG).rename(pickled / "unet" / "diffusion_pytorch_model.bin")
    single = place / "single"
    write_safetensors(single / "thing.safetensors", {"weight": (4, 4)})
    several = place / "several"
    for name in ("a", "b"):
        write_safetensors(several / f"{name}.safetensors", {"weight": (4, 4)})
    return {f"brand/{folder.name}": folder for folder in (whole, coded, pickled, single, several)}


@pytest.fixture
def server(repos: dict[str, Path]) -> Iterator[Hub]:
    with serve(repos) as running:
        yield running


@pytest.fixture
def client(server: Hub) -> Client:
    return Client(server.url, token="secret")


@pytest.fixture
def models(tmp_path: Path) -> Models:
    return Models(Settings(home=tmp_path))


def test_a_folder_comes_at_one_commit_with_json_txt_and_safetensors_only(
    client: Client, models: Models, server: Hub
) -> None:
    plan = client.plan("brand/whole")
    assert plan.revision == COMMIT and not plan.file
    *_, done = pull(models, client, plan, "mine")
    assert done == plan.size
    row = models.get("mine")
    kept = {str(file.relative_to(row.folder)) for file in row.folder.rglob("*") if file.is_file()}
    assert {name.rpartition(".")[2] for name in kept} == {"json", "txt", "safetensors"}
    assert not any("non_ema" in name for name in kept)
    assert (row.source, row.revision) == ("brand/whole", COMMIT)
    fetched = [path for path, _ in server.asked if "/cdn/" in path]
    assert fetched and all(f"/resolve/{COMMIT}/" in path for path in fetched)
    assert set(server.tokens) == {"Bearer secret"}
    assert set(models.check("mine").values()) == {"ok"}
    assert [path.name for path in (models.settings.home / "models").iterdir()] == ["mine"]


def test_a_broken_connection_is_mended_where_it_broke(client: Client, models: Models, server: Hub) -> None:
    plan = client.plan("brand/whole")
    server.cut = 2_000_000
    list(pull(models, client, plan, "mine"))
    ranges = [ranged for path, ranged in server.asked if path.endswith(BIG) and "/cdn/" in path]
    assert len(ranges) == 2 and ranges[0] == "" and int(ranges[1][6:-1]) > 0


def test_a_pull_that_was_stopped_goes_on_where_it_ended(client: Client, models: Models, server: Hub) -> None:
    plan = client.plan("brand/whole")
    steps = pull(models, client, plan, "mine")
    for done in steps:
        if done > 1_200_000:
            break
    steps.close()
    assert models.list() == Models(models.settings).list() and "mine" not in [
        row.name for row in models.list()
    ]
    server.asked.clear()
    first, *_ = pull(models, client, plan, "mine")
    begun = [int(ranged[6:-1]) for _, ranged in server.asked if ranged]
    assert first > 0 and begun and begun[0] >= 2**20
    assert models.get("mine").family == "pocket"


@pytest.mark.parametrize("name", [BIG, "vae/config.json"])
def test_bytes_that_are_not_the_hubs_are_thrown_away(
    client: Client, models: Models, server: Hub, name: str
) -> None:
    plan = client.plan("brand/whole")
    server.spoilt = name
    with pytest.raises(NotReady, match="hash differs") as caught:
        list(pull(models, client, plan, "mine"))
    assert caught.value.code == "download_broken"
    server.spoilt = ""
    list(pull(models, client, plan, "mine"))
    assert models.get("mine")


@pytest.mark.parametrize(
    ("asked", "kind", "code"),
    [
        ("brand/coded", BadRequest, "custom_code_refused"),
        ("brand/pickled", UnsafeFormat, "unsafe_format"),
        ("brand/several", BadRequest, "several_checkpoints"),
        ("brand/single/other.safetensors", NotFound, "hub_not_found"),
        ("brand/none", NotFound, "hub_not_found"),
        ("brand/whole@nowhere", NotFound, "hub_not_found"),
    ],
)
def test_what_cannot_be_used_is_refused_before_a_byte_is_fetched(
    client: Client, server: Hub, asked: str, kind: type[StudioError], code: str
) -> None:
    with pytest.raises(kind) as caught:
        client.plan(asked)
    assert caught.value.code == code
    assert not any("/resolve/" in path for path, _ in server.asked)


def test_one_file_of_several_can_be_named(client: Client) -> None:
    plan = client.plan("brand/several/b.safetensors@main")
    assert (plan.file, [file.name for file in plan.files]) == ("b.safetensors", ["b.safetensors"])
    assert client.plan("brand/single").file == "thing.safetensors"


def test_a_file_that_is_no_checkpoint_is_judged_after_it_came(client: Client, models: Models) -> None:
    with pytest.raises(BadRequest) as caught:
        list(pull(models, client, client.plan("brand/single"), "mine"))
    assert caught.value.code == "model_unknown"
    assert "mine" not in [row.name for row in models.list()] and not models.problems()


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, "hub_unauthorized"),
        (403, "hub_gated"),
        (404, "hub_not_found"),
        (429, "hub_busy"),
        (500, "hub_failed"),
    ],
)
def test_each_no_of_the_hub_has_a_sentence_of_its_own(
    client: Client, server: Hub, status: int, code: str
) -> None:
    server.refuse = status
    with pytest.raises(StudioError) as caught:
        client.plan("brand/whole")
    assert caught.value.code == code


def test_without_a_network_the_answer_is_there_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(NotReady) as caught:
        Client.from_environment().plan("brand/whole")
    assert caught.value.code == "hub_offline"
    with pytest.raises(NotReady) as caught:
        Client("http://127.0.0.1:9").plan("brand/whole")  # nothing listens there
    assert caught.value.code == "hub_offline"


def test_a_name_that_takes_long_to_look_up_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*_: object, **__: object) -> None:
        time.sleep(1.0)
        raise OSError

    monkeypatch.setattr(hub, "REACH", 0.05)
    monkeypatch.setattr(hub.socket, "create_connection", slow)
    began = time.monotonic()
    with pytest.raises(NotReady):
        Client("http://hub.example").plan("brand/whole")
    assert time.monotonic() - began < 0.9


def test_the_door_is_the_proxys_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.lan:3128")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert hub._door("https://huggingface.co") == ("proxy.lan", 3128)


@pytest.mark.parametrize(
    "asked",
    [
        "../../x",
        "a/b/c",
        "https://evil/x",
        "",
        "a" * 500,
        "a/..",
        "a/b/../c.safetensors",
        "a/b@../x",
        "a/b/c.ckpt",
    ],
)
def test_what_is_no_id_never_reaches_the_hub(client: Client, server: Hub, asked: str) -> None:
    with pytest.raises(BadRequest) as caught:
        client.plan(asked)
    assert caught.value.code == "bad_model_id" and not server.asked


def test_a_model_larger_than_the_disk_is_refused_with_both_figures(
    client: Client, models: Models, server: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = client.plan("brand/whole")
    monkeypatch.setattr(hub, "SPARE", 2**60)
    with pytest.raises(DiskLow, match=r"needs 0\.0 GB more, \d+\.\d GB are free"):
        list(pull(models, client, plan, "mine"))
    assert not any("/resolve/" in path for path, _ in server.asked)


def test_halves_are_fetched_where_there_are_both(repos: dict[str, Path], tmp_path: Path) -> None:
    both = make_model(tmp_path / "both", controls=False)
    for file in list(both.rglob("*.safetensors")):
        file.with_name(file.name.replace(".safetensors", ".fp16.safetensors")).write_bytes(file.read_bytes())
    with serve({"brand/both": both}) as running:
        names = [file.name for file in Client(running.url).plan("brand/both").files]
    weights = [name for name in names if name.endswith(".safetensors")]
    assert len(weights) == 3 and all(".fp16." in name for name in weights)


def wait_for(pulls: Pulls, id: str, *states: str) -> PullView:
    until = time.monotonic() + 30
    while (view := pulls.get(id)).state not in states:
        assert time.monotonic() < until, view
        time.sleep(0.01)
    return view


def test_a_download_runs_beside_and_tells_how_far_it_is(client: Client, models: Models) -> None:
    pulls = Pulls(models, lambda: client)
    begun = pulls.start("brand/whole", "mine")
    assert begun.revision == COMMIT and begun.of > 2_800_000
    with pytest.raises(Conflict):
        pulls.start("brand/whole", "other")
    done = wait_for(pulls, begun.id, "completed")
    assert done.done == done.of and models.get("mine")
    with pytest.raises(Conflict):
        pulls.start("brand/whole", "mine")
    assert [view.id for view in pulls.list()] == [begun.id]
    pulls.close()


def test_a_cancelled_download_keeps_its_bytes_and_leaves_no_model(
    client: Client, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "CHUNK", 1000)
    pulls = Pulls(models, lambda: client)
    begun = pulls.start("brand/whole", "mine")
    wait_for(pulls, begun.id, "running")
    pulls.cancel(begun.id)
    ended = wait_for(pulls, begun.id, "cancelled", "completed")
    assert ended.state == "cancelled" and "mine" not in [row.name for row in models.list()]
    with pytest.raises(Conflict):
        pulls.cancel(begun.id)
    again = pulls.start("brand/whole", "mine")
    wait_for(pulls, again.id, "completed")
    pulls.close()


def test_a_download_that_failed_says_why(client: Client, models: Models, server: Hub) -> None:
    pulls = Pulls(models, lambda: client)
    server.spoilt = BIG
    view = wait_for(pulls, pulls.start("brand/whole").id, "failed")
    assert view.error is not None and view.error["code"] == "download_broken"
    pulls.close()


def test_a_model_can_be_made_default_and_others_removed(models: Models, tmp_path: Path) -> None:
    models.add_model(make_model(tmp_path / "one"))
    models.add_model(make_model(tmp_path / "two"))
    models.make_default("one")
    assert Models(models.settings).default() == "one"
    with pytest.raises(Conflict, match="default"):
        models.remove("one")
    with pytest.raises(Conflict, match="came with"):
        models.remove("pocket")
    models.remove("two")
    assert "two" not in [row.name for row in models.list()]
    models.make_default("pocket")
    models.remove("one")
    assert [path.name for path in (models.settings.home / "models").iterdir()] == ["default.txt"]
    with pytest.raises(NotFound):
        models.remove("one")


def test_a_file_that_changed_on_disk_is_found(models: Models, tmp_path: Path) -> None:
    row = models.add_model(make_model(tmp_path / "one"))
    assert len(row.hash) == 64 and set(models.check("one").values()) == {"ok"}
    file = row.folder / BIG
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.unlink()  # it was a hard link to the original
    file.write_bytes(bytes(data))
    assert models.check("one")[BIG] == "changed"
    (row.folder / "studio.json").write_text(json.dumps({}))
    assert set(models.check("one").values()) == {"new"}
