"""Users, sessions and API keys: who may come in, and as whom."""

from studio.accounts.accounts import Accounts, KeyRow, UserRow
from studio.accounts.attempts import Attempts

__all__ = ["Accounts", "Attempts", "KeyRow", "UserRow"]
