"""Usage filters: which of a customer's usage a contract bills.

A filter names a group key and values of it, and holds from its start until the contract's next filter begins. Before the first
one, all usage is billed. The group key must sit in one declared compound key of the metric, together with the product's pricing
and presentation keys and with the keys of the contract's other filters; a product whose metric declares no such key is not billed
on the contract.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence

from engine.catalog import UsageFilter


class UsageSelection:
    """``keys``: the group keys that must be known of usage to decide about it; ``starts``: the hours at which that changes."""

    __slots__ = ("_filters", "keys", "starts")

    def __init__(self, filters: Sequence[UsageFilter]) -> None:
        self._filters = filters
        self.keys = tuple(sorted({each.group_key for each in filters}))
        self.starts = [each.starting_hour for each in filters]

    def admits(self, hour: int, value_of: Callable[[str], str | None]) -> bool:
        """Whether usage of an hour is billed. ``value_of``: gives its value of a group key, None if it has none."""
        index = bisect_right(self.starts, hour) - 1
        if index < 0:
            return True
        holding = self._filters[index]
        return value_of(holding.group_key) in holding.group_values
