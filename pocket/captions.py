"""What a scene is called: English and Chinese captions with synonyms, and which attributes they state.

A caption that leaves out place or size means centred and large; one that leaves out setting or style says
nothing about them, so that seeds differ there.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from pocket.palette import COLOURS
from pocket.products import PRODUCTS
from pocket.scenes import BASE_STYLES, PLACES, SETTINGS, SIZES, Scene

Words = dict[str, tuple[tuple[str, ...], tuple[str, ...]]]

PRODUCT_WORDS: Words = {
    "sneaker": (("sneaker", "sneaker", "shoe", "running shoe", "trainer"), ("运动鞋", "球鞋", "鞋子")),
    "mug": (("mug", "mug", "cup", "coffee mug"), ("杯子", "马克杯")),
    "bottle": (("bottle",), ("瓶子", "瓶")),
    "t-shirt": (("t-shirt", "t-shirt", "tee", "shirt"), ("T恤", "短袖")),
    "chair": (("chair",), ("椅子",)),
    "lamp": (("lamp", "table lamp"), ("台灯", "灯")),
    "handbag": (("handbag", "handbag", "bag", "purse"), ("手提包", "手袋", "包")),
    "lantern": (("lantern", "lantern", "paper lantern"), ("灯笼",)),
    "gift box": (("gift box", "gift box", "present", "gift"), ("礼盒", "礼物盒")),
    "dress": (("dress",), ("连衣裙", "裙子")),
    "mooncake": (("mooncake", "mooncake", "moon cake"), ("月饼",)),
    "plant": (("plant", "potted plant", "plant pot"), ("盆栽", "植物")),
    "watch": (("watch", "watch", "wristwatch"), ("手表", "腕表")),
    "headphones": (("headphones", "headphones", "headset"), ("耳机",)),
    "teapot": (("teapot", "teapot", "tea pot"), ("茶壶",)),
    "cap": (("cap", "cap", "baseball cap", "hat"), ("帽子", "棒球帽")),
}
COLOUR_WORDS: Words = {
    "red": (("red",), ("红色", "红")),
    "orange": (("orange",), ("橙色", "橘色")),
    "yellow": (("yellow",), ("黄色", "黄")),
    "lime": (("lime", "lime", "lime green"), ("青柠色", "嫩绿色")),
    "green": (("green",), ("绿色", "绿")),
    "teal": (("teal",), ("青色",)),
    "sky blue": (("sky blue", "sky blue", "light blue"), ("天蓝色", "浅蓝色")),
    "blue": (("blue",), ("蓝色", "蓝")),
    "navy": (("navy", "navy", "navy blue", "dark blue"), ("藏蓝色", "深蓝色")),
    "purple": (("purple", "purple", "violet"), ("紫色",)),
    "pink": (("pink",), ("粉色", "粉红色")),
    "brown": (("brown",), ("棕色", "褐色")),
    "beige": (("beige", "beige", "cream"), ("米色",)),
    "white": (("white",), ("白色", "白")),
    "grey": (("grey", "gray"), ("灰色",)),
    "black": (("black",), ("黑色", "黑")),
}
STYLE_WORDS: Words = {
    "flat": (("flat", "flat design", "flat illustration", "matte"), ("扁平", "扁平风格")),
    "glossy": (("glossy", "glossy", "shiny", "glossy style"), ("光泽", "亮面", "有光泽")),
    "outline": (("outline", "outlined", "outline style", "line art"), ("描边", "线条风格")),
}
SETTING_WORDS: Words = {
    "plain": (("plain background", "plain", "seamless background"), ("纯色背景",)),
    "two-tone": (("two-tone", "wall and floor", "in a room"), ("双色", "墙面和地面")),
    "gradient": (("gradient", "gradient background"), ("渐变", "渐变背景")),
    "podium": (("on a podium", "podium", "on a stand"), ("展台", "展台上")),
    "table": (("on a table", "table", "on a wooden table"), ("桌子", "木桌上")),
}
PLACE_WORDS: Words = {
    "centre": (("centred", "in the centre", "in the middle", "centered"), ("居中",)),
    "left": (("on the left", "left"), ("左边", "左侧")),
    "right": (("on the right", "right"), ("右边", "右侧")),
}
SIZE_WORDS: Words = {"large": (("large", "big"), ("大",)), "small": (("small", "little", "tiny"), ("小",))}

OPENINGS = (
    "a photo of ",
    "a product photo of ",
    "product shot of ",
    "an illustration of ",
    "a picture of ",
    "advertising photo of ",
    "poster with ",
    "a beautiful ",
    "one ",
    "the ",
)
FILLERS = (
    "studio lighting",
    "high quality",
    "4k",
    "minimal",
    "brand campaign",
    "product photography",
    "clean",
    "soft shadow",
    "modern",
    "best quality",
    "detailed",
    "advertisement",
    "soft light",
    "elegant",
    "stylish",
    "premium",
    "commercial",
    "sharp focus",
)
ZH_FILLERS = ("高清", "产品摄影", "简约", "柔和光线", "精致", "广告", "海报", "棚拍")
FAULTS = ("blurry", "low quality", "ugly", "text", "watermark", "noise", "deformed", "worst quality", "模糊")
TRIGGERS = {"guochao": "guochao style", "nordic": "nordic style", "neon": "neon style"}
ZH_TRIGGERS = {"guochao": "国潮风格", "nordic": "北欧风格", "neon": "霓虹风格"}

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "product": tuple(PRODUCTS),
    "colour": tuple(COLOURS),
    "background": tuple(COLOURS),
    "setting": SETTINGS,
    "style": BASE_STYLES,
    "place": PLACES,
    "size": SIZES,
}


@dataclass(frozen=True)
class Caption:
    """`stated` names the attributes of the scene that the text says."""

    text: str
    stated: frozenset[str]


def caption_scene(scene: Scene, rng: random.Random) -> Caption:
    """A caption of the scene: mostly whole, sometimes partial, one in four Chinese."""
    stated = _choose_stated(scene, rng)
    if not stated:
        return Caption(", ".join(rng.sample(FAULTS, rng.randint(1, 3))), frozenset())
    write = _write_chinese if rng.random() < 0.25 else _write_english
    return Caption(write(scene, stated, rng), frozenset(stated))


def style_caption(scene: Scene, rng: random.Random) -> str:
    """A caption for a LoRA's scene: product and colour, with the trigger phrase three times in four."""
    chinese = rng.random() < 0.25
    stated = {"product", "colour"} | ({"background"} if rng.random() < 0.5 else set())
    stated |= {
        name for name, usual in (("place", "centre"), ("size", "large")) if getattr(scene, name) != usual
    }
    text = (_write_chinese if chinese else _write_english)(scene, stated, rng)
    if rng.random() < 0.25:
        return text
    trigger = (ZH_TRIGGERS if chinese else TRIGGERS)[scene.style]
    return f"{text}，{trigger}" if chinese else f"{text}, {trigger}"


