"""A training set: pictures from a folder or a ZIP, judged, captioned, split, and kept as one version."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from studio import uploads
from studio.errors import BadRequest, NotFound, NotReady, StudioError
from studio.schema import MAX_PROMPT
from studio.training.archive import PICTURES, WORDS, Member, is_litter, members
from studio.training.captions import Captions, read_captions, repeats_of
from studio.training.looks import BLURRED, Fingerprint, Pixels, blur_effect, fingerprint
from studio.training.origins import Verify, origins

LEAST, MOST = 5, 500  # pictures of a set
MOST_BYTES = 20 * 2**20  # of one picture
MOST_PIXELS = 40_000_000
ORIGINS = ("marked", "signed", "claimed")  # somebody says that the picture is theirs: told, not left out
LEFT_OUT = ("corrupt", "too_large", "too_small", "exact_duplicate", "near_duplicate", "blurred")
Clean = Callable[[bytes, int, int], uploads.Upload]  # as uploads.clean
JUDGED = 512  # px of the longer side at which sharpness is looked at, or the training size if that is less


@dataclass(frozen=True)
class Entry:
    """A picture of the set. `name`: as its sender called it, only ever shown.

    `file`: its own name in the set, '' for one that is not kept. `findings`: what is worth knowing, of which
    those in LEFT_OUT keep it out. `like`: the picture it repeats. `held_out`: never trained on.
    """

    name: str
    file: str = ""
    width: int = 0
    height: int = 0
    caption: str = ""
    repeats: int = 1
    findings: tuple[str, ...] = ()
    like: str = ""
    detail: str = ""
    held_out: bool = False

    @property
    def used(self) -> bool:
        return bool(self.file) and not any(finding in LEFT_OUT for finding in self.findings)


@dataclass(frozen=True)
class Dataset:
    """`id`: hash of pixels, captions, split and licence, so the same set is the same version.

    `source`: last part of where it came from. `licence`: what its owner says may be done with it.
    `problems`: caption files and rows that could not be used. `ignored`: files that are no pictures.
    `created`: UTC, s since 1970.
    """

    id: str
    name: str
    source: str
    licence: str
    user: str
    created: float
    entries: tuple[Entry, ...]
    problems: tuple[tuple[str, str], ...]
    ignored: int

    @property
    def used(self) -> tuple[Entry, ...]:
        return tuple(entry for entry in self.entries if entry.used)

    @property
    def training(self) -> tuple[Entry, ...]:
        return tuple(entry for entry in self.used if not entry.held_out)

    @property
    def held_out(self) -> tuple[Entry, ...]:
        return tuple(entry for entry in self.used if entry.held_out)


def keep_dataset(
    source: Path,
    home: Path,
    clean: Clean = uploads.clean,
    *,
    name: str,
    size: int,
    hold_out: float = 0.1,
    licence: str = "",
    user: str = "local",
    kept_anyway: Sequence[str] = (),
    verify: Verify | None = None,
) -> Dataset:
    """Reads, judges and keeps a folder or ZIP under `home`/<id>; what lay there under this id stays.

    `size`: the model's native side in px: pictures of less than half of it are too small. `hold_out`: share
    of pictures kept back. `clean`: uploads.clean, or what does the same in a process that may little.
    `kept_anyway`: names of pictures to use whatever was found, save corrupt ones. `verify`: reads marks and
    content credentials.
    Raises what `members` does, BadRequest (`too_few_pictures`, `too_many_pictures`).
    """
    rough = home / f".{os.getpid()}-{time.monotonic_ns()}.tmp"
    (rough / "pictures").mkdir(parents=True)
    try:
        judge = Judge(rough / "pictures", clean, size, frozenset(kept_anyway), verify)
        entries, captions, ignored = _read(source, judge)
        entries = split(entries, hold_out)
        _check_count(entries, ignored)
        found = Dataset(
            id=_version(entries, user, licence), name=name, source=source.name, licence=licence, user=user,
            created=time.time(), entries=tuple(entries), ignored=ignored,
            problems=tuple(sorted(captions.problems.items())),
        )  # fmt: skip
        return _publish(found, rough, home)
    finally:
        shutil.rmtree(rough, ignore_errors=True)


def _publish(found: Dataset, rough: Path, home: Path) -> Dataset:
    """Puts a set that is whole in `rough` under its id; what lay there under this id stays."""
    text = json.dumps(asdict(found), ensure_ascii=False, indent=1)
    (rough / "dataset.json").write_text(text, encoding="utf-8")
    target = home / found.id
    if not target.exists():
        rough.rename(target)
    return load_dataset(home, found.id)


@dataclass(frozen=True)
class Change:
    """What a new version of a set has else. `captions`: by the picture's name. None = as it was."""

    captions: Mapping[str, str] = field(default_factory=dict)
    hold_out: float | None = None
    licence: str | None = None


