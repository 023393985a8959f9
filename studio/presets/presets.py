"""The brand files that are there. One with a mistake never hides the others."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from studio.errors import NotFound, PresetInvalid, StudioError
from studio.presets.kit import Policies
from studio.presets.preset import Preset, read_preset
from studio.presets.yaml_nodes import MAX_BYTES
from studio.schema import nearest_names

FIRST = "plain"  # leads the list: what a newcomer starts from

PresetRows = list[Preset]
Found = dict[str, Preset | PresetInvalid]


class Presets:
    """Looks at `folders` each time it is asked; reads a file again when it changed. Earlier folders win."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = tuple(folders)
        self._seen: dict[Path, tuple[tuple[int, int], Preset | PresetInvalid]] = {}
        self._lock = threading.Lock()

    def list(self) -> PresetRows:
        good = [preset for preset in self._found().values() if isinstance(preset, Preset)]
        return sorted(good, key=lambda preset: (preset.name != FIRST, preset.name))

    def problems(self) -> Mapping[str, PresetInvalid]:
        """What is wrong with the files that can't be used, by file name without suffix."""
        return {name: row for name, row in self._found().items() if isinstance(row, PresetInvalid)}

    def get(self, name: str) -> Preset:
        """Raises NotFound (`preset_not_found`), or what is wrong with the file."""
        found = self._found()
        preset = found.get(name)
        if preset is None:
            hint = nearest_names(name, found)
            raise NotFound(f"No preset {name[:80]!r}.", hint=hint, field="preset", code="preset_not_found")
        if isinstance(preset, PresetInvalid):
            raise preset
        return preset

    def policies(self, name: str | None) -> Policies:
        """Of a picture's preset; none of its own where it has no preset, or one that is gone."""
        try:
            return Policies() if name is None else self.get(name).policies
        except StudioError:
            return Policies()

    def size_for(self, name: str, channel: str) -> tuple[int, int] | None:
        """(width, height) in px that a preset has for a channel; None too where there is no such preset."""
        try:
            return self.get(name).size_for(channel)
        except StudioError:
            return None

    def _found(self) -> Found:
        found: Found = {}
        for folder in self._folders:
            for file in sorted(folder.glob("*.yaml")) if folder.is_dir() else ():
                if file.stem not in found and not file.is_symlink():
                    found[file.stem] = self._read(file)
        return found

    def _read(self, file: Path) -> Preset | PresetInvalid:
        with self._lock:
            try:
                state = file.stat()
                stamp = (state.st_mtime_ns, state.st_size)
                if self._seen.get(file, (None,))[0] != stamp:
                    self._seen[file] = (stamp, _judge(file))
                return self._seen[file][1]
            except OSError:
                return PresetInvalid("The file cannot be read.", hint="Check that it is still there.")


def _judge(file: Path) -> Preset | PresetInvalid:
    try:
        with file.open("rb") as stream:
            return read_preset(stream.read(MAX_BYTES + 1), file.stem)
    except PresetInvalid as error:
        return error