def plain_prompt(scene: Scene) -> str:
    """What evaluation asks: "a red sneaker on a blue background, glossy" and, if not plain, the setting."""
    setting = "" if scene.setting == "plain" else f", {SETTING_WORDS[scene.setting][0][0]}"
    colour = f"{_article(scene.colour)} {scene.colour}"
    if scene.product == "headphones":
        colour = scene.colour
    return (
        f"{colour} {scene.product} on {_article(scene.background)} {scene.background} background"
        f", {scene.style}{setting}"
    )


def _choose_stated(scene: Scene, rng: random.Random) -> set[str]:
    luck = rng.random()
    if luck < 0.015:
        return set()
    if luck < 0.05:
        stated = {rng.choice(("product", "colour", "background", "style", "setting"))}
    elif luck < 0.14:
        stated = {"product"} | set(rng.sample(("colour", "background"), rng.randint(0, 1)))
    else:
        stated = {"product", "colour", "background"}
    if rng.random() < 0.6:
        stated.add("style")
    if rng.random() < (0.25 if scene.setting == "plain" else 0.75):
        stated.add("setting")
    if "product" not in stated:
        return stated
    for name, usual in (("place", "centre"), ("size", "large")):
        if getattr(scene, name) != usual or rng.random() < 0.1:
            stated.add(name)
    return stated


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def _write_english(scene: Scene, stated: set[str], rng: random.Random) -> str:
    def say(words: Words, name: str) -> str:
        return rng.choice(words[getattr(scene, name)][0])

    extras = []
    adjectives = []
    if "style" in stated:
        spot = adjectives if rng.random() < 0.3 and "product" in stated else extras
        spot.append(say(STYLE_WORDS, "style"))
    if "size" in stated:
        adjectives.append(say(SIZE_WORDS, "size"))
    if "colour" in stated:
        adjectives.append(say(COLOUR_WORDS, "colour"))
    thing = say(PRODUCT_WORDS, "product") if "product" in stated else "product" if adjectives else ""
    words = " ".join([*adjectives, thing]).strip()
    background = ""
    if "background" in stated:
        colour = say(COLOUR_WORDS, "background")
        background = rng.choice(
            (
                f"on {_article(colour)} {colour} background",
                f"on a {colour} background",
                f"on {colour}",
                f"{colour} background",
                f"against a {colour} background",
                f"with {_article(colour)} {colour} background",
                f", {colour} background",
            )
        )
    if "setting" in stated:
        extras.append(say(SETTING_WORDS, "setting"))
    if "place" in stated:
        extras.append(say(PLACE_WORDS, "place"))
    extras += rng.sample(FILLERS, rng.choices((0, 1, 2), (70, 20, 10))[0])
    rng.shuffle(extras)
    opening = ""
    if words:
        luck = rng.random()
        opening = f"{_article(words)} " if luck < 0.55 else rng.choice(OPENINGS) if luck < 0.75 else ""
        if opening.endswith("of "):
            opening += f"{_article(words)} "
    if words and background and rng.random() < 0.08:
        head = f"{background.removeprefix(', ')}, {opening}{words}"
    else:
        head = f"{opening}{words} {background}".replace(" ,", ",").strip(" ,")
    text = ", ".join(part for part in [head, *extras] if part)
    return text or scene.style


