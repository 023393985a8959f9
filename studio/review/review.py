"""Review: every verb the studio has for its clients' room, with the room's process behind it."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from studio.errors import Conflict
from studio.people import may_see
from studio.review import links, package
from studio.review.copies import Give
from studio.review.darkroom import Darkroom
from studio.review.keeper import Keeper, kept_elsewhere, room_address, wait_for_room
from studio.review.links import Chosen, Links, LinkView, ShareRequest, Verdict, no_link
from studio.review.serve import ADDRESS
from studio.review.serve import TUNNELS as TUNNEL_NOTE
from studio.review.store import Link, Said
from studio.review.tunnels import TUNNELS, TunnelSettings
from studio.settings import Settings

PATIENCE = 1.0  # s that sharing waits for the copies; most links have them by then


class Review:
    """Thread-safe. `start` lets a thread keep the room running; without it links are only written down."""

    def __init__(self, settings: Settings, give: Give | None = None) -> None:
        """`give`: pictures by library id, as people outside may have them; None where none are shared."""
        self.links = Links(settings.home / "review", settings.home / "review.key")
        self._url = settings.review_url.rstrip("/")
        self._host, self._port = settings.review_host, settings.review_port  # until a room says its own
        asked = TunnelSettings(
            cache=settings.home / "tunnel-programs", ssh=settings.review_ssh,
            ssh_port=settings.review_ssh_port, ssh_url=settings.review_ssh_url.rstrip("/"),
            ssh_key=settings.review_ssh_key, known_hosts=settings.review_known_hosts,
        )  # fmt: skip
        tunnels = {kind: partial(make, asked) for kind, make in TUNNELS.items()}
        self.keeper = Keeper(
            self.links, settings.review_host, settings.review_port, settings.review_names, self._url, tunnels
        )
        self._darkroom = Darkroom(self.links, give)
        self._started = False

    def start(self) -> None:
        self._started = True
        self._darkroom.start()
        self.keeper.start()

    def close(self) -> None:
        self.keeper.close()
        self._darkroom.close()
        self.links.close()

    # --- links ---

    def share(
        self, request: ShareRequest, chosen: Sequence[Chosen], brand: Mapping[str, Any], by: str = ""
    ) -> LinkView:
        """Returns when the link can be opened; of many pictures some may still be being copied then.

        Raises NotReady where the room does not come up.
        """
        link = self.links.share(request, chosen, brand, by)
        self.ready()
        self._darkroom.develop(link.id, PATIENCE)
        return self.view(link)

    def ready(self) -> bool:
        """Waits for the room where a studio keeps one, this or another. False: nobody does."""
        if not self._started and not kept_elsewhere(self.links):
            return room_address(self.links) is not None
        self.keeper.wake()
        wait_for_room(self.links)
        return True

    def all(self) -> list[LinkView]:
        """One's own, newest first, ended ones too."""
        return [self.view(link) for link in self.links.all() if may_see(link.owner)]

    def get(self, id: str) -> LinkView:
        """Raises NotFound (`link_not_found`), also for somebody else's."""
        return self.view(self._own(id))

    def _own(self, id: str) -> Link:
        link = self.links.get(id)
        if not may_see(link.owner):
            raise no_link()
        return link

    def address(self, id: str) -> str:
        """Raises Conflict for a link that has ended."""
        url = self.get(id).url
        if not url:
            raise Conflict("The link has ended.", hint="Extend it first, or share the pictures again.")
        return url

    def revoke(self, id: str, by: str = "") -> LinkView:
        self.links.revoke(self._own(id).id, by)
        self.keeper.wake()
        return self.get(id)

    def extend(self, id: str, expires: float, by: str = "") -> LinkView:
        self.links.extend(self._own(id).id, expires, by)
        self.keeper.wake()
        return self.get(id)

    def carry(self, id: str, tunnel: str | None) -> LinkView:
        """Opens a tunnel for the link, or lets go of it."""
        self.links.carry(self._own(id).id, tunnel)
        self.keeper.wake()
        return self.get(id)

    def view(self, link: Link) -> LinkView:
        store = self.links.store
        tunnel = store.note(TUNNEL_NOTE).get(link.tunnel or "", {})
        visits = store.visits().get(link.id, (0, None))
        url = f"{self._base(tunnel)}/r/{self.links.token(link.id)}"
        rows = store.copies(link.id)
        prepared = sum(store.made(copy) for copy in rows)
        return links.view(link, rows, store.said(link.id), visits, url, tunnel, prepared)

    def _base(self, tunnel: Mapping[str, Any]) -> str:
        """Where a link begins: its open tunnel, else the address that was set, else this machine's own."""
        if tunnel.get("url"):
            return str(tunnel["url"]).rstrip("/")
        if self._url:
            return self._url
        note = self.links.store.note(ADDRESS)
        host, port = note.get("host", self._host), note.get("port", self._port)
        if host in ("0.0.0.0", "::"):
            host = own_address()
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    # --- what clients said ---

    def trail(self, id: str | None = None, after: int = 0) -> list[Said]:
        """The audit trail of a link, or of all of one's own, oldest first, of lines past number `after`."""
        mine = {link.id for link in self.links.all() if may_see(link.owner)}
        return [line for line in self.links.trail(id, after) if line.link in mine]

    def verdicts(self) -> dict[str, Verdict]:
        """By library id."""
        return self.links.verdicts(self.trail())

    # --- without a connection ---

    def package(self, id: str, language: str = "en") -> bytes:
        """ZIP with the room as one HTML file. Raises Conflict for a link that has ended or is not ready."""
        return package.pack(self.links, self._own(id).id, language)

    def take_in(self, data: bytes) -> int:
        """Lines of a package's feedback file that are new. Raises BadRequest, NotFound."""
        return package.take_in(self.links, data)


def own_address() -> str:
    """This machine's address in its own network; nothing is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address kept for documents; UDP only looks up the way
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"
