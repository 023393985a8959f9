"""Brand files are checked, kept in versions, handed over signed, and brought from other tools."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from folders import make_lora, make_model
from PIL import Image

from studio.errors import BadRequest, Conflict, NotFound, PresetInvalid, UnsupportedImage
from studio.executors import FakeExecutor
from studio.kits.kits import digest
from studio.schema import GenerationRequest
from studio.settings import Settings
from studio.studio import Studio

BRAND = """version: 1
name: acme
# our red, not theirs
prompt: '{prompt}, acme style'  # frame
loras: [{name: acme, weight: 0.8}]
"""


@pytest.fixture
def acme(home: Path) -> Iterator[Studio]:
    make_lora(home / "loras" / "acme.safetensors")
    with closing(Studio.open(Settings(home=home), FakeExecutor())) as studio:
        yield studio


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Studio]:
    """Another company's studio: another key, no LoRA of ours."""
    make_model(tmp_path / "other" / "models" / "pocket")
    settings = Settings(home=tmp_path / "other", organisation="Other Ltd")
    with closing(Studio.open(settings, FakeExecutor())) as studio:
        yield studio


def exported(studio: Studio, name: str = "acme") -> bytes:
    out = io.BytesIO()
    studio.trade.export(name, "anna", out)
    return out.getvalue()


def bring(studio: Studio, data: bytes, filename: str = "acme.brandkit", **how: Any) -> Any:
    return studio.trade.bring(io.BytesIO(data), filename, "ben", **how)


def test_what_was_typed_is_kept_to_the_letter(acme: Studio) -> None:
    acme.kits.save("acme", BRAND, "anna")
    assert acme.kits.text("acme") == BRAND
    assert acme.resolve(GenerationRequest(prompt="a mug", preset="acme")).prompt == "a mug, acme style"


def test_a_mistake_is_told_with_its_place_and_changes_nothing(acme: Studio, home: Path) -> None:
    acme.kits.save("acme", BRAND, "anna")
    with pytest.raises(PresetInvalid, match="Line 4, column 9"):
        acme.kits.save("acme", BRAND.replace("'{prompt}, acme style'", "no frame"), "anna")
    assert acme.kits.text("acme") == BRAND and len(acme.kits.versions("acme")) == 1
    with pytest.raises(PresetInvalid, match="differ"):
        acme.kits.save("other", BRAND, "anna")
    assert not (home / "presets" / "other.yaml").exists()


def test_half_a_character_is_told_and_kept_nowhere(acme: Studio) -> None:
    with pytest.raises(PresetInvalid, match="Line 2"):
        acme.kits.save("acme", "version: 1\n# \ud800", "anna")
    assert acme.kits.versions("acme") == []


@pytest.mark.parametrize("name", ["../x", "a/b", "", "A", "x" * 65, ".", "a\0b"])
def test_no_name_reaches_outside_the_folder(acme: Studio, name: str) -> None:
    for act in (acme.kits.text, acme.kits.versions, acme.kits.delete, acme.kits.is_own):
        with pytest.raises(PresetInvalid):
            act(name)


def test_every_version_is_kept_and_the_same_text_makes_none(acme: Studio) -> None:
    for text in (BRAND, BRAND + "steps: 9\n", BRAND + "steps: 9\n"):
        acme.kits.save("acme", text, "anna")
    assert [(row.number, row.by) for row in acme.kits.versions("acme")] == [(2, "anna"), (1, "anna")]
    assert acme.kits.version("acme", 1) == BRAND
    acme.kits.delete("acme")
    assert len(acme.kits.versions("acme")) == 2
    with pytest.raises(NotFound):
        acme.kits.version("acme", 3)
    with pytest.raises(NotFound):
        acme.kits.text("acme")


def test_a_change_over_somebody_elses_is_refused(acme: Studio) -> None:
    acme.kits.save("acme", BRAND, "anna")
    base = digest(BRAND)
    acme.kits.save("acme", BRAND + "steps: 9\n", "ben", base)
    with pytest.raises(Conflict) as caught:
        acme.kits.save("acme", BRAND + "steps: 8\n", "anna", base)
    assert caught.value.code == "preset_changed" and "steps: 9" in acme.kits.text("acme")


