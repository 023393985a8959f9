"""Named sets of pictures, shared by everybody who may sign in."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from studio.errors import BadRequest, Conflict, NotFound
from studio.library.database import Database
from studio.library.files import is_id, new_id
from studio.library.tables import collection_images, collections, images

LONGEST = 80  # characters of a name


@dataclass(frozen=True)
class CollectionRow:
    """`images`: how many are in it, trash apart. `created`: UTC, s since 1970. `user` made it."""

    id: str
    name: str
    user: str
    created: float
    images: int


class Collections:
    def __init__(self, database: Database) -> None:
        self._database = database

    def rows(self) -> list[CollectionRow]:
        """By name."""
        inside = (
            select(collection_images.c.collection, func.count().label("images"))
            .join(images, images.c.number == collection_images.c.image)
            .where(images.c.trashed.is_(None))
            .group_by(collection_images.c.collection)
            .subquery()
        )
        query = select(collections, func.coalesce(inside.c.images, 0).label("images"))
        query = query.outerjoin(inside, inside.c.collection == collections.c.id).order_by(collections.c.name)
        with self._database.read() as connection:
            return [CollectionRow(**row._mapping) for row in connection.execute(query)]

    def get(self, id: str) -> CollectionRow:
        """Raises NotFound (`collection_not_found`)."""
        for row in self.rows():
            if row.id == id:
                return row
        raise _unknown()

    def make(self, name: str, user: str) -> CollectionRow:
        """Raises BadRequest for a name that is empty or too long, Conflict for one that is taken."""
        row = {"id": new_id(), "name": checked_name(name), "user": user, "created": time.time()}
        self._try(insert(collections).values(row))
        return self.get(str(row["id"]))

    def rename(self, id: str, name: str) -> CollectionRow:
        self.get(id)
        self._try(update(collections).where(collections.c.id == id).values(name=checked_name(name)))
        return self.get(id)

    def remove(self, id: str) -> None:
        """The pictures stay in the library."""
        with self._database.write() as connection:
            _one(connection, id)
            connection.execute(delete(collection_images).where(collection_images.c.collection == id))
            connection.execute(delete(collections).where(collections.c.id == id))

    def put(self, id: str, pictures: Sequence[str]) -> CollectionRow:
        """Adds pictures; those that are in it stay. Raises NotFound, and then adds none."""
        with self._database.write() as connection:
            _one(connection, id)
            numbers = _numbers(connection, pictures)
            known = select(collection_images.c.image).where(collection_images.c.collection == id)
            there = set(connection.scalars(known))
            fresh = [{"collection": id, "image": number} for number in numbers if number not in there]
            if fresh:
                connection.execute(insert(collection_images), fresh)
        return self.get(id)

    def take(self, id: str, pictures: Sequence[str]) -> CollectionRow:
        """Takes pictures out; they stay in the library."""
        with self._database.write() as connection:
            _one(connection, id)
            numbers = _numbers(connection, pictures)
            inside = (collection_images.c.collection == id) & collection_images.c.image.in_(numbers)
            connection.execute(delete(collection_images).where(inside))
        return self.get(id)

    def of(self, picture: str) -> list[str]:
        """Ids of the collections that a picture is in."""
        query = select(collection_images.c.collection).join(
            images, images.c.number == collection_images.c.image
        )
        with self._database.read() as connection:
            return list(connection.scalars(query.where(images.c.id == picture)))

    def _try(self, statement: Any) -> None:
        try:
            with self._database.write() as connection:
                connection.execute(statement)
        except IntegrityError:
            raise Conflict(
                "A collection of this name is there already.", hint="Pick another name.", field="name",
                code="collection_exists",
            ) from None  # fmt: skip


def checked_name(name: str) -> str:
    """Without blanks around it."""
    name = " ".join(name.replace("\0", " ").split())
    if not 0 < len(name) <= LONGEST:
        raise BadRequest(
            f"A collection's name has 1 to {LONGEST} characters; this one has {len(name)}.", field="name",
            code="bad_length",
        )  # fmt: skip
    return name


def _one(connection: Connection, id: str) -> Row[Any]:
    query = select(collections).where(collections.c.id == (id if is_id(id) else ""))
    row = connection.execute(query).first()
    if row is None:
        raise _unknown()
    return row


def _numbers(connection: Connection, pictures: Sequence[str]) -> list[int]:
    wanted = list(dict.fromkeys(pictures))
    found = list(connection.scalars(select(images.c.number).where(images.c.id.in_(wanted))))
    if len(found) != len(wanted):
        missing = len(wanted) - len(found)
        raise NotFound(f"{missing} of {len(wanted)} pictures do not exist.", code="image_not_found")
    return found


def _unknown() -> NotFound:
    return NotFound(
        "No such collection.", hint="GET /api/v1/collections lists them.", code="collection_not_found"
    )
