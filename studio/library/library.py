"""Finished pictures and uploads: put in once, found again by id, by words, by age."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Integer, Row, Select, column, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from studio.catalog import FORMATS
from studio.errors import NotFound
from studio.library.database import Database
from studio.library.files import is_id, new_id, read_file, sweep, write_whole
from studio.library.search import indexed, phrase, words_for, words_of
from studio.library.tables import images, uploads
from studio.schema import Format, ImageRow, Rendered, ResolvedRequest

MAX_PAGE = 500  # pictures of one answer
ADD_WORDS = text("INSERT INTO image_words (rowid, words) VALUES (:number, :words)")
HITS = (
    text("SELECT rowid AS number FROM image_words WHERE image_words MATCH :phrases")
    .columns(column("number", Integer))
    .subquery("hits")
)


class Library:
    def __init__(self, home: Path, database: Database) -> None:
        self._database = database
        self._pictures, self._uploads = home / "pictures", home / "uploads"
        self._unclaimed = home / "unclaimed"
        for folder in (self._pictures, self._uploads):
            folder.mkdir(parents=True, exist_ok=True)

    def reconcile(self) -> None:
        """Call before anything is written. Half-written files go; whole ones without a row are set aside.

        Set aside and not removed: after a lost database they are all there is.
        """
        for folder, table in ((self._pictures, images), (self._uploads, uploads)):
            sweep(folder)
            with self._database.read() as connection:
                known = set(connection.scalars(select(table.c.id)))
            for file in folder.iterdir():
                if is_id(file.stem) and file.stem not in known:
                    self._unclaimed.mkdir(exist_ok=True)
                    file.rename(self._unclaimed / file.name)

    def add(self, job: str, request: ResolvedRequest, picture: Rendered, data: bytes) -> ImageRow | None:
        """Keeps `data`, encoded as `request.format`. None where an earlier attempt kept this picture."""
        id, created = new_id(), time.time()
        file = self._file(id, request.format)
        write_whole(file, data)
        row = {
            "id": id, "job": job, "index": picture.index, "seed": picture.seed,
            "width": picture.width, "height": picture.height, "format": request.format,
            "request": request.model_dump_json(),
            "words": words_for(request.model_dump(), picture.seed, created),
            "notes": json.dumps(picture.notes), "created": created, "seconds": picture.seconds,
        }  # fmt: skip
        try:
            with self._database.write() as connection:
                self._insert(connection, row)
        except IntegrityError:
            file.unlink()
            return None
        except BaseException:
            file.unlink(missing_ok=True)
            raise
        return self.image(id)

    def _insert(self, connection: Connection, row: dict[str, Any]) -> None:
        number = connection.scalar(insert(images).values(row).returning(images.c.number))
        if self._database.sqlite:
            connection.execute(ADD_WORDS, {"number": number, "words": indexed(row["words"])})

    def _found(self, query: Select[Any], words: Sequence[str]) -> Select[Any]:
        """Pictures with every one of `words`: the index narrows them down, the text itself decides."""
        phrases = " ".join(filter(None, map(phrase, words)))
        if phrases and self._database.sqlite:
            query = query.join(HITS, HITS.c.number == images.c.number).params(phrases=phrases)
        for word in words:
            query = query.where(images.c.words.contains(word, autoescape=True))
        return query

    def image(self, id: str) -> ImageRow:
        """Raises NotFound (`image_not_found`)."""
        found = self._one(select(images).where(images.c.id == id)) if is_id(id) else None
        if found is None:
            raise NotFound("No such picture.", hint="It may have been removed.", code="image_not_found")
        return self._row(found)

    def images(
        self, search: str = "", limit: int = 50, before: str | None = None, trash: bool = False
    ) -> list[ImageRow]:
        """Newest first. `search`: words that must all be there. `before`: last id of the page before."""
        query = select(images).order_by(images.c.number.desc()).limit(max(1, min(limit, MAX_PAGE)))
        query = query.where(images.c.trashed.is_not(None) if trash else images.c.trashed.is_(None))
        query = self._found(query, words_of(search))
        if before is not None:
            mark = select(images.c.number).where(images.c.id == before).scalar_subquery()
            query = query.where(images.c.number < mark)
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

    def trash(self, ids: Sequence[str]) -> None:
        """Hides pictures; `restore` brings them back. Raises NotFound, and then hides none."""
        self._mark(ids, time.time())

    def restore(self, ids: Sequence[str]) -> None:
        self._mark(ids, None)

    def counts(self) -> tuple[int, int]:
        """(pictures, trashed pictures)."""
        query = select(func.count(), func.count(images.c.trashed)).select_from(images)
        with self._database.read() as connection:
            total, trashed = connection.execute(query).one()
        return total - trashed, trashed

    def add_upload(self, data: bytes, format: Format, width: int, height: int) -> str:
        """Keeps a picture that was checked and encoded anew. Returns its id."""
        id = new_id()
        file = self._uploads / f"{id}.{format}"
        write_whole(file, data)
        row = {"id": id, "format": format, "width": width, "height": height, "created": time.time()}
        try:
            with self._database.write() as connection:
                connection.execute(insert(uploads).values(row))
        except BaseException:
            file.unlink(missing_ok=True)
            raise
        return id

    def picture_bytes(self, id: str) -> tuple[bytes, str]:
        """(file, mime type) of an upload or of a picture. Raises NotFound (`image_not_found`)."""
        found = self._one(select(uploads.c.format).where(uploads.c.id == id)) if is_id(id) else None
        if found is not None:
            return read_file(self._uploads / f"{id}.{found.format}"), FORMATS[found.format]
        row = self.image(id)
        return read_file(row.file), FORMATS[row.format]

    def _mark(self, ids: Sequence[str], when: float | None) -> None:
        wanted = list(dict.fromkeys(ids))
        with self._database.write() as connection:
            done = connection.execute(update(images).where(images.c.id.in_(wanted)).values(trashed=when))
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
        )  # fmt: skip

