"""A brand's rules as lights, prompts that are drawn, prompt matrices."""

from __future__ import annotations

from collections.abc import Mapping

RULING: Mapping[str, tuple[str, str]] = {
    "rules_before": ("Brand rules", "品牌规则"),
    "rules_after": ("Brand rules · this picture", "品牌规则 · 此图"),
    "rules_green": ("kept", "符合"),
    "rules_amber": ("to look at", "需留意"),
    "rules_red": ("broken", "不符合"),
    "rules_off": ("not checked", "未检查"),
    "rules_nothing": ("nothing to hold it against", "没有可核对的规则"),
    # wildcards
    "draws_now": ("This seed draws “{text}”.", "此种子抽到“{text}”。"),
    "draws_each": (
        "Each picture draws its own, for example “{text}”.",
        "每张图各自抽取，例如“{text}”。",
    ),
    "draws_files": ("Wildcard files: {names}", "通配符文件：{names}"),
    "draws_no_files": (
        "No wildcard files yet: text files, one value a line, in the folder wildcards of the studio's home.",
        "暂无通配符文件：请将文本文件（每行一项）放入工作室主目录的 wildcards 文件夹。",
    ),
    # grids
    "grid": ("Compare: grid of pictures", "对比：图片网格"),
    "axis": ("{name} axis", "{name} 轴"),
    "axis_none": ("Nothing", "无"),
    "axis_prompt": ("Prompt: first text replaced by each", "提示词：逐一替换首个文本"),
    "axis_scheduler": ("Scheduler", "采样器"),
    "axis_steps": ("Steps", "步数"),
    "axis_guidance": ("Guidance", "引导强度"),
    "axis_seed": ("Seed", "随机种子"),
    "axis_size": ("Size", "尺寸"),
    "axis_strength": ("Denoising strength", "重绘强度"),
    "axis_model": ("Model", "模型"),
    "axis_preset": ("Brand preset", "品牌预设"),
    "axis_values": ("Values, with commas between", "取值，以逗号分隔"),
    "axis_values_x": ("10, 20, 30", "10, 20, 30"),
    "axis_values_y": ("ddim, euler-ancestral", "ddim, euler-ancestral"),
    "axis_values_z": ("0-1 [3]", "0-1 [3]"),
    "matrix": ("Prompt matrix", "提示词矩阵"),
    "matrix_info": (
        "a red mug | on a table | at night: every combination, on one labelled sheet",
        "红色杯子 | 在桌上 | 夜晚：生成全部组合，并拼成一张带标注的图",
    ),
    "matrix_running": ("{done} of {of} pictures", "已完成 {done} / {of} 张"),
    "matrix_done": (
        "{of} combinations · also under Campaign, with each picture",
        "{of} 种组合 · 单张图片见“批量活动”",
    ),
    "matrix_lost": (
        "{lost} of {of} could not be made: see Campaign.",
        "{of} 张中有 {lost} 张未能生成，见“批量活动”。",
    ),
}
