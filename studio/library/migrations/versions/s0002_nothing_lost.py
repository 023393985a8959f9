"""Users, leases, idempotency keys, receipts, stars, collections and the word index."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

from studio.library.search import indexed, words_for
from studio.library.tables import WORD_INDEX, Long

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    change_jobs()
    change_pictures()
    add_tables()
    connection = op.get_bind()
    indexes = connection.dialect.name == "sqlite"
    if indexes:
        op.execute(WORD_INDEX)
    change = sa.text("UPDATE images SET words = :words WHERE number = :number")
    add = sa.text("INSERT INTO image_words (rowid, words) VALUES (:number, :words)")
    pictures = sa.text("SELECT number, request, seed, created FROM images")
    for number, request, seed, created in connection.execute(pictures).all():
        words = words_for(json.loads(request), seed, created)
        connection.execute(change, {"number": number, "words": words})
        if indexes:
            connection.execute(add, {"number": number, "words": indexed(words)})


def change_jobs() -> None:
    for column in (
        sa.Column("user", sa.Text, nullable=False, server_default="local"),
        sa.Column("priority", sa.Integer, nullable=False, server_default="0"),
        sa.Column("place", sa.Float),
        sa.Column("held", sa.Integer, nullable=False, server_default="0"),
        sa.Column("fence", sa.Integer, nullable=False, server_default="0"),
        sa.Column("lease", sa.Float),
        sa.Column("snapshot", sa.Text),
        sa.Column("cache_key", sa.Text),
        sa.Column("source", sa.Text),
        sa.Column("started", sa.Float),
        sa.Column("ended", sa.Float),
    ):
        op.add_column("jobs", column)
    op.create_index("jobs_by_cache_key", "jobs", ["cache_key"])


def change_pictures() -> None:
    for column in (
        sa.Column("user", sa.Text, nullable=False, server_default="local"),
        sa.Column("star", sa.Integer, nullable=False, server_default="0"),
        sa.Column("receipt", sa.Text),
        sa.Column("event", Long),
    ):
        op.add_column("images", column)
    op.create_index("images_by_user", "images", ["user", "trashed", "number"])
    op.create_index("images_by_star", "images", ["star", "number"])
    op.add_column("uploads", sa.Column("user", sa.Text, nullable=False, server_default="local"))
    op.add_column("uploads", sa.Column("sha256", sa.Text))


def add_tables() -> None:
    op.create_table(
        "collections",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("user", sa.Text, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
    )
    op.create_table(
        "collection_images",
        sa.Column("collection", sa.Text, primary_key=True),
        sa.Column("image", sa.Integer, primary_key=True),
    )
    op.create_table(
        "idempotency",
        sa.Column("user", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("job", sa.Text, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
    )
    op.create_table(
        "flags",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.create_table(
        "weights",
        sa.Column("file", sa.Text, primary_key=True),
        sa.Column("size", Long, nullable=False),
        sa.Column("mtime_ns", Long, nullable=False),
        sa.Column("inode", Long, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
    )
