"""ControlNets: each taken in once, and laid into every model it fits.

STUDIO_HOME/controls/NAME holds one in diffusers' layout. A model that it fits gets the same files, as hard
links, in its own folder `controlnet-KIND`: where engine, forecast and receipts look, and other tools too.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.catalog import CONTROLS, FAMILIES
from studio.errors import BadRequest, Conflict, NotFound, StudioError, WrongBase
from studio.models.checkpoint import NOTES, write_notes
from studio.models.folders import LENT_BY, context_of, hash_of, link, read_config, recorded, weight_files
from studio.models.hashes import Hashes
from studio.models.layout import Part
from studio.models.layout_control import is_control, read_control
from studio.safetensors_header import Header, read_header

ControlRows = list["ControlRow"]
Config = Mapping[str, Any]
Signature = tuple[Any, ...]

WEIGHTS = "diffusion_pytorch_model.safetensors"
PIECE = 2**24  # bytes copied at a time
# A ControlNet is a copy of half a UNet: what no weight tells of it is as in that UNet.
AS_UNET = (
    "act_fn", "addition_time_embed_dim", "attention_head_dim", "cross_attention_dim", "downsample_padding",
    "flip_sin_to_cos", "freq_shift", "norm_eps", "norm_num_groups", "num_attention_heads", "upcast_attention",
)  # fmt: skip
SHOWN = 3  # models whose figures stand beside those of a ControlNet that fits none


@dataclass(frozen=True)
class ControlRow:
    """`control`: key of CONTROLS. `fits`: models that use it. `bytes`: weights on disk.

    `source`, `revision`, `hash`: as of a ModelRow. `signature`: equal to that of the UNets it fits.
    """

    name: str
    control: str
    folder: Path
    fits: tuple[str, ...]
    bytes: int
    source: str
    revision: str
    hash: str
    signature: Signature

    @property
    def network(self) -> Path:
        return self.folder / f"controlnet-{self.control}"


class Controls:
    """`models`: name -> folder of all that are there. `vet`: see Models."""

    def __init__(
        self,
        home: Path,
        hashes: Hashes,
        models: Callable[[], Mapping[str, Path]],
        vet: Callable[[Path, bool], None],
    ) -> None:
        self._home, self._hashes, self._models, self._vet = home, hashes, models, vet

    def list(self) -> ControlRows:
        shelf = self._home / "controls"
        rows = map(self._row, sorted(shelf.glob("[!.]*")))
        return [row for row in rows if row.control in CONTROLS]

    def find(self, name: str) -> ControlRow | None:
        return next((row for row in self.list() if row.name == name), None)

    def add(self, path: Path, name: str, control: str | None, notes: Mapping[str, Any]) -> ControlRow:
        """A file in either layout, or a diffusers folder. `control`: what it reads; None: as its name tells.

        Raises BadRequest (`not_a_controlnet`, `control_unknown`, `model_unknown`, `model_incomplete`),
        UnsafeFormat, WrongBase where no installed model has its shapes, Conflict where each has one.
        """
        file = _weights_in(path)
        self._vet(file, True)
        header = read_header(file)
        if not is_control(header.tensors):
            raise BadRequest(
                f"No ControlNet: none of its {len(header.tensors)} tensors reads a picture.",
                hint="Models are added with studio models add, styles with studio loras add.",
                code="not_a_controlnet",
            )
        part = read_control({key: shape for key, (_, shape) in header.tensors.items()})
        told = read_config(path / "config.json") if path.is_dir() else {}
        _check_told(told, part.config)
        words = f"{name} {path.name} {notes.get('source', '')}"
        control = checked_control(control) or _control_named(words)
        unet = self._unet_for(part.config, control)
        untold = told or {key: unet[key] for key in AS_UNET if key in unet}
        config = {**untold, **{key: value for key, value in part.config.items() if key not in AS_UNET}}
        with self._place(self._home / "controls" / name) as rough:
            network = rough / f"controlnet-{control}"
            network.mkdir(parents=True)
            (network / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
            _write_weights(file, header, part, network / WEIGHTS)
            kept = {"control": control, "source": path.name, **notes}
            write_notes(rough, {**kept, "files": self._hashes.files(rough)})
        self.join()
        return self._row(self._home / "controls" / name)

    def join(self) -> None:
        """Each model gets the ControlNets it fits, where it has none of that kind."""
        for row in self.list():
            for name, unet in self._unets():
                folder = self._models()[name]
                if self._ours(folder) and _fits(row.signature, unet) and not _has(folder, row.control):
                    with self._place(folder / row.network.name) as rough:
                        for file in row.network.iterdir():
                            link(file, rough / file.name)
                        write_notes(rough, {LENT_BY: row.name})

    def remove(self, name: str) -> None:
        """From the shelf and from every model. Raises NotFound."""
        row = self.find(name)
        if row is None:
            raise NotFound(f"No ControlNet {name[:80]!r}.", code="control_not_found")
        for model in row.fits:
            self._drop(self._models()[model] / row.network.name)
        self._drop(row.folder)
        self.join()  # another one of this shape may step in

    def _row(self, folder: Path) -> ControlRow:
        notes = read_config(folder / NOTES)
        network = folder / f"controlnet-{notes.get('control')}"
        return ControlRow(
            name=folder.name,
            control=str(notes.get("control")),
            folder=folder,
            fits=tuple(
                model
                for model, place in sorted(self._models().items())
                if read_config(place / network.name / NOTES).get(LENT_BY) == folder.name
            ),
            bytes=sum(file.stat().st_size for file in weight_files(network)),
            source=str(notes.get("source", ""))[:200],
            revision=str(notes.get("revision", ""))[:40],
            hash=hash_of(recorded(notes)),
            signature=_signature(read_config(network / "config.json")),
        )

    def _unet_for(self, config: Config, control: str) -> Config:
        """Of a model that it fits and that has none of this kind yet."""
        there = dict(self._unets())
        fitting = {name: unet for name, unet in there.items() if _fits(_signature(config), unet)}
        if not fitting:
            raise _wrong_base(config, there)
        free = [
            name
            for name in fitting
            if self._ours(self._models()[name]) and not _has(self._models()[name], control)
        ]
        if not free:
            names = ", ".join(list(fitting)[:SHOWN])
            raise Conflict(
                f"Every model that it fits has a {CONTROLS[control].label} ControlNet already: {names}.",
                hint="Remove that one first.",
                code="control_there",
            )
        return fitting[free[0]]

    def _unets(self) -> Iterator[tuple[str, Config]]:
        for name, folder in sorted(self._models().items()):
            with contextlib.suppress(StudioError):  # a broken model is told of elsewhere
                yield name, read_config(folder / "unet" / "config.json")

    def _ours(self, folder: Path) -> bool:
        """What came with the studio, or lies in another folder, is not written to."""
        return folder.is_relative_to(self._home / "models")

    @contextlib.contextmanager
    def _place(self, target: Path) -> Iterator[Path]:
        """A folder to fill, at its place only when the block ends well."""
        rough = self._home / "controls" / f".{target.parent.name}-{target.name}.tmp"
        shutil.rmtree(rough, ignore_errors=True)
        rough.mkdir(parents=True)
        try:
            yield rough
            rough.rename(target)
        finally:
            shutil.rmtree(rough, ignore_errors=True)

    def _drop(self, folder: Path) -> None:
        gone = self._home / "controls" / f".{folder.parent.name}-{folder.name}.gone"
        shutil.rmtree(gone, ignore_errors=True)
        folder.rename(gone)  # at once for everybody
        shutil.rmtree(gone, ignore_errors=True)


def checked_control(control: str | None) -> str | None:
    """`control`, if the studio serves it. Raises BadRequest (`control_unknown`)."""
    if control is None or control in CONTROLS:
        return control
    raise BadRequest(
        f"{control[:40]!r} ControlNets are not served; served: {', '.join(CONTROLS)}.",
        field="control",
        code="control_unknown",
    )


def _control_named(words: str) -> str:
    for control in CONTROLS:
        if control in words.casefold():
            return control
    raise BadRequest(
        f"Its name does not tell what this ControlNet reads; served: {', '.join(CONTROLS)}.",
        hint="If it reads edges, say so: studio models add FILE --control canny.",
        field="control",
        code="control_unknown",
    )


def _weights_in(path: Path) -> Path:
    files = weight_files(path) if path.is_dir() else [path]
    if len(files) != 1:
        raise BadRequest(
            f"A ControlNet lies in one .safetensors file; this folder has {len(files)}.",
            hint="Give the file itself.",
            code="not_a_controlnet",
        )
    return files[0]


def _check_told(told: Config, found: Config) -> None:
    """`told`: a folder's config, {} for a lone file. It must be that of its weights."""
    if told and told.get("_class_name") != "ControlNetModel":
        raise BadRequest(
            f"That is a {str(told.get('_class_name'))[:60]}, no ControlNetModel.", code="not_a_controlnet"
        )
    if told and not _fits(_signature(found), told):
        raise BadRequest(
            f"The ControlNet is not whole: its config tells of {_figures(_signature(told))}, "
            f"its weights have {_figures(_signature(found))}.",
            hint="Copy the folder again.",
            code="model_incomplete",
        )