def change_dataset(home: Path, dataset: Dataset, change: Change) -> Dataset:
    """A new version of the set; the old one, and what was trained on it, stays.

    Raises NotFound (`image_not_found`) for a name the set lacks, BadRequest for a caption that is too long.
    """
    known = {entry.name for entry in dataset.entries if entry.file}
    for name, caption in change.captions.items():
        if name not in known:
            raise NotFound(f"The set has no picture {name[:80]!r}.", field="captions", code="image_not_found")
        if len(caption) > MAX_PROMPT:
            said = f"The caption of {name[:80]} has {len(caption)} characters; {MAX_PROMPT} fit."
            raise BadRequest(said, field="captions", code="caption_too_long")
    entries = [_recaptioned(entry, change.captions.get(entry.name)) for entry in dataset.entries]
    if change.hold_out is not None:
        entries = split(entries, change.hold_out)
    licence = dataset.licence if change.licence is None else change.licence
    found = replace(
        dataset, id=_version(entries, dataset.user, licence), entries=tuple(entries), licence=licence,
        created=time.time(),
    )  # fmt: skip
    rough = home / f".{os.getpid()}-{time.monotonic_ns()}.tmp"
    try:
        shutil.copytree(home / dataset.id / "pictures", rough / "pictures", copy_function=os.link)
        return _publish(found, rough, home)
    finally:
        shutil.rmtree(rough, ignore_errors=True)


def _recaptioned(entry: Entry, caption: str | None) -> Entry:
    if caption is None:
        return entry
    text = " ".join(caption.split())
    findings = tuple(one for one in entry.findings if one != "no_caption")
    return replace(entry, caption=text, findings=findings if text else (*findings, "no_caption"))


def load_dataset(home: Path, id: str) -> Dataset:
    """Raises NotFound (`dataset_not_found`)."""
    file = home / id / "dataset.json"
    if not id.isalnum() or not file.is_file():
        raise NotFound("No such training set.", hint="Give its pictures again.", code="dataset_not_found")
    told = json.loads(file.read_text(encoding="utf-8"))
    entries = [Entry(**entry | {"findings": tuple(entry["findings"])}) for entry in told.pop("entries")]
    problems = tuple((str(name), str(what)) for name, what in told.pop("problems"))
    return Dataset(**told, entries=tuple(entries), problems=problems)


def list_datasets(home: Path) -> list[Dataset]:
    """Newest first."""
    found = [load_dataset(home, file.parent.name) for file in home.glob("*/dataset.json")
             if file.parent.name.isalnum()]  # fmt: skip
    return sorted(found, key=lambda one: one.created, reverse=True)


def picture_file(home: Path, dataset: Dataset, entry: Entry) -> Path:
    return home / dataset.id / "pictures" / entry.file


def split(entries: Sequence[Entry], hold_out: float) -> list[Entry]:
    """Marks a share of the used pictures as held out: those whose files hash lowest, so it never changes.

    At least one where 8 pictures or more are used; none for a share of 0.
    """
    used = sorted((entry for entry in entries if entry.used), key=lambda entry: _hash(f"split {entry.file}"))
    count = round(len(used) * hold_out)
    if hold_out > 0 and len(used) >= 8:
        count = max(1, count)
    kept_back = {entry.file for entry in used[:count]}
    return [replace(entry, held_out=entry.used and entry.file in kept_back) for entry in entries]


@dataclass(frozen=True)
class Judge:
    """How a picture is looked at and where it is kept. `anyway`: names to use whatever is found."""

    pictures: Path
    clean: Clean
    size: int
    anyway: frozenset[str]
    verify: Verify | None


def _read(source: Path, judge: Judge) -> tuple[list[Entry], Captions, int]:
    entries: list[Entry] = []
    texts: list[Member] = []
    seen: list[tuple[str, Fingerprint]] = []
    ignored = 0
    for member in members(source, MOST_BYTES):
        if is_litter(member.name) or member.suffix not in (*PICTURES, *WORDS):
            ignored += 1
        elif member.suffix in WORDS:
            texts.append(member)
        else:
            if len(entries) == 2 * MOST:
                raise _too_many(f"more than {2 * MOST}")
            entries.append(_judge(member, judge, seen))
    captions = read_captions(texts, [entry.name for entry in entries])
    return [_captioned(entry, captions) for entry in entries], captions, ignored


