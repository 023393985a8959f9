"""Settings inside picture files, as other tools write and read them."""

from studio.infotext.a1111 import fields_of
from studio.infotext.found import Found, scheduler_named
from studio.infotext.match import Stock, match
from studio.infotext.notes import OWN, PARAMETERS, texts_of
from studio.infotext.read import find, find_text, read, read_picture, text_of
from studio.infotext.write import VERSION, Fingerprints, stamp, write

__all__ = [
    "OWN", "PARAMETERS", "VERSION", "Fingerprints", "Found", "Stock", "fields_of", "find", "find_text",
    "match", "read", "read_picture", "scheduler_named", "stamp", "text_of", "texts_of", "write",
]  # fmt: skip
