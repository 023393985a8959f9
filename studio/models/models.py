"""Finding, judging and adding models and LoRAs under the studio's folders."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from studio.catalog import FAMILIES
from studio.errors import BadRequest, Conflict, NotFound, StudioError, WrongBase
from studio.models.checkpoint import FILE as CHECKPOINT
from studio.models.checkpoint import NOTES, read_checkpoint, write_folder, write_notes
from studio.models.controls import Controls
from studio.models.copies import Copies
from studio.models.folders import (
    INDEX,
    NETWORKS,
    PARTS,
    ModelRow,
    link,
    read_config,
    read_folder,
    recorded,
    weights_of,
)
from studio.models.forecast import SIZES, Policy, Run, Shapes
from studio.models.hashes import Hashes
from studio.models.lora_files import LoraRow, read_lora
from studio.models.tokens import count, load_tokenizer
from studio.prompt import parse
from studio.safetensors_header import read_header
from studio.schema import nearest_names
from studio.settings import ROOT, Settings

NAME = re.compile(r"(?!\.)[\w .+-]{1,100}(?<![ .])")
LOOK = 0.05  # seconds that what was seen of the folders holds for requests that arrive together
KEPT_SUFFIXES = (".json", ".txt", ".safetensors")  # of a model folder; all else stays behind

ModelRows = list[ModelRow]
LoraRows = list[LoraRow]
Vet = Callable[[Path, bool], None]  # raises what is wrong with a weights file; True: with its numbers too
T = TypeVar("T")


class Models:
    """`list` and `loras` look at the folders each time; a header is read again when its file changed.

    `vet` is asked before anything else reads weights that are added: a process that may little.
    """

    def __init__(self, settings: Settings, vet: Vet = lambda file, numbers: None) -> None:
        self.vet = vet
        self.settings = settings
        self.hashes = Hashes(settings.home / "hashes.json")
        self.copies = Copies(
            settings.home / "cache" / "weights", self.hashes, settings.copies, 4 * settings.disk_free
        )
        self.controls = Controls(settings.home, self.hashes, self._folders, vet)
        self._seen: dict[tuple[Any, ...], Any] = {}
        self._lock = threading.Lock()
        self._look = threading.local()
        self._last: tuple[float, dict[Hashable, Any]] = (-LOOK, {})

    @contextlib.contextmanager
    def one_look(self) -> Iterator[None]:
        """In the block this thread looks at each folder once, or takes what a look of the last LOOK seconds
        saw: a request asks for its model four times, which was a fifth of what taking it in costs.
        """
        if hasattr(self._look, "found"):
            yield
            return
        now = time.monotonic()
        if now - self._last[0] > LOOK:
            self._last = (now, {})
        self._look.found = self._last[1]
        try:
            yield
        finally:
            del self._look.found

    def _looked(self, at: Hashable, look: Callable[[], T]) -> T:
        found: dict[Hashable, Any] | None = getattr(self._look, "found", None)
        if found is None:
            return look()
        if at not in found:
            found[at] = look()
        kept: T = found[at]
        return kept

    def list(self) -> ModelRows:
        """The models that can be used; see `problems` for the others."""
        rows = [self._model(folder) for folder in self._folders().values()]
        return [row for row in rows if isinstance(row, ModelRow)]

    def problems(self) -> Mapping[str, StudioError]:
        """Why models that are there can't be used, by name."""
        rows = {name: self._model(folder) for name, folder in self._folders().items()}
        return {name: row for name, row in rows.items() if isinstance(row, StudioError)}

    def get(self, name: str) -> ModelRow:
        """Raises NotFound (`model_not_found`) with the nearest names, or what is wrong with the model."""
        folders = self._folders()
        if name not in folders:
            hint = nearest_names(name, folders)
            raise NotFound(f"No model {name[:80]!r}.", hint=hint, field="model", code="model_not_found")
        row = self._model(folders[name])
        if isinstance(row, StudioError):
            raise row
        return row

    def loras(self) -> LoraRows:
        """All of them, also those with a `problem`."""
        return [self._lora(file) for _, file in sorted(self._lora_files().items())]

    def lora(self, name: str) -> LoraRow:
        """By file name, or by the title its maker gave it. Raises NotFound (`lora_not_found`)."""
        files, folded = self._lora_files(), name.casefold()
        if name in files:
            return self._lora(files[name])
        for row in self.loras():
            if folded in (row.name.casefold(), row.title.casefold()):
                return row
        hint = nearest_names(name, files)
        raise NotFound(f"No LoRA {name[:80]!r}.", hint=hint, field="loras", code="lora_not_found")

    def check_lora(self, name: str, model: str) -> None:
        """Raises WrongBase for a LoRA of another family, BadRequest for one that can't be used at all."""
        lora, row = self.lora(name), self.get(model)
        if lora.problem:
            raise BadRequest(f"LoRA {lora.name}: {lora.problem}", field="loras", code="lora_unusable")
        if lora.context and lora.context != row.context:
            made_for = FAMILIES[lora.base].label if lora.base else f"text rows {lora.context} wide"
            label = FAMILIES[row.family].label
            raise WrongBase(
                f"LoRA {lora.name} was made for {made_for}, model {row.name} is {label}. "
                f"Its text rows are {lora.context} wide, the model's {row.context}: "
                f"0 of its {lora.tensors} tensors would match.",
                hint=f"Take it out of the stack, or pick a {made_for} model.",
                field="loras",
            )

    def count_tokens(self, model: str, text: str) -> int:
        """Tokens of the prompt without start and end, tags and comments left out; 75 fill a chunk."""
        folder = self.get(model).folder / "tokenizer"
        tokenizer = self._once(("tokens", folder, *_stamp(folder)), lambda: load_tokenizer(folder))
        return sum(count(tokenizer, span.text) for section in parse(text).sections for span in section)

    def add_lora(self, file: Path, name: str | None = None) -> LoraRow:
        """Copies a file in. Raises UnsafeFormat, BadRequest, or Conflict where another LoRA has the name."""
        self.vet(file, True)
        read_header(file)
        name = _checked_name(name if name is not None else file.stem)
        row = read_lora(file, name)
        if row.problem:
            raise BadRequest(row.problem, code="lora_unusable")
        digest = self.hashes.file(file)
        for known in self.loras():
            if known.name.casefold() == name.casefold():
                if (other := self.hashes.file(known.file)) == digest:
                    return known
                raise Conflict(
                    f"Another LoRA {known.name} is there: hash {other[:12]}, the new one's {digest[:12]}.",
                    hint="Give the new one another name.",
                )
        target = self.settings.home / "loras" / f"{name}.safetensors"
        target.parent.mkdir(parents=True, exist_ok=True)
        _copy(file, target)
        return self.lora(name)

    def add_model(
        self, path: Path, name: str | None = None, notes: Mapping[str, Any] | None = None
    ) -> ModelRow:
        """Takes in a diffusers folder or a one-file checkpoint: hard links where possible, copies elsewhere.

        `notes`: source and revision, for studio.json.
        Raises BadRequest (`bad_model_id`, `custom_code_refused`, `model_incomplete`, `model_unknown`),
        UnsafeFormat, Conflict.
        """
        if path.is_file():
            return self._add_checkpoint(path, name, notes)
        if not path.is_dir() or not (path / "model_index.json").is_file():
            raise BadRequest(
                "That is no diffusers folder: it has no model_index.json.",
                hint="Give a folder with model_index.json, unet, vae, text_encoder and tokenizer.",
                code="bad_model_id",
            )
        return self._add_folder(path, name, notes)

    def _add_checkpoint(
        self, file: Path, name: str | None, notes: Mapping[str, Any] | None = None
    ) -> ModelRow:
        name = _checked_name(name if name is not None else file.stem)
        self.vet(file, False)
        found = read_checkpoint(file, f"{file.stem} {name}")
        with self._place(name) as rough:
            kept = {"source": file.name, **(notes or {})}
            write_folder(found, rough)
            link(file, rough / CHECKPOINT)
            self._note(rough, {"family": found.family, "distilled": found.kind, **kept})
        self.controls.join()
        return self.get(name)

    def _add_folder(self, path: Path, name: str | None, notes: Mapping[str, Any] | None = None) -> ModelRow:
        name = _checked_name(name if name is not None else path.resolve().name)
        for file in weights_of(path):
            self.vet(file, False)
        row = read_folder(path, name, builtin=False)
        kept = [path / INDEX, path / CHECKPOINT]
        with self._place(name) as rough:
            for file in [*kept, *(file for part in PARTS for file in (path / part).glob("*"))]:
                if file.suffix in KEPT_SUFFIXES and file.is_file() and file.name != NOTES:
                    link(file, rough / file.relative_to(path))
            self._note(rough, {"family": row.family, "distilled": row.distilled, **(notes or {})})
        self.controls.join()
        return self.get(name)

    def _note(self, folder: Path, notes: Mapping[str, Any]) -> None:
        """studio.json, with the hash of every weights file as it is now: `check` compares with them."""
        write_notes(folder, {**notes, "files": self.hashes.files(folder)})

    def check(self, name: str) -> dict[str, str]:
        """Path of each weights file -> ok, changed, or new (nobody noted its hash). ControlNets too.

        Raises NotFound, or what is wrong with the model.
        """
        folder = self.folder(name)
        noted, now = recorded(read_config(folder / NOTES)), self.hashes.files(folder)
        states = {path: "new" if path not in noted else "changed" for path in now}
        return states | {path: "ok" for path, digest in now.items() if noted.get(path) == digest}

    def folder(self, name: str) -> Path:
        """Of a model or ControlNet. Raises as `get`."""
        control = self.controls.find(name)
        return control.folder if control else self.get(name).folder

    def check_free(self, name: str) -> str:
        """`name`, if a new model or ControlNet can have it. Raises BadRequest (`bad_name`), Conflict."""
        if _checked_name(name) in self._folders():
            raise Conflict(f"A model {name} is there already.", hint="Give the new one another name.")
        if self.controls.find(name):
            raise Conflict(f"A ControlNet {name} is there already.", hint="Give the new one another name.")
        return name

    def remove(self, name: str) -> None:
        """Deletes a model's or ControlNet's files.

        Raises NotFound; Conflict for the default and what came with the studio.
        """
        if self.controls.find(name):
            self.controls.remove(name)
            self.copies.sweep(self.networks())
            return
        folders = self._folders()
        if name not in folders:
            hint = nearest_names(name, folders)
            raise NotFound(f"No model {name[:80]!r}.", hint=hint, field="model", code="model_not_found")
        if not folders[name].is_relative_to(self.settings.home / "models"):
            raise Conflict(f"{name} came with the studio; it stays.", code="model_builtin")
        if name == self.default():
            raise Conflict(
                f"{name} is the default model.",
                hint="Make another one the default first.",
                code="model_default",
            )
        gone = folders[name].with_name(f".{name}.gone")
        shutil.rmtree(gone, ignore_errors=True)
        folders[name].rename(gone)  # at once for everybody; deleting 7 GB takes a while
        shutil.rmtree(gone, ignore_errors=True)
        self.copies.sweep(self.networks())

    def networks(self) -> Iterator[Path]:
        """Folders of all networks of all models that are there."""
        for folder in self._folders().values():
            yield from (folder / part for part in NETWORKS if (folder / part).is_dir())

    def needs(self, name: str, dtype: str) -> dict[int, int]:
        """Side of a square picture in px -> about how many bytes of memory it takes. Raises as `get`."""
        shapes, native = self.shapes(name), self.get(name).size
        sides = sorted({*SIZES, native})
        return {side: shapes.forecast(dtype, Run(side, side), Policy(2)).peak for side in sides}

    def shapes(self, name: str) -> Shapes:
        """What a forecast of memory is made from. Raises as `get`."""
        folder = self.get(name).folder
        return self._once(("shapes", folder, *self._stamp_of(folder)), lambda: Shapes(folder))

    def weight_files(self, name: str) -> Sequence[tuple[str, Path]]:
        """(name within the model, file) of everything that holds its weights. Raises as `get`."""
        folder = self.get(name).folder
        return self._looked(("weights", folder), lambda: _weight_files(name, folder))

    def default(self) -> str:
        """The model of requests that name none: as STUDIO_MODEL says, else as chosen, else the built-in."""
        if self._fixed:
            return self.settings.model
        try:
            chosen = self._choice.read_text(encoding="utf-8").strip()
        except OSError:
            return self.settings.model
        return chosen if chosen in self._folders() else self.settings.model

    def make_default(self, name: str) -> None:
        """Kept over restarts. Raises NotFound, or what is wrong with the model."""
        if self.get(name).refines:
            raise Conflict(
                f"{name} finishes pictures of another model and begins none.", code="model_refines"
            )
        if self._fixed and name != self.settings.model:
            raise Conflict(
                f"STUDIO_MODEL fixes the default: {self.settings.model}.",
                hint="Start without it to choose here.",
                code="model_fixed",
            )
        self._choice.parent.mkdir(parents=True, exist_ok=True)
        rough = self._choice.with_suffix(".tmp")
        rough.write_text(name, encoding="utf-8")
        rough.rename(self._choice)

    @property
    def _fixed(self) -> bool:
        return "model" in self.settings.model_fields_set

    @property
    def _choice(self) -> Path:
        return self.settings.home / "models" / "default.txt"

    @contextlib.contextmanager
    def _place(self, name: str) -> Iterator[Path]:
        """A folder to fill, hidden until the block ends well. Raises Conflict where `name` is taken."""
        self.check_free(name)
        target = self.settings.home / "models" / name
        rough = target.with_name(f".{name}.tmp")
        shutil.rmtree(rough, ignore_errors=True)
        try:
            yield rough
            rough.rename(target)
        finally:
            shutil.rmtree(rough, ignore_errors=True)

    def _folders(self) -> dict[str, Path]:
        return self._looked("models", self._find_folders)

    def _find_folders(self) -> dict[str, Path]:
        found = [entry for parent in self.settings.models_dirs for entry in _entries(parent)]
        return {folder.name: folder for folder in reversed(found) if (folder / "model_index.json").is_file()}

    def _model(self, folder: Path) -> ModelRow | StudioError:
        return self._once(("model", folder, *self._stamp_of(folder)), partial(_judge, folder))

    def _stamp_of(self, folder: Path) -> tuple[tuple[str, int, int], ...]:
        return self._looked(folder, partial(_tree_stamp, folder))

    def _lora_files(self) -> dict[str, Path]:
        found = [entry for parent in self.settings.loras_dirs for entry in _entries(parent)]
        return {file.stem: file for file in reversed(found) if file.suffix.lower() == ".safetensors"}

    def _lora(self, file: Path) -> LoraRow:
        return self._once(("lora", file, *_stamp(file)), partial(read_lora, file, file.stem))

    def _once(self, key: tuple[Any, ...], make: Callable[[], T]) -> T:
        """`make()`, or what it made for the same key before; older keys of the same thing are dropped."""
        with self._lock:
            if key not in self._seen:
                self._seen = {old: kept for old, kept in self._seen.items() if old[:2] != key[:2]}
                self._seen[key] = make()
            kept: T = self._seen[key]
            return kept


