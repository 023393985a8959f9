"""What needs no running room: spans, keys, copies, the brand's colours, what an ended link leaves."""

from __future__ import annotations

import time
from contextlib import closing
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from rooms import BRAND, Shelf, chosen, picture

from studio.errors import BadRequest, Conflict, NotFound, StudioError
from studio.people import Person, speaking
from studio.presets import Presets
from studio.review import copies, keys
from studio.review.brand import READABLE, colours_of, contrast
from studio.review.links import DAY, KEPT, ShareRequest, read_span
from studio.review.review import Review
from studio.review.throttle import Throttle, peer_of
from studio.review.words import WORDS, spoken
from studio.safety.outgoing import Outgoing
from studio.schema import parse
from studio.settings import Settings


def share(review: Review, **asked: object) -> str:
    request = parse(ShareRequest, {"images": ["a" * 32], **asked})
    return review.share(request, [chosen()], BRAND).id


def test_spans_are_read_as_people_write_them() -> None:
    assert [read_span(text) for text in ("90s", "30m", "1h", "7d", "2w", "60", "1.5h")] == [
        90, 1800, 3600, 7 * DAY, 14 * DAY, 60, 5400,
    ]  # fmt: skip
    for text in ("", "h", "1y", "-1h", "1h30m", "١h"):
        with pytest.raises(BadRequest):
            read_span(text)


def test_a_link_lives_a_week_unless_asked_and_a_month_at_most(review: Review) -> None:
    link = review.links.get(share(review))
    assert 6.99 * DAY < link.expires - time.time() < 7.01 * DAY
    with pytest.raises(BadRequest):
        review.extend(link.id, 31 * DAY)
    assert review.extend(link.id, 30 * DAY).expires > link.expires


def test_an_ended_link_can_be_extended_and_a_revoked_one_not(review: Review) -> None:
    id = share(review)
    with review.links.store.write() as connection:
        connection.execute("UPDATE links SET expires = ?", (time.time() - 5,))
    assert review.get(id).state == "expired"
    assert review.extend(id, DAY).state == "live"
    review.revoke(id)
    review.revoke(id)  # again: nothing more happens
    assert [line.kind for line in review.trail(id)] == ["shared", "extended", "revoked"]
    with pytest.raises(Conflict):
        review.extend(id, DAY)


def test_copies_of_links_that_ended_long_ago_are_erased_and_their_trail_stays(review: Review) -> None:
    id, kept = share(review), share(review)
    with review.links.store.write() as connection:
        connection.execute("UPDATE links SET expires = ? WHERE id = ?", (time.time() - KEPT - 5, id))
    review.links.sweep()
    left = {file.name for file in review.links.store.pictures.iterdir()}
    assert left == {copy.shown for copy in review.links.store.copies(kept)}
    assert review.trail(id)
    with pytest.raises(Conflict):
        review.extend(id, DAY)


def test_one_sees_and_ends_ones_own_links_only(review: Review) -> None:
    request = parse(ShareRequest, {"images": ["a" * 32]})
    link = review.share(request, [chosen()], BRAND, "ann")
    with speaking(Person("bo", frozenset({"generate"}))):
        assert review.all() == [] and review.trail() == [] and review.trail(link.id) == []
        for verb in (review.get, review.revoke, review.package, review.address):
            with pytest.raises(NotFound):
                verb(link.id)
        with pytest.raises(NotFound):
            review.extend(link.id, DAY)
        with pytest.raises(NotFound):
            review.carry(link.id, "ssh")
    with speaking(Person("ann", frozenset({"generate"}))):
        assert [row.id for row in review.all()] == [link.id] and review.get(link.id).state == "live"


def test_before_the_first_link_there_is_no_folder(tmp_path: Path) -> None:
    review = Review(Settings(home=tmp_path, review_port=0))
    review.start()
    assert review.all() == [] and review.trail() == [] and review.verdicts() == {}
    review.close()
    assert not list(tmp_path.iterdir())


def test_the_key_is_made_once_is_private_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    file = tmp_path / "key"
    key = keys.read_key(file)
    assert keys.read_key(file) == key and len(key) == 32 and file.stat().st_mode & 0o077 == 0
    assert list(tmp_path.iterdir()) == [file]
    tokens = {keys.derive(key, use, id) for use in ("link", "package") for id in ("a", "b")}
    assert len(tokens) == 4 and {len(token) for token in tokens} == {32}
    file.write_bytes(b"short")
    with pytest.raises(StudioError):
        keys.read_key(file)


