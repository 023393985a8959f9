"""REST, health, walls: `web` makes the app; `taken` takes the port, `serve` runs the app on it."""

from studio.api.app import web
from studio.api.server import read_options, say, serve, taken

__all__ = ["read_options", "say", "serve", "taken", "web"]
