"""What the lights of `rules.py` say, in English and Chinese; figures stand in braces."""

from __future__ import annotations

from collections.abc import Mapping

REASONS: Mapping[str, tuple[str, str]] = {
    "words_none": ("No words are banned or required.", "未设禁用词或必含词。"),
    "words_kept": (
        "Keeps to the banned and required words, {rules} in all.",
        "符合全部 {rules} 个禁用词与必含词规则。",
    ),
    "words_open": (
        "{drawn} prompts drawn on trial keep to the banned and required words, {rules} in all.",
        "试抽 {drawn} 个提示词，均符合全部 {rules} 个禁用词与必含词规则。",
    ),
    "words_banned": ("Says {said}, which is banned.", "含禁用词 {said}。"),
    "words_missing": ("Lacks {lacks}.", "缺少必含词 {lacks}。"),
    "words_banned_some": (
        "{refused} of {drawn} prompts drawn on trial are refused: they say {said}.",
        "试抽 {drawn} 个提示词，{refused} 个因含 {said} 被拒。",
    ),
    "words_missing_some": (
        "{refused} of {drawn} prompts drawn on trial are refused: they lack {lacks}.",
        "试抽 {drawn} 个提示词，{refused} 个因缺少 {lacks} 被拒。",
    ),
    "size_none": ("The brand names no sizes.", "品牌未规定尺寸。"),
    "size_fits": (
        "{width} × {height} px is the size for {channels}.",
        "{width} × {height} 像素，符合 {channels}。",
    ),
    "size_shape": (
        "{width} × {height} px has the shape of {channels}, not the size.",
        "{width} × {height} 像素，与 {channels} 比例相同，尺寸不同。",
    ),
    "size_other": (
        "{width} × {height} px is none of the brand's sizes: {channels}.",
        "{width} × {height} 像素不在品牌尺寸之内：{channels}。",
    ),
    "logo_none": ("The brand has no logo.", "品牌没有标志。"),
    "logo_transparent": ("Transparent pictures bear no logo.", "透明背景图片不放置标志。"),
    "logo_missing": ("The logo's file is missing or unreadable.", "标志文件缺失或无法读取。"),
    "logo_left_out": (
        "Left out: it would be {wanted} px wide; below {least} px nobody can read it.",
        "不放置：宽仅 {wanted} 像素，小于 {least} 像素无法辨认。",
    ),
    "logo_squeezed": (
        "Its clear space leaves {width} px of width; below {least} px nobody can read it.",
        "留白后宽仅 {width} 像素，小于 {least} 像素无法辨认。",
    ),
    "logo_smaller": (
        "Drawn {width} px wide instead of {wanted}: its file or its clear space allows no more.",
        "宽 {width} 像素，应为 {wanted}：受文件尺寸或留白所限。",
    ),
    "logo_fits": (
        "Fits: {width} px wide with {space} px of clear space.",
        "可放置：宽 {width} 像素，留白 {space} 像素。",
    ),
    "logo_free": (
        "Free: contrast {contrast} to 1, edges on {edges} % of the ground with {space} px around it.",
        "留白干净：对比度 {contrast}:1，含四周 {space} 像素内边缘占 {edges}%。",
    ),
    "logo_free_foreseen": (
        "Fits, and what guides the picture has edges on {edges} % of the ground there.",
        "可放置；引导图在该处边缘占 {edges}%。",
    ),
    "logo_busy": (
        "Not free: edges on {edges} % of its ground, with {space} px around it.",
        "留白不干净：含四周 {space} 像素内边缘占 {edges}%。",
    ),
    "logo_faint": (
        "Hard to see: contrast {contrast} to 1 at its worst.",
        "难以看清：最低对比度 {contrast}:1。",
    ),
    "safe_unknown": (
        "Measured in the finished picture; nothing guides this one before.",
        "生成后测量；此前没有引导图可供判断。",
    ),
    "safe_free": (
        "At most {edges} % of the outer {margin} % of a side lies on edges.",
        "各边外侧 {margin}% 内，边缘最多占 {edges}%。",
    ),
    "safe_busy": (
        "{edges} % of the outer {margin} % on the {side} lies on edges: something may be cut off there.",
        "{side_zh}侧外缘 {margin}% 内，边缘占 {edges}%，可能有内容被裁切。",
    ),
    "safe_all_round": (
        "All four sides lie on edges, up to {edges} % of the outer {margin} %: a frame, or a full picture.",
        "四边外缘 {margin}% 内均有边缘，最多占 {edges}%：可能是边框或画面过满。",
    ),
    "palette_none": ("The brand has no palette.", "品牌没有配色。"),
    "palette_near": ("Score {score} of 100; {good} is near enough.", "得分 {score}/100，达到 {good}。"),
    "palette_far": (
        "Score {score} of 100; {good} is near enough, below {least} it is another palette.",
        "得分 {score}/100，应达到 {good}，低于 {least} 视为偏离配色。",
    ),
    "protected_off": ("Not looked for: no picture is protected.", "未检查：没有受保护的图片。"),
    "protected_clean": ("None of {looked_for} was found.", "{looked_for} 个受保护图片均未出现。"),
    "protected_found": ("Found {names}, and nothing was done about it.", "发现 {names}，未作处理。"),
    "protected_blurred": ("Found {names}; the place is blurred.", "发现 {names}，已模糊处理。"),
    "protected_blocked": ("Found {names}; the picture is blocked.", "发现 {names}，图片已屏蔽。"),
    "safety_off": ("Not looked for: no safety checker is installed.", "未检查：未安装安全检查模型。"),
    "safety_clean": ("The safety checker found nothing.", "安全检查未发现问题。"),
    "safety_found": (
        "The safety checker found {names}; nothing was done.",
        "安全检查发现 {names}，未作处理。",
    ),
    "safety_blurred": ("The safety checker found {names}; blurred.", "安全检查发现 {names}，已模糊处理。"),
    "safety_blocked": ("The safety checker found {names}; blocked.", "安全检查发现 {names}，图片已屏蔽。"),
    "mark_on": ("Copies for clients are marked and signed.", "客户副本带隐形标记与签名。"),
    "mark_small": (
        "Too small for the invisible mark; copies for clients are signed only.",
        "图片过小，无法加隐形标记；客户副本仅签名。",
    ),
    "mark_off": (
        "Invisible marks are switched off; copies for clients are signed only.",
        "隐形标记已关闭；客户副本仅签名。",
    ),
    "mark_no_mark": ("The brand wants no invisible mark.", "品牌不使用隐形标记。"),
}
