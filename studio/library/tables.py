"""The tables. Times are UTC seconds since 1970; requests are kept as the JSON they validate from."""

from __future__ import annotations

from sqlalchemy import Column, Float, Index, Integer, MetaData, Table, Text, UniqueConstraint

metadata = MetaData()

jobs = Table(
    "jobs",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),  # order of arrival
    Column("id", Text, nullable=False, unique=True),
    Column("state", Text, nullable=False),
    Column("owner", Text, nullable=False),  # the studio process that runs it
    Column("request", Text, nullable=False),
    Column("error", Text),
    Column("attempts", Integer, nullable=False, default=0),
    Column("created", Float, nullable=False),
    Column("seconds", Float, nullable=False, default=0.0),
    Column("last_event", Integer, nullable=False, default=0),  # number of the final event
    Index("jobs_by_state", "state", "number"),
    sqlite_autoincrement=True,
)

images = Table(
    "images",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),  # order of completion
    Column("id", Text, nullable=False, unique=True),
    Column("job", Text, nullable=False),
    Column("index", Integer, nullable=False),
    Column("seed", Integer, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("format", Text, nullable=False),
    Column("request", Text, nullable=False),
    Column("words", Text, nullable=False),  # what search looks at, case-folded
    Column("notes", Text, nullable=False),
    Column("created", Float, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("trashed", Float),  # when; null = not
    UniqueConstraint("job", "index"),
    Index("images_by_trash", "trashed", "number"),
    sqlite_autoincrement=True,
)

uploads = Table(
    "uploads",
    metadata,
    Column("id", Text, primary_key=True),
    Column("format", Text, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("created", Float, nullable=False),
)
