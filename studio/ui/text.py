"""Every word of the page, English and 中文 side by side, so that neither can be forgotten."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

LANGUAGES: Mapping[str, str] = {"en": "English", "zh": "中文"}

WORDS: Mapping[str, tuple[str, str]] = {
    # the frame
    "title": ("Brand Studio", "品牌图像工作室"),
    "ready": ("Ready", "就绪"),
    "starting": ("Starting", "启动中"),
    "theme": ("Light or dark", "切换深浅色"),
    "preset": ("Brand preset", "品牌预设"),
    "no_preset": ("No preset", "不使用预设"),
    "tab_create": ("Create", "创作"),
    "tab_canny": ("Canny", "线稿控制"),
    "tab_schedulers": ("Schedulers", "采样器对比"),
    "tab_loras": ("LoRA styles", "LoRA 风格"),
    "tab_library": ("Library", "作品库"),
    "tab_system": ("System", "系统"),
    # the preset's note
    "preset_sets": ("{title} sets", "{title} 已设置"),
    "preset_none": (
        "No preset: the form starts from the model's own defaults.",
        "未使用预设：表单采用模型默认值。",
    ),
    "preset_frame": ("Words around yours: “{frame}”", "提示词框架：“{frame}”"),
    "preset_locks": ("Locked: {fields}", "已锁定：{fields}"),
    "field_model": ("model", "模型"),
    "field_negative_prompt": ("negative prompt", "反向提示词"),
    "field_scheduler": ("scheduler", "采样器"),
    "field_steps": ("steps", "步数"),
    "field_guidance": ("guidance", "引导强度"),
    "field_width": ("width", "宽度"),
    "field_height": ("height", "高度"),
    "field_loras": ("styles", "风格"),
    "field_background": ("background", "背景"),
    "locked_by": ("Locked by {title}", "已被 {title} 锁定"),
    # form
    "prompt": ("Prompt", "提示词"),
    "prompt_hint": (
        "a red sneaker on a blue background",
        "蓝色背景上的红色运动鞋",
    ),
    "tokens": ("{used} / {room} tokens", "{used} / {room} 个词元"),
    "tokens_many": (
        "{used} / {room} tokens, read in {chunks} parts",
        "{used} / {room} 个词元，分 {chunks} 段读取",
    ),
    "negative": ("Negative prompt", "反向提示词"),
    "negative_hint": ("what should not appear", "不希望出现的内容"),
    "size": ("Size · {width} × {height} px", "尺寸 · {width} × {height} 像素"),
    "count": ("Pictures", "张数"),
    "steps": ("Steps", "步数"),
    "steps_info": (
        "More steps, more time; {low}–{high} suit this scheduler.",
        "步数越多越慢；此采样器建议 {low}–{high} 步。",
    ),
    "guidance": ("Guidance", "引导强度"),
    "guidance_low": (
        "Most models like 7–15. This one was made for {default}.",
        "多数模型建议 7–15，本模型以 {default} 为宜。",
    ),
    "guidance_good": ("7–15 follows the prompt closely.", "7–15 能较好遵循提示词。"),
    "guidance_high": (
        "Above 15 colours grow harsh; 7–15 is advised.",
        "超过 15 颜色会变硬，建议 7–15。",
    ),
    "guidance_burn": (
        "⚠ Above 20 colours burn and shapes break. 7–15 is advised.",
        "⚠ 超过 20 颜色会过曝、形状会破坏，建议 7–15。",
    ),
    "scheduler": ("Scheduler", "采样器"),
    "seed": ("Seed", "随机种子"),
    "dice": ("New seed", "换一个种子"),
    "keep_seed": ("Keep this seed", "固定此种子"),
    "model": ("Model", "模型"),
    "styles": ("LoRA styles", "LoRA 风格"),
    "settings": ("More settings", "更多设置"),
    "generate": ("Generate", "生成"),
    "cancel": ("Cancel", "取消"),
    "keys": ("Ctrl + Enter runs, Esc stops", "Ctrl + Enter 运行，Esc 停止"),
    # stage
    "empty_title": ("What should the picture show?", "想要一张什么样的图？"),
    "empty_text": (
        "Say a thing, its colour and what it stands on. Start with one of these:",
        "写下物品、颜色和背景。可以从这些例子开始：",
    ),
    "queued": ("In line: {ahead} before this one", "排队中：前面还有 {ahead} 个任务"),
    "begins": ("Starting…", "即将开始…"),
    "step": ("Step {step} of {of}", "第 {step} 步，共 {of} 步"),
    "left": ("{seconds} s left", "剩余约 {seconds} 秒"),
    "finishing": ("Finishing…", "收尾中…"),
    "took": ("{seconds} s", "{seconds} 秒"),
    "stopped": ("Stopped. Finished pictures are kept.", "已停止，已完成的图片会保留。"),
    "problem": ("That did not work", "未能完成"),
    "fault": ("Something in the studio broke while it ran this.", "运行时工作室内部出错。"),
    "fault_hint": ("Try once more; the server's log has the details.", "请再试一次，详细信息见服务器日志。"),
    "seed_is": ("seed {seed}", "种子 {seed}"),
    "to_canny": ("Send to Canny", "送去线稿控制"),
    "vary": ("Vary", "变体"),
    "upscale": ("Upscale ×2", "放大 ×2"),
    "reuse": ("Reuse settings", "套用设置"),
    "copy": ("Copy settings", "复制设置"),
    "copied": ("Copied", "已复制"),
    "download": ("Download", "下载"),
    "history": ("Latest pictures", "最近作品"),
    "history_empty": ("Pictures you make line up here.", "生成的图片会排列在这里。"),
    # canny
    "canny_title": ("Keep the lines, change everything else", "保留线条，其余随心变化"),
    "canny_text": (
        "Give a picture on the left. Its edges appear here at once; then say what to draw along them.",
        "在左侧放入一张图片，这里会立刻显示线稿；再写下想沿线条绘制的内容。",
    ),
    "canny_none": (
        "This model has no canny ControlNet, so edges cannot guide it yet.",
        "当前模型没有 Canny ControlNet，暂时无法使用线稿控制。",
    ),
    "picture": ("Picture", "图片"),
    "drop": ("Drop or paste a picture", "拖入或粘贴图片"),
    "take_settings": (
        "Drop a picture anywhere to take its settings.",
        "将图片拖到此处任意位置即可读取其生成参数。",
    ),
    "taken": ("Settings taken from a {tool} picture.", "已读取 {tool} 图片的参数。"),
    "taken_not": ("Not to be had here:", "以下内容此处无法使用："),
    "choose": ("Choose a file", "选择文件"),
    "camera": ("Webcam", "摄像头"),
    "shoot": ("Take picture", "拍照"),
    "close": ("Close", "关闭"),
    "clear": ("Remove picture", "移除图片"),
    "sending": ("Reading the picture…", "读取图片中…"),
    "offline": ("The studio did not answer. Is it still running?", "工作室没有响应，它还在运行吗？"),
    "no_camera": ("No webcam can be used here.", "此处无法使用摄像头。"),
    "low": ("Low threshold", "低阈值"),
    "high": ("High threshold", "高阈值"),
    "canny_mine": ("Or begin with one of yours:", "也可以从你的作品开始："),
    "pixel_perfect": ("Pixel-perfect", "像素对齐"),
    "pixel_info": (
        "The result takes the picture's proportions, so no line is cropped.",
        "结果采用原图比例，线条不被裁切。",
    ),
    "scale": ("Strength of the lines", "线稿强度"),
    "start": ("From", "开始于"),
    "end": ("Until", "结束于"),
    "span_info": ("Share of the steps in which the lines act.", "线稿起作用的步数区间。"),
    "edges": ("Edges", "线稿"),
    "result": ("Result", "结果"),
    "handle": ("Compare: drag or use the arrow keys", "对比：拖动或使用方向键"),
    # schedulers
    "schedulers_title": ("One prompt, every scheduler", "同一提示词，对比所有采样器"),
    "schedulers_text": (
        "Pick schedulers and step counts. All run together with one seed, so only the scheduler differs.",
        "选择采样器与步数。全部使用同一种子一起运行，差异只来自采样器。",
    ),
    "pick_schedulers": ("Schedulers", "采样器"),
    "pick_steps": ("Step counts", "步数"),
    "compare": ("Compare {count}", "对比 {count} 张"),
    "compare_none": ("Pick a scheduler and a step count", "请选择采样器和步数"),
    "guide": ("What each is good for", "各采样器的特点"),
    "guide_name": ("Scheduler", "采样器"),
    "guide_steps": ("Steps", "建议步数"),
    "guide_use": ("Good for", "适用场景"),
    "cell_steps": ("{steps} steps", "{steps} 步"),
    # lora tab
    "loras_title": ("See what each style does", "看清每种风格的作用"),
    "loras_text": (
        "Stack styles on the left. One run draws the prompt without them, with each alone, and with all.",
        "在左侧叠加风格。一次运行会给出：无风格、单独风格、全部叠加的结果。",
    ),
    "loras_run": ("Compare off and on", "对比开与关"),
    "loras_off": ("Off", "关闭"),
    "loras_all": ("All", "全部"),
    "loras_shelf": ("Styles in this studio", "工作室中的风格"),
    "loras_empty": (
        "No LoRA files yet. Add one, or put files into the loras folder.",
        "还没有 LoRA 文件，可在此添加。",
    ),
    "add_lora": ("Add a .safetensors file", "添加 .safetensors 文件"),
    "added": ("Added {name}.", "已添加 {name}。"),
    "stack_add": ("Add a style…", "添加风格…"),
    "stack_none": ("No more styles", "没有更多风格"),
    "stack_remove": ("Remove", "移除"),
    "stack_weight": ("weight", "权重"),
    "stack_trigger": ("Trigger", "触发词"),
    "stack_budget": ("Strength {sum} of {limit} advised", "总强度 {sum}，建议不超过 {limit}"),
    "stack_over": (
        "Strength {sum}: above {limit} styles start to fight",
        "总强度 {sum}：超过 {limit} 风格会互相干扰",
    ),
    "refused": ("can't be used", "无法使用"),
    "stack_locked": ("Locked by the brand preset", "已被品牌预设锁定"),
    "base": ("Base", "基础模型"),
    "rank": ("Rank", "秩"),
    # library
    "search": ("Search", "搜索"),
    "search_hint": ("word of a prompt, model, seed…", "提示词、模型、种子…"),
    "show_trash": ("Show trash", "显示回收站"),
    "library_title": ("Every picture is kept here", "所有作品都在这里"),
    "library_text": (
        "Make one in Create and it appears by itself, with the settings that made it.",
        "在“创作”中生成图片后会自动出现，并附带生成设置。",
    ),
    "library_nothing": ("Nothing matches.", "没有匹配的图片。"),
    "trash_empty": ("The trash is empty.", "回收站是空的。"),
    "pick_one": ("Pick a picture to see its settings.", "点选图片查看其设置。"),
    "picture_settings": ("Settings of this picture", "此图片的设置"),
    "delete": ("Delete", "删除"),
    "undo": ("Undo", "撤销"),
    "restore": ("Restore", "恢复"),
    "deleted": ("Moved to the trash.", "已移入回收站。"),
    "restored": ("Back in the library.", "已恢复到作品库。"),
    "more": ("Show more", "加载更多"),
    # system
    "worker": ("Worker", "计算进程"),
    "device": ("Device", "设备"),
    "dtype": ("Number format", "数值格式"),
    "memory": ("Memory in use", "内存占用"),
    "resident": ("Models in memory", "驻留模型"),
    "adapters": ("LoRAs in memory", "驻留 LoRA"),
    "rows": ("Rows per tick", "每拍行数"),
    "queue": ("Queue", "队列"),
    "queue_is": ("{queued} waiting, {running} running", "等待 {queued}，运行 {running}"),
    "trashed": ("In the trash", "回收站"),
    "no_model": ("No model yet", "尚无模型"),
    "pictures": ("Pictures kept", "作品数"),
    "versions": ("Versions", "版本"),
    "models": ("Models", "模型"),
    "nothing": ("none", "无"),
    "recent": ("Latest jobs", "最近任务"),
    "state_queued": ("waiting", "等待中"),
    "state_running": ("running", "运行中"),
    "state_completed": ("done", "完成"),
    "state_failed": ("failed", "失败"),
    "state_cancelled": ("stopped", "已停止"),
}


@dataclass(frozen=True)
class Text:
    """The page's words in one language: `text("left", seconds=3)`."""

    language: str

    def __call__(self, key: str, **figures: object) -> str:
        sentence = WORDS[key][self.language == "zh"]
        return sentence.format(**figures) if figures else sentence

    def pick(self, english: str, chinese: str) -> str:
        """The right one of a catalog row's two sentences."""
        return chinese if self.language == "zh" else english
