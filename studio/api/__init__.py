"""REST, health, walls: `web` makes the app; `taken` takes the port, `serve` runs the app on it."""

from studio.api.app import web
from studio.api.server import read_settings, say, serve, taken

__all__ = ["read_settings", "say", "serve", "taken", "web"]
