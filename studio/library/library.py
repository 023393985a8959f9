"""Finished pictures and uploads: put in once, found again by id, by words, by age."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence, Set
from hashlib import sha256
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, delete, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from studio.catalog import FORMATS
from studio.errors import NotFound
from studio.library.collections import Collections
from studio.library.colours import colours_of
from studio.library.database import Database
from studio.library.disk import Disk, is_full
from studio.library.files import is_id, new_id, read_file, set_aside, sweep, write_whole
from studio.library.search import indexed, phrase, words_for, words_of
from studio.library.tables import collection_images, image_words, images, jobs, uploads
from studio.schema import Format, ImageRow, Picture, Rendered, ResolvedRequest

log = logging.getLogger(__name__)

MAX_PAGE = 500  # pictures of one answer
ADD_WORDS = text("INSERT INTO image_words (rowid, words) VALUES (:number, :words)")


class Library:
    def __init__(self, home: Path, database: Database, disk_mark: int = 0) -> None:
        self._database = database
        self._pictures, self._uploads = home / "pictures", home / "uploads"
        self._unclaimed = home / "unclaimed"
        for folder in (self._pictures, self._uploads):
            folder.mkdir(parents=True, exist_ok=True)
        self.disk = Disk(home, disk_mark)
        self.collections = Collections(database)

    def reconcile(self) -> None:
        """Call before anything is written, by any process. Afterwards files and rows name each other."""
        for folder, table in ((self._pictures, images), (self._uploads, uploads)):
            sweep(folder)
            with self._database.read() as connection:
                known = set(connection.scalars(select(table.c.id)))
            there = {file.stem: file for file in folder.iterdir() if is_id(file.stem)}
            set_aside([file for id, file in there.items() if id not in known], self._unclaimed)
            if table is images:
                self._mark_lost(known - there.keys())

    def _mark_lost(self, ids: Set[str]) -> None:
        """Rows whose file is gone. Those of jobs that go on are dropped: the picture is made again."""
        with self._database.write() as connection:
            total = connection.scalar(select(func.count()).select_from(images)) or 0
            if len(ids) > max(10, total // 2):
                log.error("%d of %d picture files are not there: is the disk mounted?", len(ids), total)
                return
            going_on = select(jobs.c.id).where(jobs.c.state.in_(("queued", "running")))
            for id in ids:
                log.error("the file of picture %s is gone", id)
                gone = delete(images).where(images.c.id == id, images.c.job.in_(going_on))
                if not connection.execute(gone).rowcount:
                    lost = {"trashed": time.time(), "notes": json.dumps(["file_lost"])}
                    connection.execute(update(images).where(images.c.id == id).values(lost))

    def add(
        self, job: str, request: ResolvedRequest, picture: Rendered, data: bytes, *, user: str = "local",
        receipt: str | None = None, event: int | None = None, fence: int | None = None,
    ) -> ImageRow | None:  # fmt: skip
        """Keeps `data`, encoded as `request.format`. Raises DiskLow.

        None where an earlier attempt kept this picture, and where `fence` is not that of the job's running
        claim: whoever made it has lost the job to another.
        """
        id, created = new_id(), time.time()
        file = self._file(id, request.format)
        words = words_for(request.model_dump(), picture.seed, created, colours_of(data))
        row = {
            "id": id, "job": job, "index": picture.index, "seed": picture.seed,
            "width": picture.width, "height": picture.height, "format": request.format,
            "request": request.model_dump_json(), "words": words, "notes": json.dumps(picture.notes),
            "created": created, "seconds": picture.seconds, "user": user, "receipt": receipt, "event": event,
        }  # fmt: skip
        self._write(file, data)
        try:
            with self._database.write() as connection:
                if fence is not None and not _holds(connection, job, fence):
                    raise _Late
                self._insert(connection, row)
        except (IntegrityError, _Late):
            file.unlink()
            return None
        except BaseException:
            file.unlink(missing_ok=True)
            raise
        return self.image(id)

    def _write(self, file: Path, data: bytes) -> None:
        try:
            write_whole(file, data)
        except OSError as error:
            if is_full(error):
                raise self.disk.fault() from None
            raise

    def holds(self, job: str, fence: int) -> bool:
        """True while the claim numbered `fence` runs the job."""
        with self._database.read() as connection:
            return _holds(connection, job, fence)

    def _insert(self, connection: Connection, row: dict[str, Any]) -> None:
        number = connection.scalar(insert(images).values(row).returning(images.c.number))
        if self._database.sqlite:
            connection.execute(ADD_WORDS, {"number": number, "words": indexed(row["words"])})

    def image(self, id: str) -> ImageRow:
        """Raises NotFound (`image_not_found`)."""
        found = self._one(select(images).where(images.c.id == id)) if is_id(id) else None
        if found is None:
            raise no_picture()
        return self._row(found)

    def owner(self, id: str) -> str:
        """Whose picture or upload it is. Raises NotFound (`image_not_found`)."""
        for table in (uploads, images):
            found = self._one(select(table.c.user).where(table.c.id == id)) if is_id(id) else None
            if found is not None:
                return str(found.user)
        raise no_picture()

    def images(
        self, search: str = "", limit: int = 50, before: str | None = None, trash: bool = False,
        star: bool = False, collection: str | None = None, user: str | None = None,
    ) -> list[ImageRow]:  # fmt: skip
        """Newest first. `search`: words that must all be there. `before`: last id of the page before.

        Words like `model:pocket`, `preset:nordic`, `lora:neon`, `date:2026-11` and `colour:red` work too.
        `user`: whose; None = everybody's.
        """
        number: ColumnElement[int] = images.c.number
        query, words = select(images), words_of(search)
        # Pages go along the narrowest index, newest first: sorting all that it holds took seconds.
        if collection is not None:
            number = collection_images.c.image
            query = query.join(collection_images, number == images.c.number)
            query = query.where(collection_images.c.collection == collection)
        phrases = " ".join(filter(None, map(phrase, words)))
        if phrases and self._database.sqlite:
            number = image_words.c.rowid
            query = query.join(image_words, number == images.c.number)
            query = query.where(text("image_words MATCH :phrases").bindparams(phrases=phrases))
        for word in words:  # the index narrows them down, the text itself decides
            query = query.where(images.c.words.contains(word, autoescape=True))
        if user is not None:
            query = query.where(images.c.user == user)
        if star:
            query = query.where(images.c.star == 1)
        query = query.where(images.c.trashed.is_not(None) if trash else images.c.trashed.is_(None))
        if before is not None:
            mark = select(images.c.number).where(images.c.id == before).scalar_subquery()
            query = query.where(number < mark)
        query = query.order_by(number.desc()).limit(max(1, min(limit, MAX_PAGE)))
        with self._database.read() as connection:
            return [self._row(row) for row in connection.execute(query)]

    def of_jobs(self, ids: Sequence[str]) -> dict[str, tuple[ImageRow, ...]]:
        """Pictures by job, in the order of their index, trashed ones included."""
        query = select(images).where(images.c.job.in_(ids)).order_by(images.c.index)
        found: dict[str, list[ImageRow]] = {id: [] for id in ids}
        with self._database.read() as connection:
            for row in connection.execute(query):
                found[row.job].append(self._row(row))
        return {id: tuple(rows) for id, rows in found.items()}

    def indexes(self, job: str) -> set[int]:
        """Which pictures of a job are there."""
        with self._database.read() as connection:
            return set(connection.scalars(select(images.c.index).where(images.c.job == job)))

    def told(self, job: str) -> list[tuple[int, Picture]]:
        """The events that told of a job's pictures, by number; 0 where it was not kept."""
        query = select(images).where(images.c.job == job).order_by(images.c.event, images.c.number)
        with self._database.read() as connection:
            rows = [self._row(row) for row in connection.execute(query).all()]
        return [
            (row.event, Picture(row.id, row.index, row.seed, row.width, row.height, row.seconds))
            for row in rows
        ]

    def receipt(self, id: str) -> dict[str, Any]:
        """What made a picture; empty for one from before receipts were kept. Raises NotFound."""
        self.image(id)
        found = self._one(select(images.c.receipt).where(images.c.id == id))
        return dict(json.loads(found.receipt)) if found is not None and found.receipt else {}

    def star(self, ids: Sequence[str], star: bool) -> None:
        """Raises NotFound, and then changes none."""
        self._mark(ids, {"star": int(star)})

    def trash(self, ids: Sequence[str]) -> None:
        """Hides pictures; `restore` brings them back. Raises NotFound, and then hides none."""
        self._mark(ids, {"trashed": time.time()})

    def restore(self, ids: Sequence[str]) -> None:
        self._mark(ids, {"trashed": None})

    def counts(self) -> tuple[int, int]:
        """(pictures, trashed pictures)."""
        query = select(func.count(), func.count(images.c.trashed)).select_from(images)
        with self._database.read() as connection:
            total, trashed = connection.execute(query).one()
        return total - trashed, trashed

    def add_upload(self, data: bytes, format: Format, width: int, height: int, *, user: str = "local") -> str:
        """Keeps a picture that was checked and encoded anew. Returns its id. Raises DiskLow."""
        self.disk.check()
        id = new_id()
        file = self._uploads / f"{id}.{format}"
        row = {
            "id": id, "format": format, "width": width, "height": height, "created": time.time(),
            "user": user, "sha256": sha256(data).hexdigest(),
        }  # fmt: skip
        self._write(file, data)
        try:
            with self._database.write() as connection:
                connection.execute(insert(uploads).values(row))
        except BaseException:
            file.unlink(missing_ok=True)
            raise
        return id

    def hashes(self, ids: Sequence[str]) -> list[str]:
        """What the pictures are, equal for equal uploads, in the order of `ids`."""
        query = select(uploads.c.id, uploads.c.sha256).where(uploads.c.id.in_(ids))
        with self._database.read() as connection:
            known = {row.id: row.sha256 for row in connection.execute(query)}
        return [known.get(id) or id for id in ids]

    def picture_bytes(self, id: str) -> tuple[bytes, str]:
        """(file, mime type) of an upload or of a picture. Raises NotFound (`image_not_found`)."""
        found = self._one(select(uploads.c.format).where(uploads.c.id == id)) if is_id(id) else None
        if found is not None:
            return read_file(self._uploads / f"{id}.{found.format}"), FORMATS[found.format]
        row = self.image(id)
        return read_file(row.file), FORMATS[row.format]

    def _mark(self, ids: Sequence[str], values: dict[str, Any]) -> None:
        wanted = list(dict.fromkeys(ids))
        with self._database.write() as connection:
            done = connection.execute(update(images).where(images.c.id.in_(wanted)).values(values))
            if done.rowcount != len(wanted):
                missing = len(wanted) - done.rowcount
                raise NotFound(f"{missing} of {len(wanted)} pictures do not exist.", code="image_not_found")

    def _one(self, query: Select[Any]) -> Row[Any] | None:
        with self._database.read() as connection:
            return connection.execute(query).first()

    def _file(self, id: str, format: str) -> Path:
        return self._pictures / f"{id}.{format}"

    def _row(self, row: Row[Any]) -> ImageRow:
        return ImageRow(
            id=row.id, job=row.job, index=row._mapping["index"], seed=row.seed,
            width=row.width, height=row.height, format=row.format, file=self._file(row.id, row.format),
            created=row.created, seconds=row.seconds, trashed=row.trashed is not None,
            request=ResolvedRequest.model_validate_json(row.request), notes=tuple(json.loads(row.notes)),
            user=row.user, star=bool(row.star), event=row.event or 0,
        )  # fmt: skip


def no_picture() -> NotFound:
    return NotFound("No such picture.", hint="It may have been removed.", code="image_not_found")


class _Late(Exception):
    """The job is another claim's now, or has ended."""


def _holds(connection: Connection, job: str, fence: int) -> bool:
    running = (jobs.c.id == job) & (jobs.c.fence == fence) & (jobs.c.state == "running")
    return connection.execute(select(jobs.c.id).where(running)).first() is not None
