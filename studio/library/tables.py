"""The tables as they are now. Times are UTC seconds since 1970; requests are JSON that validates.

A change here is a new file in migrations/versions and a new HEAD in migrations/__init__.py; a test holds the
two ways to make a library against each other.
"""

from __future__ import annotations

from sqlalchemy import (
    DDL,
    BigInteger,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    column,
    event,
    table,
)
from sqlalchemy.schema import ExecutableDDLElement

metadata = MetaData()

# SQLite's integers have 64 bits anyway, and it calls them INTEGER; PostgreSQL's have 32.
Long = Integer().with_variant(BigInteger(), "postgresql")

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
    Column("last_event", Long, nullable=False, default=0),  # highest number that may have been given
    Column("user", Text, nullable=False, server_default="local"),
    Column("priority", Integer, nullable=False, server_default="0"),  # higher goes first
    Column("place", Float),  # in the queue, where somebody moved it; null = its number
    Column("held", Integer, nullable=False, server_default="0"),  # 1 = waits until it is let go
    Column("fence", Integer, nullable=False, server_default="0"),  # counts claims; older claims may not write
    Column("lease", Float),  # monotonic s until which the claim holds, of the machine's clock
    Column("snapshot", Text),  # JSON: the weights it was asked with
    Column("cache_key", Text),  # of request and weights; null = the seed was drawn
    Column("source", Text),  # job whose pictures answer this one
    Column("started", Float),
    Column("ended", Float),
    Index("jobs_by_state", "state", "number"),
    Index("jobs_by_cache_key", "cache_key"),
    Index("jobs_by_end", "ended"),
    sqlite_autoincrement=True,
)

images = Table(
    "images",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),  # order of completion
    Column("id", Text, nullable=False, unique=True),
    Column("job", Text, nullable=False),
    Column("index", Integer, nullable=False),
    Column("seed", Long, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("format", Text, nullable=False),
    Column("request", Text, nullable=False),
    Column("words", Text, nullable=False),  # what search looks at, case-folded
    Column("notes", Text, nullable=False),
    Column("created", Float, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("trashed", Float),  # when; null = not
    Column("user", Text, nullable=False, server_default="local"),
    Column("star", Integer, nullable=False, server_default="0"),
    Column("receipt", Text),  # JSON, see receipts.py
    Column("event", Long),  # number of the event that told of it
    UniqueConstraint("job", "index"),
    Index("images_by_trash", "trashed", "number"),
    Index("images_by_user", "user", "trashed", "number"),
    Index("images_by_star", "star", "number"),
    sqlite_autoincrement=True,
)

# One word list a picture; its rowid is the picture's number. Contentless: the words stand in `images` too.
WORD_INDEX = (
    "CREATE VIRTUAL TABLE image_words USING fts5(words, content='', tokenize='unicode61', prefix='1 2 3')"
)
index_words: ExecutableDDLElement = DDL(WORD_INDEX)  # type: ignore[no-untyped-call]
event.listen(images, "after_create", index_words.execute_if(dialect="sqlite"))
image_words = table("image_words", column("rowid", Integer))

uploads = Table(
    "uploads",
    metadata,
    Column("id", Text, primary_key=True),
    Column("format", Text, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("created", Float, nullable=False),
    Column("user", Text, nullable=False, server_default="local"),
    Column("sha256", Text),
)

collections = Table(
    "collections",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("user", Text, nullable=False),
    Column("created", Float, nullable=False),
)

collection_images = Table(
    "collection_images",
    metadata,
    Column("collection", Text, primary_key=True),
    Column("image", Integer, primary_key=True),  # images.number
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("user", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("body", Text, nullable=False),  # sha256 of what was asked
    Column("job", Text, nullable=False),
    Column("created", Float, nullable=False),
)

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", Text, primary_key=True),
    Column("user", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("secret", Text, nullable=False),
    Column("created", Float, nullable=False),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("webhook", Text, primary_key=True),
    Column("job", Text, primary_key=True),
    Column("attempts", Integer, nullable=False),
    Column("due", Float, nullable=False),
    Column("state", Text, nullable=False),  # waiting, sent, failed
    Column("status", Integer),  # of the last answer, 0 = there was none
    Index("deliveries_by_state", "state", "due"),
)

flags = Table(
    "flags",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

weights = Table(
    "weights",
    metadata,
    Column("file", Text, primary_key=True),
    Column("size", Long, nullable=False),
    Column("mtime_ns", Long, nullable=False),
    Column("inode", Long, nullable=False),
    Column("sha256", Text, nullable=False),
)

users = Table(
    "users",
    metadata,
    Column("folded", Text, primary_key=True),  # the name without upper case: nobody can be Anna beside anna
    Column("name", Text, nullable=False),
    Column("password", Text, nullable=False),  # argon2id
    Column("admin", Integer, nullable=False),
    Column("created", Float, nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("token", Text, primary_key=True),  # sha256
    Column("user", Text, nullable=False),  # users.folded
    Column("created", Float, nullable=False),
    Column("expires", Float, nullable=False),
)

keys = Table(
    "keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("label", Text, nullable=False),
    Column("user", Text, nullable=False),  # users.folded, or local
    Column("scopes", Text, nullable=False),  # blanks between them
    Column("secret", Text, nullable=False),  # sha256
    Column("created", Float, nullable=False),
)

campaigns = Table(
    "campaigns",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("user", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("sheet", Text, nullable=False),  # JSON: headings and rows of text cells
    Column("options", Text, nullable=False),  # JSON: file name pattern, defaults, pictures by name
    Column("created", Float, nullable=False),
    Column("ended", Float),
    sqlite_autoincrement=True,
)

campaign_shots = Table(
    "campaign_shots",
    metadata,
    Column("campaign", Text, primary_key=True),
    Column("place", Integer, primary_key=True),  # order within the campaign
    Column("row", Integer, nullable=False),  # of the sheet
    Column("cells", Text, nullable=False),
    Column("request", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("job", Text),
    Column("error", Text),
    Index("shots_by_state", "campaign", "state", "place"),
)
