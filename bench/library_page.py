"""Pages of 50 from a library of 100,000 pictures: newest, search by words, by colour, starred, a collection.

    python bench/library_page.py [--pictures 100000] [--rounds 200]

Goal: p99 of each <= 500 ms. The rows are made here, without files; the first run takes a minute.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path

from sqlalchemy import insert, text

from studio.library import Database, Library, new_id
from studio.library.search import indexed, words_for
from studio.library.tables import collection_images, images
from studio.schema import ResolvedRequest

THINGS = ("mug", "sneaker", "lamp", "chair", "teapot", "bottle", "watch", "bag", "灯笼", "月饼")
COLOURS = ("red", "blue", "green", "white", "black", "orange")


def fill(database: Database, pictures: int) -> None:
    draw = random.Random(1)
    for start in range(0, pictures, 5000):
        rows = []
        for number in range(start, min(start + 5000, pictures)):
            colour, thing = draw.choice(COLOURS), draw.choice(THINGS)
            request = ResolvedRequest(
                prompt=f"a {colour} {thing} on a {draw.choice(COLOURS)} background, {number}", model="pocket",
                negative_prompt="", width=512, height=512, steps=20, guidance=7.5, scheduler="pndm",
                seed=number,
            )  # fmt: skip
            created = 1.7e9 + number
            rows.append({
                "id": new_id(), "job": new_id(), "index": 0, "seed": number, "width": 512, "height": 512,
                "format": "png", "request": request.model_dump_json(), "notes": "[]", "created": created,
                "words": words_for(request.model_dump(), number, created, (colour,)), "seconds": 1.0,
                "star": int(number % 500 == 0),
            })  # fmt: skip
        with database.write() as connection:
            connection.execute(insert(images), rows)
    with database.write() as connection:
        add = text("INSERT INTO image_words (rowid, words) VALUES (:number, :words)")
        for row in connection.execute(text("SELECT number, words FROM images")).all():
            connection.execute(add, {"number": row.number, "words": indexed(row.words)})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pictures", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        database = Database(Path(folder) / "studio.db")
        library = Library(Path(folder), database)
        fill(database, options.pictures)
        shelf = library.collections.make("every tenth", "local").id
        with database.write() as connection:
            numbers = [{"collection": shelf, "image": n} for n in range(1, options.pictures, 10)]
            connection.execute(insert(collection_images), numbers)
        draw = random.Random(2)
        with database.read() as connection:
            early = text("SELECT id FROM images ORDER BY number LIMIT 1 OFFSET 50")
            old = str(connection.scalar(early))
        asks = {
            "newest": lambda: library.images(),
            "the oldest page": lambda: library.images(before=old),
            "one word": lambda: library.images(draw.choice(THINGS)),
            "two words and a colour": lambda: library.images(f"red {draw.choice(THINGS)} colour:blue"),
            "a word nothing has": lambda: library.images("zebra"),
            "one number": lambda: library.images(str(draw.randrange(options.pictures))),
            "a date": lambda: library.images("date:2023-11-15"),
            "starred": lambda: library.images(star=True),
            "a collection": lambda: library.images(collection=shelf),
            "a word in a collection": lambda: library.images("月饼", collection=shelf),
        }
        print(f"{options.pictures} pictures, {options.rounds} rounds; ms")
        for name, ask in asks.items():
            took = []
            for _ in range(options.rounds):
                begun = time.perf_counter()
                ask()
                took.append((time.perf_counter() - begun) * 1000)
            took.sort()
            print(f"{name:<26} p50 {took[len(took) // 2]:7.1f}   p99 {took[int(len(took) * 0.99)]:7.1f}")
        database.close()


if __name__ == "__main__":
    main()
