"""Brands in and out of the studio: signed kits, plain brand files, styles of other tools."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from studio.errors import BadRequest, NotFound, StudioError
from studio.kits import foreign
from studio.kits.kits import Kind, Kits, renamed
from studio.kits.package import Package, Signer, pack, unpack
from studio.models import LoraRow, Models
from studio.presets import Preset
from studio.presets.yaml_nodes import MAX_BYTES
from studio.safety.keys import SigningKey

SUFFIXES = (".brandkit", ".zip", ".yaml", ".yml", ".csv", ".json")
MAX_SHEET = 4 * 2**20  # bytes of a styles.csv


@dataclass(frozen=True)
class Brought:
    """`name`: "" for one that could not be taken in; `problem` says why then.

    `left_out`: settings of the other tool that a brand file cannot say. `loras`: those that came along.
    """

    name: str
    source: str
    left_out: tuple[str, ...] = ()
    loras: tuple[str, ...] = ()
    signer: Signer | None = None
    problem: str = ""


class Trade:
    """`add_lora` takes in a LoRA's file under a name, judged; `judge` refuses what is no picture.

    `key` reads the studio's signing key.
    """

    def __init__(
        self, kits: Kits, models: Models, add_lora: Callable[[Path, str], LoraRow],
        judge: Callable[[bytes], object], key: Callable[[], SigningKey],
    ) -> None:  # fmt: skip
        self._kits, self._models, self._add_lora = kits, models, add_lora
        self._judge, self._key = judge, key

    def export(self, name: str, by: str, out: IO[bytes]) -> None:
        """A signed kit with the LoRAs, logos and samples of the brand. Raises NotFound, PresetInvalid."""
        text = self._kits.text(name)
        preset = self._kits.check(name, text)
        members = {
            f"loras/{lora.name}.safetensors": self._models.lora(lora.name).file for lora in preset.loras or ()
        }
        for kind, name_of_one in _pictures(preset):
            file = self._kits.picture(kind, name_of_one)
            if file is None:
                one = kind.removesuffix("s")
                raise NotFound(f"The {one} {name_of_one} is missing.", field=one, code=f"{one}_missing")
            members[f"{kind}/{name_of_one}"] = file
        pack(out, name, text, members, by, self._key())

    def bring(self, data: IO[bytes], filename: str, by: str, replace: bool = False) -> Sequence[Brought]:
        """Every brand in a file; its kind is told by the ending of `filename`.

        A name that is taken by another text gets a number, or with `replace` a new version. Raises BadRequest
        (`bad_kit`, `kit_changed`) where nothing of the file can be read.
        """
        stem, suffix = Path(filename).stem, Path(filename).suffix.lower()
        if suffix in (".brandkit", ".zip"):
            with tempfile.TemporaryDirectory() as folder:
                return [self._take_kit(unpack(data, Path(folder), self._key()), by, replace)]
        if suffix in (".yaml", ".yml"):
            text = _read(data, MAX_BYTES).decode("utf-8-sig", "replace")
            found = re.search(r"(?m)^name:[ ]*([a-z0-9-]+)[ ]*$", text)
            return [Brought(self._save(found[1] if found else stem, text, by, replace), filename)]
        if suffix == ".csv":
            return list(self._take_foreign(foreign.read_styles(_read(data, MAX_SHEET)), by))
        if suffix == ".json":
            return list(self._take_foreign([foreign.read_fooocus(_read(data, MAX_SHEET), stem)], by))
        raise BadRequest(
            f"{filename[:80]!r} is no brand.",
            hint=f"These can be read: {', '.join(SUFFIXES)}.",
            code="bad_kit",
        )

    def _take_kit(self, kit: Package, by: str, replace: bool) -> Brought:
        preset = self._kits.check(kit.name, kit.text)
        unlisted = {lora.name for lora in preset.loras or ()} - set(kit.loras)
        lacking = [name for name in sorted(unlisted) if not self._has_lora(name)]
        if lacking:
            raise BadRequest(f"The brand kit lacks the LoRA {lacking[0]!r} that it wears.", code="bad_kit")
        sent = {"logos": kit.logos, "samples": kit.samples}
        pictures = {
            (kind, name): sent[kind][name].read_bytes()
            for kind, name in _pictures(preset)
            if name in sent[kind]
        }
        for data in pictures.values():
            self._judge(data)
        fresh = [name for name in kit.loras if not self._has_lora(name)]
        try:
            for name, file in kit.loras.items():
                self._add_lora(file, name)
            for (kind, name), data in pictures.items():
                self._kits.add_picture(kind, name, data, replace)
            kept = self._save(kit.name, kit.text, by, replace)
        except StudioError:
            for name in fresh:  # a kit that is refused leaves nothing behind
                self._drop_lora(name)
            raise
        return Brought(kept, kit.by, loras=tuple(kit.loras), signer=kit.signer)

    def _take_foreign(self, found: Sequence[foreign.Foreign], by: str) -> Iterator[Brought]:
        for row in found:
            name = self._kits.free_name(row.name)
            try:
                self._kits.save(name, foreign.write_brand(name, row.name, row.fields), by)
            except StudioError as error:
                yield Brought("", row.name, row.left_out, problem=f"{error.message} {error.hint}".strip())
            else:
                yield Brought(name, row.name, row.left_out)

    def _save(self, name: str, text: str, by: str, replace: bool) -> str:
        """Under its own name unless another text has it. Returns the name."""
        try:
            taken = self._kits.text(name) != text
        except NotFound:
            taken = False
        kept = self._kits.free_name(name) if taken and not replace else name
        self._kits.save(kept, renamed(text, kept) if kept != name else text, by)
        return kept

    def _has_lora(self, name: str) -> bool:
        return any(row.name == name for row in self._models.loras())

    def _drop_lora(self, name: str) -> None:
        if self._has_lora(name):
            self._models.lora(name).file.unlink(missing_ok=True)


def _pictures(preset: Preset) -> Iterator[tuple[Kind, str]]:
    """(folder, file) of every picture that the brand file names."""
    logos = () if preset.logo is None else sorted({preset.logo.light, preset.logo.dark})
    yield from (("logos", name) for name in logos)
    yield from (("samples", name) for name in preset.samples)


def _read(data: IO[bytes], limit: int) -> bytes:
    found = data.read(limit + 1)
    if len(found) > limit:
        raise BadRequest(f"The file has more than {limit} bytes.", code="bad_kit")
    return found
