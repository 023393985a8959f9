"""The tables of the first studio, as its own code wrote them, with a job and pictures in them."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

TABLES = """
CREATE TABLE jobs (
    number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, state TEXT NOT NULL,
    owner TEXT NOT NULL, request TEXT NOT NULL, error TEXT, attempts INTEGER NOT NULL,
    created FLOAT NOT NULL, seconds FLOAT NOT NULL, last_event INTEGER NOT NULL, UNIQUE (id));
CREATE INDEX jobs_by_state ON jobs (state, number);
CREATE TABLE images (
    number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, job TEXT NOT NULL,
    "index" INTEGER NOT NULL, seed INTEGER NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL,
    format TEXT NOT NULL, request TEXT NOT NULL, words TEXT NOT NULL, notes TEXT NOT NULL,
    created FLOAT NOT NULL, seconds FLOAT NOT NULL, trashed FLOAT, UNIQUE (job, "index"), UNIQUE (id));
CREATE INDEX images_by_trash ON images (trashed, number);
CREATE TABLE uploads (
    id TEXT NOT NULL, format TEXT NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL,
    created FLOAT NOT NULL, PRIMARY KEY (id));
"""
REQUEST = {
    "prompt": "a red mug 红色", "preset": None, "count": 2, "loras": [], "control": None, "init_image": None,
    "mask": None, "strength": 0.75, "upscale": 1.0, "format": "png", "model": "pocket", "negative_prompt": "",
    "width": 64, "height": 64, "steps": 1, "guidance": 5.0, "scheduler": "pndm", "seed": 4294967295,
}  # fmt: skip
JOB = "0" * 32
PICTURES = ("a" * 32, "b" * 32)


def make_old_library(home: Path, state: str = "completed") -> Path:
    """A home folder of the first studio. Returns the database's file."""
    file = home / "studio.db"
    (home / "pictures").mkdir(parents=True)
    with closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.executescript(TABLES)
        job = (JOB, state, "first", json.dumps(REQUEST), 1, 1.7e9, 2.0, 1_700_000_000_000)
        database.execute(
            "INSERT INTO jobs (id, state, owner, request, attempts, created, seconds, last_event)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            job,
        )
        for index, id in enumerate(PICTURES):
            (home / "pictures" / f"{id}.png").write_bytes(b"picture")
            values = (id, JOB, index, 4294967295, 64, 64, "png", json.dumps(REQUEST), "a red mug 红色", "[]")
            database.execute(
                'INSERT INTO images (id, job, "index", seed, width, height, format, request, words, notes,'
                " created, seconds) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1.7e9, 1.0)",
                values,
            )
        database.commit()
    return file
