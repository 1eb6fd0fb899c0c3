"""Units leased from the ledger in blocks, and spent in memory."""

from freelane.quota.blocks.block import Line
from freelane.quota.blocks.grant import Exhausted, fullness
from freelane.quota.blocks.spender import Spender
from freelane.quota.blocks.taken import Remaining, Taken

__all__ = ["Exhausted", "Line", "Remaining", "Spender", "Taken", "fullness"]
