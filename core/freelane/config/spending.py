"""`[guard]` as the guard reads it: the project's budget and the user's own are two ceilings."""

from collections.abc import Mapping

from freelane.config.layers import Merged
from freelane.config.origins import Layer
from freelane.config.schema import GuardConfig
from freelane.model.budget import Budget
from freelane.model.spending import Spending


def spending(guard: GuardConfig, merged: Merged) -> Spending:
    """The rules of `guard`, which is what all layers of `merged` make of it.

    A flag or a variable that asks for more than the user's file in any case passes that ceiling,
    as the user's own word; whatever else stands there holds beside it.
    """
    asked, ceiling = guard.budget, _user_budget(merged)
    if merged.origin(("guard", "budget")).layer is Layer.USER:
        asked = None
    # A project's own that passes it has been refused already: this is a flag or a variable.
    if asked is not None and ceiling is not None and not asked.within(ceiling):
        ceiling = asked if ceiling.within(asked) else ceiling
    return Spending(
        policy=guard.policy,
        credits=guard.credits,
        exhausted=guard.exhausted,
        project_budget=asked,
        user_budget=ceiling,
    )


def _user_budget(merged: Merged) -> Budget | None:
    for source in merged.sources:
        guard = source.values.get("guard")
        if source.layer is Layer.USER and isinstance(guard, Mapping) and "budget" in guard:
            return Budget.parse(guard["budget"])  # checked by itself when it was loaded
    return None
