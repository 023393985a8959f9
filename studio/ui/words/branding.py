"""What a brand file says beyond a request's fields, and how a training set is gone through."""

from __future__ import annotations

from collections.abc import Mapping

BRANDING: Mapping[str, tuple[str, str]] = {
    # fields of a brand file
    "kit_fonts": ("Fonts: {names}", "字体：{names}"),
    "kit_sizes": ("Sizes: {sizes}", "渠道尺寸：{sizes}"),
    "kit_policies": ("Policies: {names}", "策略：{names}"),
    "kit_samples": ("Sample pictures", "示例图片"),
    "kit_sample": ("Sample picture {name}", "示例图片 {name}"),
    "kit_add_samples": ("Add sample pictures", "添加示例图片"),
    "kit_add_logo": ("Add a logo (PNG)", "添加标志（PNG）"),
    "kit_added": (
        "{names} can be named in brand files now; Save keeps what was written into this one.",
        "{names} 已可在品牌文件中引用；点击保存以保留写入的内容。",
    ),
    "role_primary": ("primary", "主色"),
    "role_secondary": ("secondary", "辅色"),
    "role_accent": ("accent", "点缀色"),
    "role_neutral": ("neutral", "中性色"),
    "role_background": ("background", "背景色"),
    "policy_metadata_internal": ("downloads hold their settings", "下载保留生成参数"),
    "policy_metadata_client": ("downloads hold no settings", "下载不含生成参数"),
    "policy_mark_on": ("invisible mark in clients' copies", "客户副本带隐形水印"),
    "policy_mark_off": ("no invisible mark in clients' copies", "客户副本不带隐形水印"),
    "policy_protected_flag": ("protected pictures are flagged", "受保护图案：标记"),
    "policy_protected_blur": ("protected pictures are blurred", "受保护图案：模糊"),
    "policy_protected_block": ("protected pictures are blocked", "受保护图案：拦截"),
    "policy_safety_flag": ("unsafe pictures are flagged", "不当内容：标记"),
    "policy_safety_blur": ("unsafe pictures are blurred", "不当内容：模糊"),
    "policy_safety_block": ("unsafe pictures are blocked", "不当内容：拦截"),
    # training: the set
    "train_more": ("More settings", "更多设置"),
    "train_hold_out": ("Share held out", "留作评估的比例"),
    "train_hold_out_info": ("Never trained on; these pictures judge the rest.", "不参与训练，只用来评估。"),
    "train_repeats": ("Times an epoch shows each picture", "每轮每张图片的次数"),
    "train_repeats_info": ("Empty: as suits the set.", "留空则按图片数量自动决定。"),
    "train_prior": ("Kind of thing, for prior preservation", "类别词（先验保持）"),
    "train_prior_info": (
        "Such as “a mug”: the model keeps drawing others of the kind as it did. Takes twice the time.",
        "例如“a mug”：模型画同类其他物品时保持原样。用时加倍。",
    ),
    "train_prior_weight": ("Weight of the kind", "类别权重"),
    "train_prior_pictures": ("Pictures of the kind, made first", "先行生成的类别图片数"),
    "train_picture": ("Picture", "图片"),
    "train_caption": ("Caption: what is to be seen", "说明：画面里有什么"),
    "train_captioner": ("Model that writes captions", "说明文字模型"),
    "train_write": ("Write missing captions", "补写说明"),
    "train_written": ("{count} captions written …", "已写 {count} 条说明……"),
    "train_before": ("{name} before", "{name} 原图"),
    "train_after": ("{name} after", "{name} 裁切后"),
    "train_frame": ("{before} → {after}", "{before} → {after}"),
    "train_claims": (
        "Somebody says that these are theirs. Are they yours to train on?",
        "以下图片带有他人的权利声明，请确认可用于训练。",
    ),
    "train_marked": ("invisible mark of an image generator", "含图像生成器的隐形水印"),
    "train_signed": ("signed content credentials", "含签名的内容凭证"),
    "train_claimed": ("rights note", "含版权声明"),
}
