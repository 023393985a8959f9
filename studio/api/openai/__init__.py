"""OpenAI's images API (`/v1/images`, `/v1/models`), so that its clients work unchanged."""

from studio.api.openai.routes import add_openai

__all__ = ["add_openai"]
