"""The page: `build` makes it, `mount` hangs it into the app."""

import os

# Gradio looks up two hosts on import unless this is set before it.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

from studio.ui.page import TABS, build, mount  # noqa: E402

__all__ = ["TABS", "build", "mount"]
