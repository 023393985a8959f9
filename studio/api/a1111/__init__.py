"""AUTOMATIC1111's web API (`/sdapi/v1`, `/controlnet`), so that its clients and plug-ins work unchanged."""

from studio.api.a1111.routes import add_a1111

__all__ = ["add_a1111"]
