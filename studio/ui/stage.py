"""What is drawn on the right: the teaching start, the run, the picture with its verbs, the latest ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from studio import infotext
from studio.products import NOTES
from studio.schema import ImageRow
from studio.ui.html import Markup, data_uri, element, join, picture_url
from studio.ui.scene import Scene
from studio.ui.text import Text

STRIP = 24  # pictures in the strip


def empty(
    t: Text, title: str, text: str, examples: Sequence[str] = (), more: Sequence[Markup] = ()
) -> Markup:
    """`examples`: prompts to click, from the preset. `more`: what else can be clicked to begin."""
    buttons = [
        element("button", example, type="button", class_="example", data_act="example", data_prompt=example)
        for example in examples
    ]
    return element(
        "section",
        element("h2", title),
        element("p", text),
        element("div", *buttons, class_="examples") if buttons else None,
        element("div", *more, class_="examples") if more else None,
        class_="empty",
    )


def problem(t: Text, error: Mapping[str, Any]) -> Markup:
    """A StudioError as the API would say it: what happened, what to do."""
    return element(
        "section",
        element("h2", t("problem")),
        element("p", str(error.get("message", ""))),
        element("p", str(error.get("hint", "")), class_="hint") if error.get("hint") else None,
        class_="empty problem",
        role="alert",
    )


def frames(cells: Sequence[Markup], width: int, height: int) -> Markup:
    """Cells of one size in a block that keeps its shape from the first moment, so that nothing jumps."""
    columns = math.ceil(math.sqrt(len(cells) * height / width))
    columns = max(1, min(columns, len(cells)))
    rows = math.ceil(len(cells) / columns)
    style = f"--w:{width};--h:{height};--cols:{columns};--rows:{rows}"
    return element("div", *cells, class_="frames", style=style)


def running(t: Text, scene: Scene) -> Markup:
    cells = [_cell(t, scene, index) for index in range(scene.count)]
    done = 100 * scene.step / scene.of if scene.of else 0
    bar = element("div", element("i", style=f"width:{done:.0f}%"), class_="bar")
    return element(
        "section",
        mat(frames(cells, scene.width, scene.height), progress(t, scene), bar),
        element("div", class_="acts"),
        class_="stage",
    )


def mat(picture: Markup, caption: str, bar: Markup | None = None) -> Markup:
    """The box all right sides share: picture in the middle, one line below it, the bar at its foot."""
    return element("div", picture, element("p", caption, class_="caption", role="status"), bar, class_="mat")


def _cell(t: Text, scene: Scene, index: int) -> Markup:
    if index in scene.pictures:
        picture = scene.pictures[index]
        image = element("img", src=picture_url(picture.id), alt=t("seed_is", seed=picture.seed))
        return element("figure", image)
    if index in scene.previews:
        image = element("img", src=data_uri(scene.previews[index], "image/jpeg"), alt="", class_="preview")
        return element("figure", image)
    return element("figure", class_="waiting")


def progress(t: Text, scene: Scene) -> str:
    if scene.state == "queued":
        return t("queued", ahead=scene.ahead) if scene.ahead else t("begins")
    if not scene.of:
        return t("begins")
    if scene.step >= scene.of:
        return t("finishing")
    words = [t("step", step=scene.step, of=scene.of)]
    if scene.eta is not None:
        words.append(t("left", seconds=max(1, round(scene.eta))))
    return " · ".join(words)


def group(t: Text, images: Sequence[ImageRow]) -> Markup:
    """The pictures of one job side by side; a click shows one large."""
    first = images[0]
    cells = [
        element(
            "button",
            _image(image),
            type="button",
            class_="cell",
            data_act="focus",
            data_id=image.id,
            aria_label=t("seed_is", seed=image.seed),
        )
        for image in images
    ]
    caption = f"{len(images)} · {first.width} × {first.height}"
    return element(
        "section",
        mat(frames(cells, first.width, first.height), caption),
        element("div", class_="acts"),
        class_="stage",
    )


def single(t: Text, image: ImageRow, settings: str, *, canny: bool) -> Markup:
    """One picture, large, with everything that can be done to it. `canny`: its model has that control."""
    acts = join(
        act(t("vary"), "vary", image.id),
        act(t("variants"), "variants", image.id),
        act(t("upscale"), "upscale", image.id),
        act(t("to_canny"), "canny", image.id) if canny else None,
        act(t("reuse"), "reuse", image.id),
        copy_button(t, settings),
        download(t, image),
    )
    return element(
        "section",
        mat(frames([picture(image)], image.width, image.height), caption(t, image)),
        element("div", acts, class_="acts"),
        class_="stage",
        data_image=image.id,
    )


def caption(t: Text, image: ImageRow) -> str:
    facts = (
        t("seed_is", seed=image.seed),
        f"{image.width} × {image.height}",
        t("took", seconds=f"{image.seconds:.1f}"),
        *(t(f"noted_{note}") for note in image.notes if note in NOTES),
    )
    return " · ".join(facts)


def act(label: str, verb: str, id: str) -> Markup:
    return element("button", label, type="button", class_="soft", data_act=verb, data_id=id)


def copy_button(t: Text, settings: str) -> Markup:
    return element(
        "button", t("copy"), type="button", class_="soft", data_copy=settings, data_done=t("copied")
    )


def download(t: Text, image: ImageRow) -> Markup:
    name = f"{image.seed}-{image.id[:8]}.{image.format}"
    address = f"{picture_url(image.id)}?download=1"  # what it holds is for the brand and the studio to say
    return element("a", t("download"), href=address, download=name, class_="soft")


def strip(t: Text, images: Sequence[ImageRow], chosen: str = "") -> Markup:
    """Latest pictures, newest first, as one row that scrolls sideways."""
    if not images:
        return element("div", element("p", t("history_empty")), class_="strip none")
    return element(
        "div", *[thumb(image, chosen) for image in images], class_="strip", aria_label=t("history")
    )


def thumb(image: ImageRow, chosen: str = "", verb: str = "focus") -> Markup:
    return element(
        "button",
        _image(image, lazy=True),
        type="button",
        class_="thumb",
        data_act=verb,
        data_id=image.id,
        title=image.request.prompt,
        aria_current="true" if image.id == chosen else None,
    )


def _image(image: ImageRow, *, lazy: bool = False) -> Markup:
    return element(
        "img",
        src=picture_url(image.id),
        alt=image.request.prompt,
        width=image.width,
        height=image.height,
        loading="lazy" if lazy else None,
    )


def compare(
    t: Text, left: tuple[str, str], right: tuple[str, str], width: int, height: int, *, lazy: bool = False
) -> Markup:
    """Two pictures of one size under one handle. Each side: (address, label). `lazy`: fetched when seen."""
    loading = "lazy" if lazy else None
    inside = element(
        "div",
        element("img", src=right[0], alt=right[1], loading=loading),
        element("img", src=left[0], alt=left[1], class_="over", loading=loading),
        element("span", left[1], class_="tag left"),
        element("span", right[1], class_="tag right"),
        element("i", class_="handle"),
        element("input", type="range", min=0, max=100, value=50, aria_label=t("handle")),
        class_="compare",
    )
    return frames([element("figure", inside)], width, height)


def picture(image: ImageRow) -> Markup:
    return element("figure", _image(image))


def settings(image: ImageRow) -> str:
    """The text other tools read and write; shown and copied as it is."""
    return infotext.text_of(image)