def test_a_shipped_preset_can_be_covered_and_never_deleted(acme: Studio) -> None:
    shipped = acme.kits.text("nordic")
    with pytest.raises(Conflict) as caught:
        acme.kits.delete("nordic")
    assert caught.value.code == "preset_builtin"
    acme.kits.save("nordic", shipped.replace("weight: 0.9", "weight: 0.5"), "anna")
    assert acme.presets.get("nordic").loras != ()
    acme.kits.delete("nordic")
    assert acme.kits.text("nordic") == shipped


def test_a_kit_takes_text_and_styles_to_another_studio(acme: Studio, other: Studio, tmp_path: Path) -> None:
    acme.kits.save("acme", BRAND, "anna")
    (row,) = bring(other, exported(acme))
    assert (row.name, row.source, row.loras) == ("acme", "anna", ("acme",))
    assert other.kits.text("acme") == BRAND and other.models.lora("acme").name == "acme"
    assert row.signer.name == "Brand Studio" and not row.signer.ours
    assert bring(acme, exported(acme))[0].signer.ours


def test_a_kit_takes_its_logos_along(acme: Studio, other: Studio, home: Path, tmp_path: Path) -> None:
    picture = io.BytesIO()
    Image.new("RGBA", (40, 20), "red").save(picture, "PNG")
    (home / "presets" / "logos").mkdir(parents=True)
    (home / "presets" / "logos" / "acme.png").write_bytes(picture.getvalue())
    acme.kits.save("acme", BRAND + "logo: {light: acme.png, dark: acme.png}\n", "anna")
    kit = exported(acme)
    bring(other, kit)
    there = tmp_path / "other" / "presets" / "logos" / "acme.png"
    assert there.read_bytes() == picture.getvalue()
    there.write_bytes(b"another")
    with pytest.raises(Conflict) as caught:
        bring(other, kit)
    assert caught.value.code == "logo_exists"
    bring(other, kit, replace=True)
    assert there.read_bytes() == picture.getvalue()
    (home / "presets" / "logos" / "acme.png").write_bytes(b"no picture")
    with pytest.raises(UnsupportedImage):
        bring(other, exported(acme))


def test_a_name_that_is_taken_gets_a_number(acme: Studio, tmp_path: Path) -> None:
    acme.kits.save("acme", BRAND, "anna")
    kit = exported(acme)
    acme.kits.save("acme", BRAND + "steps: 9\n", "anna")
    assert bring(acme, kit)[0].name == "acme-2"
    assert acme.kits.text("acme-2") == BRAND.replace("name: acme\n", "name: acme-2\n")
    assert bring(acme, kit, replace=True)[0].name == "acme"
    assert acme.kits.text("acme") == BRAND


def rewritten(kit: bytes, change: Callable[[str, bytes], bytes | None]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(kit)) as source, zipfile.ZipFile(out, "w") as target:
        for name in source.namelist():
            if (data := change(name, source.read(name))) is not None:
                target.writestr(name, data)
    return out.getvalue()


def longer(name: str) -> Callable[[str, bytes], bytes | None]:
    return lambda found, data: data + b" " if found == name else data


def without(name: str) -> Callable[[str, bytes], bytes | None]:
    return lambda found, data: None if found == name else data


def escaping(name: str, data: bytes) -> bytes:
    return data.replace(b"loras/acme", b"../../acme") if name == "kit.json" else data


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (longer("brand.yaml"), "kit_changed"),
        (longer("loras/acme.safetensors"), "kit_changed"),
        (longer("kit.json"), "kit_changed"),
        (longer("kit.sig"), "kit_changed"),
        (escaping, "kit_changed"),
        (without("kit.sig"), "bad_kit"),
        (without("chain.pem"), "bad_kit"),
        (without("loras/acme.safetensors"), "bad_kit"),
        (lambda name, data: b"[" * 100_000 if name == "chain.pem" else data, "bad_kit"),
    ],
)
def test_a_kit_that_was_changed_is_refused_and_leaves_nothing(
    acme: Studio, other: Studio, tmp_path: Path, change: Any, code: str
) -> None:
    acme.kits.save("acme", BRAND, "anna")
    with pytest.raises(BadRequest) as caught:
        bring(other, rewritten(exported(acme), change))
    assert caught.value.code == code and str(tmp_path) not in caught.value.message
    assert "acme" not in other.kits.names() and not (tmp_path / "other" / "loras").exists()


