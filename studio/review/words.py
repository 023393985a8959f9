"""Every word of the room, English and 中文 side by side."""

from __future__ import annotations

from collections.abc import Mapping

LANGUAGES: Mapping[str, str] = {"en": "English", "zh": "中文"}

WORDS: Mapping[str, tuple[str, str]] = {
    "for_review": ("For your review", "请您审阅"),
    "untitled": ("Pictures for review", "待审阅图片"),
    "ends": ("Open until {when} UTC", "开放至 {when}（UTC）"),
    "coming": ("Being prepared: {count}", "正在准备：{count} 张"),
    "count": ("Pictures: {count}", "图片：{count} 张"),
    "skip": ("Skip to the pictures", "跳到图片"),
    "language": ("Language", "语言"),
    "who": ("Who is looking?", "请问您是？"),
    "who_text": (
        "Your name stands beside what you approve and write. Everyone with this link sees it.",
        "您的名字会显示在审批和评论旁，持有此链接的人均可看到。",
    ),
    "name": ("Your name", "您的名字"),
    "start": ("Start", "开始"),
    "as": ("You are", "您是"),
    "other_name": ("Change name", "更改名字"),
    "name_first": ("Enter your name to approve or comment", "填写名字后即可审批或评论"),
    "picture": ("Picture {item}", "图片 {item}"),
    "version": ("Version {version}", "版本 {version}"),
    "approve": ("Approve", "通过"),
    "reject": ("Reject", "不通过"),
    "approved_by": ("Approved by", "已通过："),
    "rejected_by": ("Rejected by", "未通过："),
    "you_approved": ("Approved. Take it back", "已通过，点此撤回"),
    "you_rejected": ("Rejected. Take it back", "未通过，点此撤回"),
    "comments": ("Comments", "评论"),
    "comment": ("Comment", "评论"),
    "comment_hint": ("What should change, what should stay?", "哪里要改，哪里保留？"),
    "send": ("Send", "发送"),
    "pin": ("Pin to a spot", "标注位置"),
    "pin_help": (
        "Tap the spot on the picture, or move the mark with the arrow keys and press Enter.",
        "点击图片上的位置，或用方向键移动标记后按回车。",
    ),
    "pin_set": ("Pinned. Now write your comment.", "已标注，请填写评论。"),
    "pin_off": ("Remove pin", "取消标注"),
    "pinned": ("Pin {number}", "标注 {number}"),
    "no_comments": ("No comments yet.", "暂无评论。"),
    "download": ("Download", "下载"),
    "compare": ("Compare", "对比"),
    "compare_title": ("Compare two pictures", "对比两张图片"),
    "compare_versions": ("Compare versions", "对比版本"),
    "left": ("Left", "左"),
    "right": ("Right", "右"),
    "show": ("Show", "显示"),
    "handle": ("Move the divider", "移动分割线"),
    "back": ("Back to all pictures", "返回全部图片"),
    "pin_title": ("This link asks for a PIN", "此链接需要 PIN 码"),
    "pin_text": (
        "Whoever sent you the link has it. Your browser must accept one cookie.",
        "请向链接发送者获取。浏览器需允许一个 Cookie。",
    ),
    "pin_label": ("PIN", "PIN 码"),
    "open": ("Open", "打开"),
    "pin_wrong": ("That PIN is not right.", "PIN 码不正确。"),
    "pin_wait": (
        "Too many tries. Try again in {seconds} s.",
        "尝试次数过多，请在 {seconds} 秒后重试。",
    ),
    "saving": ("Save feedback to a file", "保存反馈文件"),
    "saving_text": (
        "This page works without internet. When you are done, save your feedback and send the file back.",
        "此页面可离线使用。完成后请保存反馈文件并发回。",
    ),
    "needs_script": (
        "To approve or comment in this file, allow JavaScript.",
        "如需在此文件中审批或评论，请启用 JavaScript。",
    ),
}


class Text:
    """The room's words in one language: `text("version", version=2)`."""

    def __init__(self, language: str) -> None:
        self.language = language if language in LANGUAGES else "en"

    def __call__(self, key: str, **figures: object) -> str:
        sentence = WORDS[key][self.language == "zh"]
        return sentence.format(**figures) if figures else sentence

    def all(self) -> list[tuple[str, str]]:
        return list(LANGUAGES.items())

    def of(self, both: Mapping[str, str]) -> str:
        """A text a brand has in both languages, or in one."""
        return str(both.get(self.language) or both.get("en") or next(iter(both.values()), ""))


def spoken(accept: str) -> str:
    """The language that an Accept-Language header puts first among ours."""
    for part in accept.split(",")[:20]:
        head = part.partition(";")[0].strip().lower().partition("-")[0]
        if head in LANGUAGES:
            return head
    return "en"
