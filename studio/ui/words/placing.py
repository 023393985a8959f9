"""The customer's product in a scene, and what is behind a subject."""

from __future__ import annotations

from collections.abc import Mapping

PLACING: Mapping[str, tuple[str, str]] = {
    "product_title": ("Product and background", "产品与背景"),
    "product_info": (
        "Send your product transparent or on a plain ground: its own pixels stand in the scene. "
        "Describe the scene, not the product.",
        "上传透明或纯色背景的产品图，产品会以原始像素合成到场景中。提示词只需描述场景，不必描述产品。",
    ),
    "product_x": ("Middle, from the left", "水平位置"),
    "product_y": ("Base, from the top", "底边高度"),
    "product_width": ("Width, of the picture", "宽度（占画面比例）"),
    "product_edge": ("Edge blend, px", "边缘融合（像素）"),
    "product_shadow": ("Shadow, 0 is off", "阴影（0 为关闭）"),
    "product_edges": ("Its outline guides the scene (Canny)", "用产品轮廓引导场景（Canny）"),
    "ground": ("Background", "背景"),
    "ground_info": (
        "Plain and transparent cut the subject out: ask for a plain background in the prompt.",
        "“纯色”和“透明”会抠出主体：请在提示词中写明纯色背景。",
    ),
    "ground_scene": ("Scene", "场景"),
    "ground_plain": ("Plain", "纯色"),
    "ground_transparent": ("Transparent", "透明"),
    "noted_product_own_size": ("the product has no more pixels", "产品图像素不足，按原尺寸放置"),
    "noted_product_fitted": ("the product was made smaller to fit", "产品已缩小以放入画面"),
    "noted_ground_not_plain": ("the background was not plain: look at the rim", "背景不够纯净，请检查边缘"),
    "noted_no_subject": ("nothing could be cut out", "未能抠出主体"),
    "ground_colour": ("Colour; empty: the brand's lightest", "颜色（留空则用品牌最浅色）"),
}