@pytest.mark.parametrize("bomb", ["deflated", "overlapping"])
def test_a_signed_bomb_is_not_unpacked(acme: Studio, other: Studio, bomb: str) -> None:
    acme.kits.save("acme", BRAND, "anna")
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(exported(acme))) as source, zipfile.ZipFile(out, "w") as target:
        for name in source.namelist():
            kind = zipfile.ZIP_DEFLATED if bomb == "deflated" and "lora" in name else zipfile.ZIP_STORED
            target.writestr(name, source.read(name), kind)
        if bomb == "overlapping":  # two entries that both say they hold what is there once
            for entry in target.filelist[-2:]:
                entry.file_size = entry.compress_size = 2 * 2**30
    with pytest.raises(BadRequest, match="packed by another tool"):
        bring(other, out.getvalue())


def test_a_signed_kit_still_cannot_name_a_place(acme: Studio, other: Studio, tmp_path: Path) -> None:
    """Whoever has a key can sign anything."""
    from studio.kits import package

    index = {"format": 1, "name": "acme", "made": "", "by": "", "files": {"../x.safetensors": {"sha256": ""}}}
    index["files"]["brand.yaml"] = package._entry(io.BytesIO(BRAND.encode()))  # type: ignore[index]
    raw = json.dumps(index).encode()
    key = acme.copies.signing_key()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as kit:
        for name, data in {
            "kit.json": raw, "kit.sig": package._sign(raw, key), "chain.pem": key.chain.encode(),
            "brand.yaml": BRAND.encode(), "../x.safetensors": b"",
        }.items():  # fmt: skip
            kit.writestr(name, data)
    with pytest.raises(BadRequest, match="cannot hold"):
        bring(other, out.getvalue())


@pytest.mark.parametrize("data", [b"", b"PK", b"PK\x03\x04" + bytes(100), b"nonsense" * 100])
def test_what_is_no_zip_is_said_to_be_none(acme: Studio, tmp_path: Path, data: bytes) -> None:
    with pytest.raises(BadRequest) as caught:
        bring(acme, data)
    assert caught.value.code == "bad_kit"


def test_styles_of_automatic1111_become_brands(acme: Studio, tmp_path: Path) -> None:
    sheet = (
        "\ufeffname,prompt,negative_prompt\n"
        '#---- looks,,\nLine Art!,"ink drawing of {prompt}, no: tags # here",blurry\n'
        'Warm,"golden light, ""quoted""",\nPlain,,\n'
        f"Long,{'x' * 3000},\n"
    )
    rows = bring(acme, sheet.encode(), "styles.csv")
    assert [row.name for row in rows] == ["line-art", "warm", "plain-2", "long"]
    preset = acme.presets.get("line-art")
    assert preset.prompt == "ink drawing of {prompt}, no: tags # here" and preset.negative_prompt == "blurry"
    assert acme.presets.get("warm").prompt == '{prompt}, golden light, "quoted"'
    assert rows[3].left_out == ("prompt",)


def test_a_preset_of_fooocus_becomes_a_brand(acme: Studio, tmp_path: Path) -> None:
    told = {
        "default_model": "juggernaut.safetensors", "default_cfg_scale": 4.0,
        "default_sampler": "dpmpp_2m_sde_gpu", "default_scheduler": "karras",
        "default_loras": [[True, "None", 1.0], [True, "sub/acme.safetensors", 0.5]],
        "default_aspect_ratio": "128*192", "default_prompt_negative": "ugly\u2028text", "default_prompt": "",
        "default_styles": ["Fooocus V2"],
    }  # fmt: skip
    (row,) = bring(acme, json.dumps(told).encode(), "Photo Real.json")
    preset = acme.presets.get(row.name)
    assert (
        row.name == "photo-real"
        and row.left_out[:1] == ("default_model",)
        and "default_styles" in row.left_out
    )
    assert (preset.guidance, preset.width, preset.height) == (4.0, 128, 192)
    assert preset.loras is not None and [(one.name, one.weight) for one in preset.loras] == [("acme", 0.5)]
    assert preset.negative_prompt == "ugly\u2028text" and preset.scheduler == "dpmpp-2m-sde"


def test_a_style_that_cannot_be_one_is_told_and_the_others_come(acme: Studio, tmp_path: Path) -> None:
    rows = bring(acme, b'{"default_cfg_scale": 9999, "default_prompt": "x"}', "bad.json")
    assert rows[0].name == "" and "9999" in rows[0].problem
    for data, name in (
        (b"\xff\xfe\x00", "x.csv"),
        (b"a,b\n1,2\n", "x.csv"),
        (b"[1]", "x.json"),
        (b"x", "x.exe"),
    ):
        with pytest.raises(BadRequest):
            bring(acme, data, name)