def _judge(folder: Path) -> ModelRow | StudioError:
    try:
        return read_folder(folder, folder.name, builtin=folder.is_relative_to(ROOT / "assets"))
    except StudioError as error:
        return error


def _weight_files(name: str, folder: Path) -> Sequence[tuple[str, Path]]:
    if not folder.is_dir():
        return [(name, folder)]
    files = sorted(folder.rglob("*.safetensors"))
    return [(f"{name}/{file.relative_to(folder).as_posix()}", file) for file in files]


def _entries(folder: Path) -> tuple[Path, ...]:
    """What lies in `folder`, links left out: they may lead anywhere."""
    if not folder.is_dir():
        return ()
    return tuple(
        entry for entry in sorted(folder.iterdir()) if not entry.is_symlink() and entry.name[0] != "."
    )


def _stamp(file: Path) -> tuple[int, int]:
    state = file.stat()
    return state.st_mtime_ns, state.st_size


def _tree_stamp(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Changes when a config or weights file of a model does."""
    found: list[tuple[str, int, int]] = []
    for part in ("", *PARTS):
        with contextlib.suppress(OSError), os.scandir(folder / part) as entries:
            kept = [(f"{part}/{entry.name}", entry.stat()) for entry in entries if entry.is_file()]
            found += [(name, state.st_mtime_ns, state.st_size) for name, state in kept]
    return tuple(sorted(found))


def _checked_name(name: str) -> str:
    if NAME.fullmatch(name) is None:
        raise BadRequest(
            f"{name[:80]!r} cannot be a name.",
            hint="1 to 100 letters, digits, spaces, dots, dashes and underscores; no dot at the start.",
            field="name",
            code="bad_name",
        )
    return name


def _copy(source: Path, target: Path) -> None:
    rough = target.with_suffix(".tmp")
    with source.open("rb") as wanted, rough.open("wb") as copy:
        shutil.copyfileobj(wanted, copy)
        copy.flush()
        os.fsync(copy.fileno())
    rough.rename(target)
