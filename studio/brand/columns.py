"""The columns a campaign sheet may have, by the words that people write over them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """`words`: headings it is known by, as `plain` writes them. `many`: a cell may hold a | b | c."""

    words: tuple[str, ...]
    many: bool = False


COLUMNS: Mapping[str, Column] = {
    "sku": Column(("sku", "article", "item", "itemno", "货号", "编号", "商品编号")),
    "product": Column(("product", "productname", "产品", "商品", "品名"), many=True),
    "prompt": Column(("prompt", "text", "提示词")),
    "negative_prompt": Column(("negativeprompt", "negative", "反向提示词", "负面提示词")),
    "colour": Column(("colour", "color", "颜色"), many=True),
    "background": Column(("background", "背景"), many=True),
    "scene": Column(("scene", "setting", "场景"), many=True),
    "style": Column(("style", "风格"), many=True),
    "channel": Column(("channel", "platform", "渠道", "平台"), many=True),
    "size": Column(("size", "sizes", "dimensions", "尺寸"), many=True),
    "width": Column(("width", "宽度", "宽")),
    "height": Column(("height", "高度", "高")),
    "preset": Column(("preset", "brand", "brandpreset", "预设", "品牌", "品牌预设"), many=True),
    "model": Column(("model", "checkpoint", "模型"), many=True),
    "scheduler": Column(("scheduler", "sampler", "采样器"), many=True),
    "steps": Column(("steps", "步数"), many=True),
    "guidance": Column(("guidance", "cfg", "cfgscale", "guidancescale", "引导强度"), many=True),
    "seed": Column(("seed", "随机种子", "种子"), many=True),
    "count": Column(("count", "pictures", "variants", "数量", "张数")),
    "loras": Column(("loras", "lora", "风格模型")),
    "control_image": Column(("controlimage", "control", "canny", "cannyimage", "控制图", "线稿"), many=True),
    "control_low": Column(("controllow", "low", "cannylow", "低阈值")),
    "control_high": Column(("controlhigh", "high", "cannyhigh", "高阈值")),
    "control_scale": Column(("controlscale", "controlstrength", "controlweight", "线稿强度")),
    "init_image": Column(("initimage", "init", "image", "startimage", "参考图", "底图"), many=True),
    "product_image": Column(
        ("productimage", "productpicture", "productphoto", "产品图", "商品图"), many=True
    ),
    "product_x": Column(("productx", "产品横向位置")),
    "product_y": Column(("producty", "产品纵向位置")),
    "product_width": Column(("productwidth", "产品宽度")),
    "product_edge": Column(("productedge", "edgeblend", "产品边缘")),
    "product_shadow": Column(("productshadow", "shadow", "阴影")),
    "product_edges": Column(("productedges", "outline", "产品轮廓")),
    "strength": Column(("strength", "denoising", "denoisingstrength", "重绘幅度")),
    "upscale": Column(("upscale", "放大")),
    "format": Column(("format", "fileformat", "格式"), many=True),
}
WORDS: Mapping[str, str] = {word: name for name, column in COLUMNS.items() for word in column.words}
SPELLING = re.compile(r"[\s_\-./()（）]+")


def plain(heading: str) -> str:
    """'Control Image' and 'control_image' as one word."""
    return SPELLING.sub("", heading).casefold()