def _judge(member: Member, judge: Judge, seen: list[tuple[str, Fingerprint]]) -> Entry:
    """Keeps the picture upright and without its notes, whatever is found; corrupt ones are only named."""
    if member.data is None:
        return Entry(member.name, findings=("too_large",), detail=f"over {MOST_BYTES / 2**20:.0f} MB")
    try:
        upload = judge.clean(member.data, MOST_BYTES, MOST_PIXELS)
        data = uploads.flat(upload.data)
    except NotReady:  # says nothing of the picture
        raise
    except StudioError as error:
        return Entry(member.name, findings=("corrupt",), detail=error.message)
    pixels = np.asarray(Image.open(BytesIO(data)).convert("RGB"))
    look = fingerprint(pixels)
    like = next((name for name, other in seen if other.exact == look.exact), "")
    near = "" if like else next((name for name, other in seen if other.is_near(look)), "")
    anyway = member.name in judge.anyway
    found = {
        "exact_duplicate": bool(like),
        "near_duplicate": bool(near),
        "too_small": min(pixels.shape[:2]) < judge.size / 2,
        "blurred": _blurred(pixels, judge.size),
        "turned": upload.turned,
    }
    findings = [name for name, true in found.items() if true and not (anyway and name in LEFT_OUT)]
    theirs = dict(origins(member.data, judge.verify))
    if not like:
        seen.append((member.name, look))
    file = f"{look.exact[:32]}.{'png' if upload.format == 'png' else 'jpg'}"
    (judge.pictures / file).write_bytes(data)
    height, width, _ = pixels.shape
    return Entry(
        member.name, file, width, height, findings=(*findings, *theirs), like=like or near,
        detail=" · ".join(filter(None, theirs.values())),
    )  # fmt: skip


def _blurred(pixels: Pixels, size: int) -> bool:
    """At the size it will be trained at: a large soft photograph is sharp enough once it is small."""
    height, width, _ = pixels.shape
    share = min(1.0, min(size, JUDGED) / max(height, width))
    small = Image.fromarray(pixels).resize(
        (max(8, round(width * share)), max(8, round(height * share))), Image.Resampling.LANCZOS
    )
    return blur_effect(np.asarray(small)) > BLURRED


def _captioned(entry: Entry, captions: Captions) -> Entry:
    caption = captions.of(entry.name)
    findings = entry.findings if caption else (*entry.findings, "no_caption")
    return replace(entry, caption=caption, repeats=repeats_of(entry.name), findings=findings)


def _check_count(entries: Sequence[Entry], ignored: int) -> None:
    used = sum(entry.used for entry in entries)
    if used > MOST:
        raise _too_many(str(used))
    if used < LEAST:
        left = _counted(entries)
        raise BadRequest(
            f"{used} of {len(entries)} pictures can be used; at least {LEAST} are needed.",
            hint=f"Left out: {left}." if left else "Give PNG, JPEG or WebP pictures.",
            field="data",
            code="too_few_pictures",
        )


def _counted(entries: Sequence[Entry]) -> str:
    counts = {name: sum(name in entry.findings for entry in entries) for name in LEFT_OUT}
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items() if count)


def _too_many(count: str) -> BadRequest:
    return BadRequest(
        f"The set has {count} pictures; at most {MOST} are taken.",
        hint="Pick the best ones: 20 to 60 alike in style and different in subject train well.",
        field="data",
        code="too_many_pictures",
    )


def _version(entries: Sequence[Entry], user: str, licence: str) -> str:
    """Of its owner's: the same pictures of two people are two sets, so neither sees the other's."""
    used = [entry for entry in entries if entry.used]
    rows = [(entry.file, entry.caption, entry.repeats, entry.held_out) for entry in used]
    return _hash(json.dumps([user, licence, sorted(rows)], ensure_ascii=False))[:32]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def summary(dataset: Dataset) -> dict[str, object]:
    """What was found, in figures and names, for the command line and the API."""
    return {
        "id": dataset.id,
        "name": dataset.name,
        "pictures": len(dataset.used),
        "training": len(dataset.training),
        "held_out": len(dataset.held_out),
        "left_out": [_row(entry) for entry in dataset.entries if not entry.used],
        "findings": dict(_findings(dataset.entries)),
        "problems": [{"name": name, "problem": what} for name, what in dataset.problems],
        "ignored": dataset.ignored,
        "licence": dataset.licence,
        "rows": [_row(entry) | _shape(entry) for entry in dataset.used],
    }


def _findings(entries: Sequence[Entry]) -> Iterator[tuple[str, int]]:
    names = dict.fromkeys(name for entry in entries for name in entry.findings)
    yield from ((name, sum(name in entry.findings for entry in entries)) for name in names)


def _row(entry: Entry) -> dict[str, object]:
    return {
        "name": entry.name, "findings": list(entry.findings), "like": entry.like, "detail": entry.detail
    }  # fmt: skip


def _shape(entry: Entry) -> dict[str, object]:
    names = ("file", "width", "height", "caption", "repeats", "held_out")
    return {name: getattr(entry, name) for name in names}