def _signature(config: Config) -> Signature:
    """Equal for a UNet and the ControlNets it can take; the first of it is the width of the text rows."""
    widths, layers = tuple(config.get("block_out_channels") or ()), config.get("layers_per_block", 2)
    return (
        context_of(config),
        widths,
        tuple(layers) if isinstance(layers, list) else (layers,) * len(widths),
        config.get("addition_embed_type"),
        config.get("projection_class_embeddings_input_dim"),
    )


def _fits(control: Signature, unet: Config) -> bool:
    """A ControlNet of width 0 reads no text."""
    context, *rest = _signature(unet)
    return bool(rest[0]) and list(control[1:]) == rest and control[0] in (0, context)


def _has(folder: Path, control: str) -> bool:
    return (folder / f"controlnet-{control}").exists()


def _figures(signature: Signature) -> str:
    context, widths, layers, *_ = signature
    blocks = ", ".join(map(str, widths)) or "unknown"
    return f"text rows {context} wide, blocks of {blocks} channels, {max(layers, default=0)} layers each"


def _wrong_base(config: Config, there: Mapping[str, Config]) -> WrongBase:
    context = context_of(config)
    family = next((row.label for row in FAMILIES.values() if row.context == context), "another kind of model")
    others = "; ".join(f"{name}: {_figures(_signature(unet))}" for name, unet in list(there.items())[:SHOWN])
    return WrongBase(
        f"This ControlNet was made for {family} ({_figures(_signature(config))}); "
        f"no installed model is like that. {others}.",
        hint="Add the model first.",
    )


def _write_weights(file: Path, header: Header, part: Part, target: Path) -> None:
    """The file itself where it has diffusers' names, else its tensors' bytes under those names."""
    if all(name == source.key for name, source in part.sources.items()) and len(part.sources) == len(
        header.tensors
    ):
        link(file, target)
        return
    told: dict[str, Any] = {}
    end = 0
    for name, source in part.sources.items():
        kind, shape = header.tensors[source.key]
        first, last = header.spans[source.key]
        told[name] = {"dtype": kind, "shape": shape, "data_offsets": [end, end + last - first]}
        end += last - first
    raw = json.dumps(told).encode()
    with file.open("rb") as given, target.open("wb") as out:
        out.write(len(raw).to_bytes(8, "little") + raw)
        for source in part.sources.values():
            first, last = header.spans[source.key]
            given.seek(first)
            for at in range(first, last, PIECE):
                out.write(given.read(min(PIECE, last - at)))
        out.flush()
        os.fsync(out.fileno())
