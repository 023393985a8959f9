"""The clients' room: chosen pictures at a link of their own, and what clients say about them.

`review.Review` is the studio's side; `room` with `serve` is what clients reach, a process of its own. They
share nothing but the folder `STUDIO_HOME/review`; the room knows no other file.
"""
