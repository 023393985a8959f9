"""A brand's rules, wildcard files and prompt matrices over REST."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from PIL import Image
from serving import refused

from studio.brand.contact import SIDE

ACME = """version: 1
name: ruled
prompt: '{prompt}, acme'
palette: {ground: '#FFFFFF'}
sizes: {web: 128x128, wide: 256x128}
banned: [gin]
required: [acme, mug]
"""


@pytest.fixture(scope="module")
def brand(client: httpx.Client) -> str:
    answer = client.put("/api/v1/presets/ruled", json={"text": ACME})
    assert answer.status_code == 200, answer.text
    return "ruled"


def lights(answer: httpx.Response) -> dict[str, str]:
    assert answer.status_code == 200, answer.text
    return {one["rule"]: one["light"] for one in answer.json()["rulings"]}


def before(client: httpx.Client, **asked: Any) -> dict[str, str]:
    return lights(client.post("/api/v1/rules", json={"prompt": "a mug", **asked}))


def test_a_request_is_judged_before_it_runs(client: httpx.Client, brand: str) -> None:
    jobs = len(client.get("/api/v1/jobs").json())
    assert before(client) == {"words": "off", "size": "off", "logo": "off", "safe_area": "off"}
    kept = before(client, preset=brand, width=128, height=128)
    assert kept == {"words": "green", "size": "green", "logo": "off", "safe_area": "off"}
    assert before(client, preset=brand, width=256, height=256)["size"] == "amber"
    assert before(client, preset=brand, width=192, height=128)["size"] == "red"
    assert before(client, preset=brand, prompt="a glass of gin, mug")["words"] == "red"
    assert before(client, preset=brand, prompt="a cap")["words"] == "red"
    assert len(client.get("/api/v1/jobs").json()) == jobs
    refused(client.post("/api/v1/jobs", json={"prompt": "a cap", "preset": brand}), 422, "required_word")
    refused(client.post("/api/v1/rules", json={"prompt": "a mug", "preset": "nobody"}), 404)
    refused(client.post("/api/v1/rules", json={"prompt": ""}), 422)


def test_wildcards_with_an_open_seed_are_drawn_on_trial(client: httpx.Client, brand: str) -> None:
    asked = {"preset": brand, "prompt": "a {mug|mug of gin}", "width": 128, "height": 128}
    answer = client.post("/api/v1/rules", json=asked)
    [words] = [one for one in answer.json()["rulings"] if one["rule"] == "words"]
    assert words["light"] == "amber" and 0 < words["figures"]["refused"] < words["figures"]["drawn"] == 32
    assert "gin" in words["reason"]["en"] and "gin" in words["reason"]["zh"]
    assert answer.json() == client.post("/api/v1/rules", json=asked).json()
    settled = {before(client, **asked, seed=seed)["words"] for seed in range(8)}
    assert settled == {"green", "red"}


def test_a_control_picture_says_beforehand_what_will_touch_the_edge(client: httpx.Client) -> None:
    found = []
    for box in ((20, 20, 108, 108), (0, 0, 128, 64)):
        picture = Image.effect_noise((box[2] - box[0], box[3] - box[1]), 200).convert("RGB")
        whole, out = Image.new("RGB", (128, 128), "white"), io.BytesIO()
        whole.paste(picture, box[:2])
        whole.save(out, "PNG")
        id = client.post("/api/v1/uploads", files={"file": out.getvalue()}).json()["id"]
        found.append(before(client, control={"image": id})["safe_area"])
    assert found == ["green", "red"]


def test_a_picture_is_judged_after_it_was_made(
    client: httpx.Client, brand: str, finished: Callable[..., dict[str, Any]]
) -> None:
    image = finished(prompt="a mug", preset=brand, width=256, height=128)["images"][0]["id"]
    answer = client.get(f"/api/v1/images/{image}/rules")
    said = lights(answer)
    assert said["size"] == "green" and said["words"] == "green" and said["provenance"] == "green"
    assert (said["logo"], said["protected"], said["safety"]) == ("off", "off", "off")
    palette = client.get(f"/api/v1/palette/{image}").json()["score"]
    assert (palette >= 70) == (said["palette"] == "green") and (palette < 50) == (said["palette"] == "red")
    assert answer.json()["when"] == "after" and answer.json()["worst"] in set(said.values())
    other = finished(prompt="a cap", width=192, height=64)["images"][0]["id"]
    bare = lights(client.get(f"/api/v1/images/{other}/rules"))
    assert (bare["size"], bare["palette"], bare["provenance"]) == ("off", "off", "amber")
    refused(client.get(f"/api/v1/images/{'0' * 32}/rules"), 404)


def test_a_campaigns_table_has_the_gravest_light_of_each_picture(client: httpx.Client, brand: str) -> None:
    rows = [
        {"prompt": "a mug", "size": size, "preset": brand, "seed": "1"} for size in ("128x128", "192x128")
    ]
    id = client.post("/api/v1/campaigns", json={"rows": rows, "fields": {"steps": 2}}).json()["id"]
    ended(client, id)
    lines = list(
        csv.DictReader(
            io.StringIO(client.get(f"/api/v1/campaigns/{id}/results.csv").content.decode("utf-8-sig"))
        )
    )
    for line in lines:
        judged = client.get(f"/api/v1/images/{line['image']}/rules").json()
        assert line["rules"].startswith(judged["worst"])
    assert (
        lines[1]["rules"]
        == "red: Size. 192 × 128 px is none of the brand's sizes: web 128 × 128, wide 256 × 128."
    )


# --- wildcard files ---


def test_wildcard_files_are_listed_put_and_deleted(client: httpx.Client) -> None:
    at = "/api/v1/wildcards/shop/hues"
    assert client.put(at, json={"text": "red\nblue\n# note\n"}).json() == {
        "name": "shop/hues", "lines": 2, "first": ["red", "blue"],
    }  # fmt: skip
    assert "shop/hues" in [row["name"] for row in client.get("/api/v1/wildcards").json()]
    assert client.delete(at).status_code == 204
    refused(client.delete(at), 404, "wildcard_not_found")
    refused(client.put(at, json={"text": "\n"}), 422, "wildcard_empty")
    refused(client.put(at, json={"lines": []}), 422, "unknown_field")


@pytest.mark.parametrize(
    "name", ["..%2f..%2fsecret", "..%2Frules", "a%2f..%2f..%2fb", "x.txt", "%2fetc%2fpasswd"]
)
def test_no_name_leads_out_of_the_folder(client: httpx.Client, name: str) -> None:
    answer = client.put(f"/api/v1/wildcards/{name}", json={"text": "x"})
    assert answer.status_code in (400, 404, 422), answer.text
    prompt = name.replace("%2f", "/").replace("%2F", "/")
    refused(client.post("/api/v1/jobs", json={"prompt": f"a __{prompt}__"}), 422, "bad_wildcard_name")


def test_doors_of_other_tools_draw_for_each_picture_too(client: httpx.Client) -> None:
    asked = {"prompt": "a {red|blue|green|white} mug", "seed": 3, "n_iter": 2, "batch_size": 3, "steps": 2}
    answer = client.post("/sdapi/v1/txt2img", json=asked)
    assert answer.status_code == 200, answer.text
    info = json.loads(answer.json()["info"])
    assert len(set(info["all_prompts"])) > 1 and info["all_seeds"] == [3, 4, 5, 6, 7, 8]
    for seed, prompt in zip(info["all_seeds"], info["all_prompts"], strict=True):
        again = client.post("/sdapi/v1/txt2img", json={**asked, "seed": seed, "n_iter": 1, "batch_size": 1})
        assert json.loads(again.json()["info"])["prompt"] == prompt
    plain = client.post("/sdapi/v1/txt2img", json={**asked, "prompt": "a {red} mug | (x:1.2) {"})
    assert json.loads(plain.json()["info"])["prompt"] == "a {red} mug | (x:1.2) {"


def test_openais_door_tells_what_each_picture_drew(client: httpx.Client) -> None:
    asked = {"prompt": "a {red|blue|green|white} mug", "n": 4, "response_format": "url"}
    answer = client.post("/v1/images/generations", json=asked)
    assert answer.status_code == 200, answer.text
    for one in answer.json()["data"]:
        id = one["url"].rpartition("/images/")[2].partition("/")[0]
        kept = client.get(f"/api/v1/images/{id}").json()["request"]
        assert one["revised_prompt"] == kept["prompt"] and kept["template"] == asked["prompt"]


# --- prompt matrix ---


def ended(client: httpx.Client, id: str) -> dict[str, Any]:
    until = time.monotonic() + 20
    while (view := client.get(f"/api/v1/campaigns/{id}").json())["state"] == "running":
        assert time.monotonic() < until
        time.sleep(0.05)
    return dict(view)


def test_a_prompt_matrix_makes_every_combination_once(client: httpx.Client) -> None:
    wish = {
        "request": {"prompt": "a red mug | on a {table|desk} | at night | glossy", "steps": 2, "seed": 5},
        "matrix": True,
    }
    answer = client.post("/api/v1/grids", json=wish)
    assert answer.status_code == 202, answer.text
    view = ended(client, answer.json()["id"])
    assert view["counts"] == {"done": 8} and view["name"] == "a red mug"
    rows = client.get(f"/api/v1/campaigns/{view['id']}/rows").json()
    table = rows[1]["prompt"].removeprefix("a red mug, ")
    assert table in ("on a table", "on a desk") and {row["seed"] for row in rows} == {5}
    assert [row["prompt"].removeprefix("a red mug").removeprefix(", ") for row in rows] == [
        "", table, "at night", f"{table}, at night",
        "glossy", f"{table}, glossy", "at night, glossy", f"{table}, at night, glossy",
    ]  # fmt: skip
    assert rows[6]["cells"] == {"x": "at night", "y": "glossy"} and rows[0]["cells"] == {
        "x": "(none)",
        "y": "(none)",
    }
    sheet = Image.open(io.BytesIO(client.get(f"/api/v1/campaigns/{view['id']}/contact-sheet.png").content))
    assert 5 * SIDE < sheet.width < 6 * SIDE and 2 * SIDE < sheet.height < 3 * SIDE  # 4 by 2


@pytest.mark.parametrize(
    ("prompt", "code", "said"),
    [
        (
            "|".join("abcdefghijkl"),
            "too_many_cells",
            "11 parts that may be there make 2048 pictures; at most 1000",
        ),
        ("a red mug", "bad_matrix", "first part"),
        ("| on a table", "bad_matrix", "first part"),
        ("a {b|c}", "bad_matrix", "first part"),
    ],
)
def test_a_matrix_that_cannot_be_made_says_why(
    client: httpx.Client, prompt: str, code: str, said: str
) -> None:
    wish = {"request": {"prompt": prompt}, "matrix": True}
    assert said in refused(client.post("/api/v1/grids", json=wish), 422, code)["message"]


def test_a_matrix_has_no_axes_of_its_own(client: httpx.Client) -> None:
    wish = {"request": {"prompt": "a | b"}, "matrix": True, "x": {"field": "steps", "values": "1"}}
    refused(client.post("/api/v1/grids", json=wish), 422)
    refused(client.post("/api/v1/grids", json={"request": {"prompt": "a"}}), 422)


def test_a_grid_that_is_too_large_says_its_figures(client: httpx.Client) -> None:
    axes = {name: {"field": field, "values": "1-20"} for name, field in (("x", "seed"), ("y", "steps"))}
    wish = {"request": {"prompt": "a"}, **axes, "z": {"field": "guidance", "values": "1-3"}}
    error = refused(client.post("/api/v1/grids", json=wish), 422, "too_many_cells")
    assert "20 x 20 x 3 values make 1200 pictures" in error["message"]


def test_fields_within_fields_are_axes_as_well(client: httpx.Client) -> None:
    out = io.BytesIO()
    Image.new("RGB", (64, 64), "white").save(out, "PNG")
    id = client.post("/api/v1/uploads", files={"file": out.getvalue()}).json()["id"]
    wish = {
        "request": {"prompt": "a mug", "steps": 2, "control": {"image": id}},
        "x": {"field": "control_end", "values": "0.5, 1"},
        "y": {"field": "upscale", "values": "1, 2"},
    }
    view = ended(client, client.post("/api/v1/grids", json=wish).json()["id"])
    rows = client.get(f"/api/v1/campaigns/{view['id']}/rows").json()
    assert view["counts"] == {"done": 4} and rows[3]["cells"] == {"x": "control_end 1", "y": "upscale 2"}
    job = client.get(f"/api/v1/jobs/{rows[0]['job']}").json()
    assert job["request"]["control"]["end"] == 0.5
