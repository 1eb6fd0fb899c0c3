"""What core itself reads in `[providers.X]`: whose account it is, and how much it may be asked.

The plugin's class never sees these keys.
"""

from collections.abc import Callable, Mapping
from typing import Annotated

from pydantic import ValidationError

from freelane.config.origins import KeyPath, Origin
from freelane.config.problems import explain
from freelane.config.reading import Day, DayOrNever, ReadAs, Text, Usd
from freelane.config.schema import RateTable, Table
from freelane.model.endpoint import NO_RATE, RateLimits
from freelane.model.estimate import Account
from freelane.model.quota import Billing, Plan


class AccountTable(Table):
    """Keys of every provider's table."""

    account: Text = ""
    """Whose counters they are."""
    account_plan: Plan | None = None
    account_opened: Day | None = None
    billing: Billing | None = None
    first_used: DayOrNever | None = None
    credit_left: Usd | None = None
    """Nano-USD."""
    rate: Annotated[RateLimits, ReadAs(RateTable, RateTable.build)] = NO_RATE
    """Requests to the provider, all its endpoints together."""

    def build(self) -> Account:
        """The model's own type."""
        return Account(
            id=self.account,
            plan=self.account_plan,
            opened=self.account_opened,
            billing=self.billing,
            first_used=self.first_used,
            credit_nano_usd=self.credit_left,
        )


ACCOUNT = "account"
RATE = "rate"
KEYS = tuple(AccountTable.model_fields)
FACTS = tuple(key for key in KEYS if key != RATE)
"""Those that say what the account is."""


def account_tables(
    values: Mapping[str, object], origin: Callable[[KeyPath], Origin]
) -> dict[str, AccountTable]:
    """The tables among `providers` of `values` that hold any of these keys, each checked.

    Raises:
        ConfigError: One does not hold; names the line.
    """
    tables = values.get("providers")
    found = {}
    for name, table in tables.items() if isinstance(tables, Mapping) else ():
        if isinstance(table, Mapping):
            said = {key: table[key] for key in KEYS if key in table}
            if said:
                found[name] = _read(name, said, origin)
    return found


def _read(
    name: str, said: Mapping[str, object], origin: Callable[[KeyPath], Origin]
) -> AccountTable:
    try:
        return AccountTable.model_validate(said)
    except ValidationError as error:
        at = ("providers", name)
        raise explain(error, model=AccountTable, origin=origin, at=at) from None