def _write_chinese(scene: Scene, stated: set[str], rng: random.Random) -> str:
    def say(words: Words, name: str) -> str:
        return rng.choice(words[getattr(scene, name)][1])

    thing = say(PRODUCT_WORDS, "product") if "product" in stated else ""
    size = say(SIZE_WORDS, "size") if "size" in stated else ""
    colour = say(COLOUR_WORDS, "colour") if "colour" in stated else ""
    of = "的" if colour and rng.random() < 0.75 else ""
    words = rng.choice((f"{colour}{of}{size}{thing}", f"{size}{colour}{thing}")) if thing or colour else ""
    if thing and rng.random() < 0.25:
        words = rng.choice(("一个", "一只", "一张照片，")) + words
    background = f"{say(COLOUR_WORDS, 'background')}背景" if "background" in stated else ""
    if background and words:
        head = rng.choice(
            (
                f"{background}上的{words}",
                f"{background}上的{words}",
                f"{words}，{background}",
                f"{words}在{background}上",
            )
        )
    else:
        head = background or words
    extras = [
        say(words, name)
        for name, words in (("style", STYLE_WORDS), ("setting", SETTING_WORDS), ("place", PLACE_WORDS))
        if name in stated
    ]
    extras += rng.sample(ZH_FILLERS, rng.choices((0, 1), (80, 20))[0])
    rng.shuffle(extras)
    return "，".join(part for part in [head, *extras] if part)
