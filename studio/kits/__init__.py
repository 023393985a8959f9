"""Brand kits: presets that people write, keep in versions, hand over signed, and bring from other tools."""

from studio.kits.kits import Kits, Version
from studio.kits.trade import Brought, Trade

__all__ = ["Brought", "Kits", "Trade", "Version"]
