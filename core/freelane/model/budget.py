"""A sum of money per stretch of time: what policy `budget` may spend."""

import re
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from freelane.errors import ConfigError

_BUDGET = re.compile(
    r"\s*(\d{1,9}(?:\.\d{1,9})?)\s*USD\s*/\s*(day|week|month|year)\s*", re.ASCII | re.IGNORECASE
)
NANO = 10**9


class BudgetWindow(StrEnum):
    """The calendar stretch after which a budget starts anew."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"


# How many windows of the first kind a window of the second can touch, at most: calendar windows
# do not nest, so a month of 31 days touches six weeks.
_MOST_INSIDE = {
    (BudgetWindow.DAY, BudgetWindow.WEEK): 7,
    (BudgetWindow.DAY, BudgetWindow.MONTH): 31,
    (BudgetWindow.DAY, BudgetWindow.YEAR): 366,
    (BudgetWindow.WEEK, BudgetWindow.MONTH): 6,
    (BudgetWindow.WEEK, BudgetWindow.YEAR): 54,
    (BudgetWindow.MONTH, BudgetWindow.YEAR): 12,
    (BudgetWindow.WEEK, BudgetWindow.DAY): 1,
    (BudgetWindow.MONTH, BudgetWindow.DAY): 1,
    (BudgetWindow.MONTH, BudgetWindow.WEEK): 2,
    (BudgetWindow.YEAR, BudgetWindow.DAY): 1,
    (BudgetWindow.YEAR, BudgetWindow.WEEK): 2,
    (BudgetWindow.YEAR, BudgetWindow.MONTH): 1,
}


@dataclass(frozen=True, slots=True)
class Budget:
    """At most `nano_usd` (billionths of a US dollar) in each `window`."""

    nano_usd: int
    window: BudgetWindow

    @classmethod
    def parse(cls, text: str) -> "Budget":
        """Read `10 USD/month`.

        Raises:
            ConfigError: It is not such a sum.
        """
        match = _BUDGET.fullmatch(text)
        if match is None:
            raise ConfigError(
                f"{text!r} is not a budget: write it like 10 USD/month "
                "(USD; per day, week, month or year)"
            )
        return cls(int(Decimal(match[1]) * NANO), BudgetWindow(match[2].lower()))

    def within(self, ceiling: "Budget") -> bool:
        """Whether spending all of it can never pass `ceiling` in any of the ceiling's windows."""
        inside = _MOST_INSIDE.get((self.window, ceiling.window), 1)
        return self.nano_usd * inside <= ceiling.nano_usd

    def __str__(self) -> str:
        return f"{(Decimal(self.nano_usd) / NANO).normalize():f} USD/{self.window}"
