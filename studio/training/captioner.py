"""Captions by a BLIP model that lies at hand, in a process of its own: whoever asks needs no torch.

A captioner is a folder below `STUDIO_HOME/models/` as transformers writes it: config.json with the model type
`blip`, model.safetensors, the tokenizer's files. Nothing is fetched.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Generator, Sequence
from pathlib import Path

from studio.errors import EngineError, NotFound

KIND = "blip"
MODULE = "studio.training.caption_child"


def captioners(folder: Path) -> list[str]:
    """Names of those below `folder`."""
    found = (file.parent for file in sorted(folder.glob("*/config.json")))
    return [place.name for place in found if _kind(place) == KIND and (place / "model.safetensors").is_file()]


def check_captioner(folder: Path, name: str) -> None:
    """Raises NotFound (`captioner_not_found`)."""
    known = captioners(folder)
    if name not in known:
        hint = f"There: {', '.join(known) or 'none'}."
        raise NotFound(f"No captioner {name[:80]!r}.", hint=hint, code="captioner_not_found")


def captions_of(folder: Path, name: str, files: Sequence[Path]) -> Generator[str]:
    """A caption for each picture, in their order, as soon as it is there; closing ends the process.

    Raises NotFound (`captioner_not_found`), and EngineError for one that cannot be read.
    """
    check_captioner(folder, name)
    command = [sys.executable, "-m", MODULE, str(folder / name)]
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    env = os.environ | offline | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env
    ) as child:
        assert child.stdin is not None and child.stdout is not None
        try:
            for file in files:
                try:
                    child.stdin.write(f"{json.dumps(str(file))}\n")
                    child.stdin.flush()
                    line = child.stdout.readline()
                except BrokenPipeError:
                    line = ""
                if not line:
                    raise EngineError(
                        f"The captioner {name} could not be read, or ended in the middle.",
                        hint="It must be a BLIP captioning model as transformers saves it, in safetensors.",
                    )
                yield str(json.loads(line))
        finally:
            child.kill()


def _kind(folder: Path) -> str:
    try:
        told = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return str(told.get("model_type", "")) if isinstance(told, dict) else ""
