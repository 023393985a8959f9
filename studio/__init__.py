"""Brand Studio: brand pictures with Stable Diffusion, made on your own machine."""

__version__ = "0.1.0"