@pytest.mark.parametrize("size", [(64, 48), (700, 600), (3000, 500)])
def test_copies_are_of_the_size_that_the_link_says(tmp_path: Path, size: tuple[int, int]) -> None:
    review = Review(Settings(home=tmp_path, review_port=0), Shelf({"b" * 32: picture(1, size)}).give)
    request = parse(ShareRequest, {"images": ["b" * 32], "download": "copy"})
    link = review.share(request, [chosen("b" * 32, size=size)], BRAND)
    (copy,) = review.links.store.copies(link.id)
    files = ((review.links.store.pictures / str(name)).read_bytes() for name in (copy.shown, copy.whole))
    shown, whole = (Image.open(BytesIO(file)) for file in files)
    assert shown.size == (copy.width, copy.height) and max(shown.size) <= copies.LARGEST
    assert whole.size == size and whole.format == "PNG"
    assert shown.format == ("PNG" if max(size) <= copies.SMALL else "WEBP")
    review.close()


def test_what_a_crash_left_uncopied_is_copied_at_the_next_start(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, review_port=0)
    with closing(Review(settings)) as review:  # gives no pictures, as one that died before it could
        id = share(review)
        assert review.get(id).prepared == 0
    with closing(Review(settings, Shelf().give)) as review:
        review.start()
        until = time.monotonic() + 20
        while not review.get(id).prepared:
            assert time.monotonic() < until
            time.sleep(0.02)


def test_a_picture_that_is_gone_is_left_out_and_the_others_are_there(tmp_path: Path) -> None:
    def give(id: str) -> Outgoing:
        if id == "b" * 32:
            raise NotFound("No picture.")
        return Shelf().give(id)

    with closing(Review(Settings(home=tmp_path, review_port=0), give)) as review:
        request = parse(ShareRequest, {"images": ["b" * 32, "a" * 32]})
        link = review.share(request, [chosen("b" * 32), chosen()], BRAND)
        assert (link.images, link.prepared) == (("a" * 32,), 1)


def test_a_link_that_is_revoked_while_its_pictures_are_made_keeps_none(tmp_path: Path) -> None:
    made: list[str] = []

    def give(id: str) -> Outgoing:
        made.append(review.links.all()[0].id)
        review.revoke(made[-1])
        return Shelf().give(id)

    with closing(Review(Settings(home=tmp_path, review_port=0), give)) as review:
        share(review)
        assert made and not list(review.links.store.pictures.iterdir())


def test_every_palette_becomes_readable_colours() -> None:
    palettes = [dict(preset.palette) for preset in Presets(Settings().presets_dirs).list()]
    palettes += [{}, {"a": "#FFFF00"}, {"a": "#FFFFFF"}, {"a": "#000000"}, {"a": "#FFB6C1", "b": "#FFE4E1"}]
    for palette in palettes:
        colours = colours_of(palette)
        assert contrast(colours.accent, "#FFFFFF") >= READABLE, palette
        assert contrast(colours.accent, colours.ground) >= READABLE, palette
        assert contrast("#5F5C56", colours.ground) >= READABLE, palette  # the quiet text of room.css


def test_every_word_is_there_in_both_languages() -> None:
    for key, both in WORDS.items():
        assert len(both) == 2 and all(both), key
        assert both[0].count("{") == both[1].count("{"), key
    assert [spoken(text) for text in ("zh-TW,zh;q=0.9", "de,zh;q=0.5,en", "fr", "")] == [
        "zh",
        "zh",
        "en",
        "en",
    ]


def test_a_throttle_counts_each_side_for_itself_and_forgives_with_time() -> None:
    throttle = Throttle(burst=3, rate=1000)
    assert [throttle.allows("a") for _ in range(3)] == [True] * 3
    assert throttle.allows("b")
    time.sleep(0.01)
    assert throttle.allows("a")
    strict = Throttle(burst=2, rate=0)
    assert [strict.allows("a") for _ in range(4)] == [True, True, False, False]
    assert peer_of("2001:db8::1") == peer_of("2001:db8::2") != peer_of("2001:db8:1::1")
