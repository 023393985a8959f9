"""The queue: a job is a committed row before anybody hears of it, and ends in exactly one way."""

from studio.jobs.jobs import Jobs
from studio.jobs.queue import LOCAL, Order

__all__ = ["LOCAL", "Jobs", "Order"]
