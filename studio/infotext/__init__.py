"""Settings inside picture files, as other tools write and read them."""

from studio.infotext.a1111 import fields_of
from studio.infotext.found import Found, scheduler_named
from studio.infotext.match import match
from studio.infotext.notes import OWN, PARAMETERS, texts_of
from studio.infotext.read import find, find_text, read, read_picture
from studio.infotext.write import VERSION, stamp, write

__all__ = [
    "OWN", "PARAMETERS", "VERSION", "Found", "fields_of", "find", "find_text", "match", "read",
    "read_picture", "scheduler_named", "stamp", "texts_of", "write",
]  # fmt: skip
