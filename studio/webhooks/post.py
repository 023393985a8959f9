"""One POST to an address a user gave, without letting it lead into our own network.

The name is looked up once, every address it has is judged, and the connection goes to one of the judged ones:
a name that answers differently a moment later (DNS rebinding) changes nothing. Redirects are not followed.
"""

from __future__ import annotations

import http.client
import ipaddress
import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from studio.errors import BadRequest

TIMEOUT = 10.0  # s for each step of a delivery
MOST = 64 * 2**10  # bytes of an answer that are read
LONGEST = 2000  # characters of an address
_HOST = re.compile(r"[A-Za-z0-9.:_-]{1,255}")
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class Target:
    """`ip`: judged. `path`: with its query."""

    scheme: str
    host: str
    port: int
    path: str
    ip: str


def target_of(url: str, private: bool) -> Target:
    """Raises BadRequest (`url_not_allowed`); its words never tell what a name leads to."""
    scheme, host, port, path = parts_of(url)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        raise refused("The address's host cannot be found.") from None
    addresses = [str(row[4][0]).partition("%")[0] for row in found]
    if not private and not all(is_public(ipaddress.ip_address(one)) for one in addresses):
        raise refused("The address leads to a network that is not public.")
    return Target(scheme, host, port, path, addresses[0])


def parts_of(url: str) -> tuple[str, str, int, str]:
    """(scheme, host, port, path). Raises BadRequest."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise refused("The address cannot be read.") from None
    plain = url.isascii() and url.isprintable() and " " not in url and len(url) <= LONGEST
    if parts.scheme not in ("http", "https") or not plain or "@" in parts.netloc or not _HOST.fullmatch(host):
        raise refused("The address is no http or https URL without a user name.")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return parts.scheme, host, port or (443 if parts.scheme == "https" else 80), path


def refused(message: str) -> BadRequest:
    return BadRequest(
        message, hint="Give a public address; an owner may allow others: STUDIO_WEBHOOK_PRIVATE=1.",
        field="url", code="url_not_allowed",
    )  # fmt: skip


def is_public(address: Address) -> bool:
    """Also for IPv4 addresses wrapped into IPv6 ones."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if address.teredo is not None:
            return False
        if inner is not None:
            return is_public(inner)
    return address.is_global and not address.is_multicast


def post(target: Target, body: bytes, headers: Mapping[str, str]) -> int:
    """The answer's status. Raises OSError, HTTPException."""
    line = http.client.HTTPConnection(target.host, target.port, timeout=TIMEOUT)
    line.sock = socket.create_connection((target.ip, target.port), TIMEOUT)
    try:
        if target.scheme == "https":
            line.sock = ssl.create_default_context().wrap_socket(line.sock, server_hostname=target.host)
        default = 443 if target.scheme == "https" else 80
        name = f"[{target.host}]" if ":" in target.host else target.host
        host = name if target.port == default else f"{name}:{target.port}"
        line.request("POST", target.path, body, {**headers, "Host": host})
        answer = line.getresponse()
        answer.read(MOST)
        return answer.status
    finally:
        line.close()
