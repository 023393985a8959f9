"""All settings, read from the environment once (`STUDIO_*`), frozen from then on."""

from __future__ import annotations

import re
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from studio.catalog import BACKENDS
from studio.errors import BadRequest

UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
ROOT = Path(__file__).resolve().parent.parent


class Settings(BaseSettings):
    """Each field is `STUDIO_<NAME>`. `HOST` and `PORT` work too, as hosting tools set them."""

    model_config = SettingsConfigDict(
        env_prefix="STUDIO_", frozen=True, extra="ignore", populate_by_name=True
    )

    home: Path = Field(Path.home() / ".brand-studio", description="Library, uploads, added models and LoRAs.")
    database_url: str = Field(
        "", description="PostgreSQL database for jobs and rows; empty = a SQLite file in the home folder."
    )
    host: str = Field(
        "127.0.0.1", validation_alias=AliasChoices("STUDIO_HOST", "HOST"), description="Address to listen on."
    )
    port: int = Field(
        7860, ge=0, le=65535, validation_alias=AliasChoices("STUDIO_PORT", "PORT"),
        description="Port of the page and the API.",
    )
    model: str = Field("pocket", description="Model a request gets when neither it nor its preset names one.")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps.")
    backend: str = Field(
        "auto",
        description="float32 (exact), bfloat16, int8 (half the memory), openvino, openvino-int8; "
        "auto = what was fastest at first start.",
    )
    memory: str = Field("", description="For weights and activations, such as 4GiB; empty = what is free.")
    rows: int = Field(8, ge=1, le=64, description="Most UNet rows of one tick.")
    queue: int = Field(500, ge=1, description="Most jobs waiting; one more is answered 429.")
    user_jobs: int = Field(50, ge=1, description="Most jobs of one user waiting or running.")
    user_pixels: int = Field(20_000_000_000, ge=1, description="Most pixels a user may make within a day.")
    user_storage: int = Field(10 * 2**30, ge=1, description="Most bytes of a user's pictures and uploads.")
    disk_free: int = Field(
        2 * 2**30, ge=0,
        description="Bytes that must be free on the library's disk for a new job, or a twentieth of it.",
    )
    copies: int = Field(
        20 * 2**30, ge=0,
        description="Most bytes of weights kept a second time in the type they are computed in; 0 = none.",
    )
    download: Literal["internal", "client"] = Field(
        "internal", description="Downloaded pictures hold: internal = their settings too, client = pixels."
    )
    mark: bool = Field(True, description="Put an invisible mark into the copies that clients get.")
    organisation: str = Field(
        "Brand Studio", min_length=1, max_length=60, description="Who signs; set before the first start."
    )
    hang: int = Field(
        120, ge=1, description="Seconds without word or work until a worker that holds runs is replaced."
    )
    upload_bytes: int = Field(20 * 2**20, ge=1, description="Largest picture upload.")
    upload_pixels: int = Field(40_000_000, ge=1, description="Largest picture upload in pixels.")
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Host names besides localhost that the studio answers to; commas between them."
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Addresses or networks of reverse proxies whose X-Forwarded-For is believed."
    )
    insecure_lan: bool = Field(
        False, description="Listen on an address that others can reach, though nobody has to sign in."
    )
    review_host: str = Field("127.0.0.1", description="Address the clients' review room listens on.")
    review_port: int = Field(7870, ge=0, le=65535, description="Its port, or the next that is free.")
    review_url: str = Field("", description="How clients reach the room, where a proxy of yours leads there.")
    review_names: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Host names the room answers to besides localhost and its tunnels' names."
    )
    review_ssh: str = Field("", description="USER@SERVER[:PORT] for SSH tunnels to the room.")
    review_ssh_port: int = Field(7870, ge=0, le=65535, description="Port on that server that leads to it.")
    review_ssh_url: str = Field("", description="How clients reach that port; empty = http://SERVER:PORT.")
    review_ssh_key: str = Field("", description="Private key file for it; empty = the user's own keys.")
    review_known_hosts: str = Field("", description="File with that server's key; empty = the user's own.")
    webhook_private: bool = Field(False, description="Webhooks may lead into this machine's own network.")
    log: Literal["error", "warning", "info"] = Field(
        "warning", description="Least serious line that is logged; info adds one for each request."
    )
    executor: str = Field(
        "local", description="local (worker process), inline (this process), fake or fake:SECONDS (no model)."
    )

    @field_validator("allowed_hosts", "review_names", "trusted_proxies", mode="before")
    @classmethod
    def _split(cls, hosts: Any) -> Any:
        if not isinstance(hosts, str):
            return hosts
        return tuple(host.strip() for host in hosts.split(",") if host.strip())

    @property
    def memory_bytes(self) -> int:
        """What `memory` allows; 0 = whatever is free. Raises BadRequest."""
        return parse_bytes(self.memory) if self.memory else 0

    @field_validator("trusted_proxies")
    @classmethod
    def _addresses(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in proxies:
            ip_network(proxy, strict=False)  # raises ValueError, which names it
        return proxies

    @field_validator("backend")
    @classmethod
    def _known(cls, name: str) -> str:
        if name != "auto" and name not in BACKENDS:
            raise ValueError(f"not one of auto, {', '.join(BACKENDS)}")
        return name

    @property
    def models_dirs(self) -> tuple[Path, ...]:
        """Where models are looked for; the first one with a name wins."""
        return (self.home / "models", ROOT / "assets" / "models")

    @property
    def safety_checker(self) -> Path:
        return self.home / "models" / "safety-checker"

    @property
    def loras_dirs(self) -> tuple[Path, ...]:
        return (self.home / "loras", ROOT / "assets" / "loras")

    @property
    def presets_dirs(self) -> tuple[Path, ...]:
        return (self.home / "presets", ROOT / "presets")


def parse_bytes(text: str) -> int:
    """'4GiB', '4G', '4 gb' or '4096' -> bytes. Raises BadRequest."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)I?B?\s*", text.upper())
    if match is None:
        raise BadRequest(f"STUDIO_MEMORY: {text[:40]!r} is not a size.", hint="Write it as 4GiB or 800MiB.")
    return int(float(match[1]) * UNITS[match[2]])


def read_settings(**asked: Any) -> Settings:
    """From the environment, and over it `asked`. Raises BadRequest that names the variable at fault."""
    try:
        return Settings(**asked)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][-1]).upper() if first["loc"] else "A setting"
        name = name if name.startswith("STUDIO_") or name in ("HOST", "PORT") else f"STUDIO_{name}"
        said = f"{name} cannot be {first['input']!r}: {first['msg']}."
        raise BadRequest(said, code="bad_setting") from None
