"""What an endpoint's record says of how its rate is counted."""

from freelane.contract.provider import RationCommand
from freelane.model.endpoint import RateLimits
from freelane_local import records


def ration_order(
    command: RationCommand | None, *, subject: str, rate: RateLimits
) -> records.Document | None:
    """The command and the names of its variables; None where nothing is counted elsewhere.

    A variable's value may be a password: it stands in no file.
    """
    limits = {
        "--minute": rate.per_minute,
        "--hour": rate.per_hour,
        "--day": rate.per_day,
        "--month": rate.per_month,
    }
    words = [
        word for name, limit in limits.items() if limit is not None for word in (name, str(limit))
    ]
    if command is None or not words:
        return None
    return {
        "argv": [*command.argv, "--subject", subject, *words],
        "variables": sorted(command.env),
    }
