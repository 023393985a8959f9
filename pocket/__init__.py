"""The recipe of the pocket model family: scenes are drawn, captioned, learned and measured here."""
