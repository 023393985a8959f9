"""Telling other programs that a job has ended: signed, retried, to public addresses only."""

from studio.webhooks.webhooks import Hook, Webhooks

__all__ = ["Hook", "Webhooks"]
