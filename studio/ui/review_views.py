"""What the Review tab draws: chosen pictures, what a client will see, links, what clients said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from studio.review.links import LinkView, Verdict
from studio.review.qr import qr
from studio.review.store import Said
from studio.schema import ImageRow
from studio.ui.html import Markup, data_uri, element, join, picture_url
from studio.ui.stage import act
from studio.ui.text import Text

LINES = 60  # of a trail, newest first
SIGNS = {"approved": "✓", "rejected": "✕", "commented": "…"}


def tray(t: Text, chosen: Sequence[ImageRow]) -> Markup:
    if not chosen:
        return element("p", t("review_none"), class_="caption")
    tiles = [
        element(
            "div",
            element("img", src=picture_url(image.id), alt=image.request.prompt),
            element(
                "button", "×", type="button", class_="tiny", data_act="drop", data_id=image.id,
                aria_label=t("review_drop"),
            ),
            class_="held",
        )
        for image in chosen
    ]  # fmt: skip
    return element("div", *tiles, class_="tray")


def promise(t: Text, count: int, days: str, pin: str, download: str, tunnel: str) -> Markup:
    """In plain words: what whoever has the link sees, and what not."""
    lines = [
        t("review_sees", count=count),
        t("review_hidden"),
        t("review_copy") if download == "copy" else t("review_look"),
        t("review_with_pin") if pin else t("review_without_pin"),
        t("review_internet") if tunnel else t("review_network"),
        t("review_until", time=days),
    ]
    return element("ul", *[element("li", line) for line in lines], class_="promise")


def links(t: Text, found: Sequence[LinkView], chosen: str) -> Markup:
    live = [link for link in found if link.state == "live"]
    ended = [link for link in found if link.state != "live"]
    if not found:
        return element(
            "section", element("h2", t("review_title")), element("p", t("review_text")), class_="empty"
        )
    parts = [card(t, link, link.id == chosen) for link in live]
    if not live:
        parts.append(element("p", t("review_no_live"), class_="caption"))
    if ended:
        rows = [card(t, link, link.id == chosen) for link in ended]
        summary = element("summary", t("review_ended", count=len(ended)))
        parts.append(element("details", summary, *rows, open=any(link.id == chosen for link in ended)))
    return element("div", *parts, class_="links")


def card(t: Text, link: LinkView, chosen: bool) -> Markup:
    live, coming = link.state == "live", len(link.images) - link.prepared
    facts = [
        t("review_pictures", count=len(link.images)),
        t("review_coming", count=coming) if live and coming else None,
        t("review_until", time=moment(link.expires)) if live else STATES[link.state](t),
        t("review_viewers", count=link.viewers),
        t("review_last", time=moment(link.last_visit)) if link.last_visit else None,
        t("review_pin_set") if link.pin else None,
    ]
    tally = f"✓ {link.approved}   ✕ {link.rejected}   … {link.comments}"
    address = element(
        "input", value=link.url, readonly=True, class_="address", aria_label=t("review_address")
    )
    copy = element(
        "button", t("review_copy_link"), type="button", class_="soft", data_copy=link.url,
        data_done=t("copied"),
    )  # fmt: skip
    return element(
        "section",
        element("h3", link.title or t("review_untitled"), element("span", tally, class_="tally")),
        element("div", address, copy, class_="line-of") if live else None,
        element("p", " · ".join(fact for fact in facts if fact), class_="caption"),
        tunnel_line(t, link) if live and link.tunnel else None,
        element("div", verbs(t, link), class_="acts"),
        class_="link-card",
        data_link=link.id,
        aria_current="true" if chosen else None,
    )


STATES = {"expired": lambda t: t("review_expired"), "revoked": lambda t: t("review_revoked")}


def verbs(t: Text, link: LinkView) -> Markup:
    live = link.state == "live"
    package = element(
        "a", t("review_package"), href=f"/api/v1/review/links/{link.id}/package?language={t.language}",
        download=f"review-{link.id}.zip", class_="soft",
    )  # fmt: skip
    return join(
        act(t("review_show"), "show", link.id),
        act(t("review_extend"), "extend", link.id) if link.state != "revoked" else None,
        package if live else None,
        act(t("review_revoke"), "revoke", link.id) if live else None,
    )


def tunnel_line(t: Text, link: LinkView) -> Markup:
    said = {"open": t("review_open"), "opening": t("review_opening"), "broken": t("review_broken")}
    words = said.get(link.tunnel_state, t("review_opening"))
    problem = f" {link.tunnel_problem}" if link.tunnel_problem else ""
    return element("p", element("b", words), problem, class_=f"tunnel {link.tunnel_state}", role="status")


def detail(t: Text, link: LinkView, trail: Sequence[Said]) -> Markup:
    """QR code and trail of one link, newest line first."""
    code = None
    if link.url:
        picture = element("img", src=data_uri(qr(link.url), "image/png"), alt=t("review_qr"))
        code = element("div", picture, element("p", t("review_scan"), class_="caption"), class_="code")
    lines = [line(t, said) for said in reversed(trail)][:LINES]
    return element(
        "section",
        element("h3", link.title or t("review_untitled")),
        code,
        element("ol", *lines, class_="trail"),
        class_="link-detail",
        data_link=link.id,
    )


def line(t: Text, said: Said) -> Markup:
    kinds = {
        "shared": t("review_did_share"), "extended": t("review_did_extend"),
        "revoked": t("review_did_revoke"), "opened": t("review_did_open"),
        "named": t("review_did_name"), "pin_refused": t("review_did_fail"),
        "downloaded": t("review_did_download"), "imported": t("review_did_import"),
        "approved": t("review_did_approve"), "rejected": t("review_did_reject"),
        "withdrew": t("review_did_withdraw"), "comment": t("review_did_comment"),
    }  # fmt: skip
    spot = f" ({said.x:.0%}, {said.y:.0%})" if said.x is not None and said.y is not None else ""
    picture = element("img", src=picture_url(said.source), alt="", loading="lazy") if said.source else None
    what = f" {kinds[said.kind]}{spot} · {moment(said.at)}"
    return element(
        "li",
        picture,
        element(
            "div",
            element("p", element("b", element("bdi", said.name or "—")), what),
            element("p", said.text, class_="words", dir="auto") if said.kind == "comment" else None,
        ),
        class_=f"kind-{said.kind}",
    )


def badge(t: Text, verdict: Verdict | None) -> Markup | None:
    """On a picture of the library: what clients think of it."""
    if verdict is None or not verdict.state:
        return None
    names = ", ".join(verdict.rejected or verdict.approved) or str(verdict.comments)
    words = {
        "approved": t("review_did_approve"), "rejected": t("review_did_reject"),
        "commented": t("review_did_comment"),
    }  # fmt: skip
    text = f"{names}: {words[verdict.state]}"
    sign = SIGNS[verdict.state] if verdict.state != "commented" else f"{verdict.comments}"
    return element("span", sign, class_=f"verdict {verdict.state}", title=text, role="img", aria_label=text)


def counted(found: Mapping[str, Verdict], state: str) -> list[str]:
    """Library ids whose verdict is `state`, those spoken of last first."""
    ids = [id for id, verdict in found.items() if verdict.state == state]
    return sorted(ids, key=lambda id: -found[id].last)


def moment(at: float) -> str:
    """UTC, to the minute."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"
