"""Rollover: what a contract's balances leave to the contract that renews it.

    contract A  |──────────── ends at E ┤        contract B (RENEWAL of A)  |──────────►
    commit of A |── open at E ──────────┼ ─ ─►   commit of B                |── min(left, fraction x granted) ──►

The rolled-over balance is in the configuration from the renewal on, with one segment; its amount is computed: at any moment from
what A's invoices have drawn, the drafts among them included, so it is settled when A's last invoice is final. Rules (sections 5.3
and 5.4 of the reference; what it leaves open is settled here):

- *Left* is what the segments that are open at E have left; earlier ones have expired, later ones were never granted.
- *Granted* is the sum of all segments' amounts, without manual entries.
- What is rolled over is taken off the segments of A in the order of their ends, dated E. The rest stays until it expires.
- A rolled-over balance does not roll over again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from engine.balances.draw import Pool
from engine.catalog import Contract, CustomerConfig
from engine.numbers import ZERO


class Taken(NamedTuple):
    """What goes from one segment of ``balance_id`` to ``new_contract_id``, at the end of the old contract."""

    balance_id: str
    segment_id: str
    new_contract_id: str
    ended_hour: int
    amount: Decimal


def roll_over(pool: Pool, pools: Sequence[Pool], contracts: Mapping[str, Contract]) -> list[Taken]:
    """What ``pool``, of a rolled-over balance, gets from the pools of the balance that it comes from; takes it off them."""
    rolled = pool.balance.rolled_over
    old = None if rolled is None else contracts.get(rolled.contract_id)
    if rolled is None or old is None or old.ending_hour is None or pool.balance.contract_id is None:
        return []
    own = [each for each in pools if each.balance.id == rolled.balance_id]
    ended = old.ending_hour
    still_open = [each for each in own if each.segment.starting_hour < ended <= each.segment.ending_hour]
    granted = sum((each.segment.amount for each in own), ZERO)
    rest = min(rolled.fraction * granted, sum((each.left for each in still_open), ZERO))
    taken: list[Taken] = []
    for each in sorted(still_open, key=lambda each: (each.segment.ending_hour, each.segment.id)):
        part = min(rest, each.left)
        if part > 0:
            each.left -= part
            rest -= part
            taken.append(Taken(rolled.balance_id, each.segment.id, pool.balance.contract_id, ended, part))
    return taken


def rolls_over_at(config: CustomerConfig, hour: int, grace_hours: int) -> bool:
    """Whether a contract that another one has taken over from is in its last grace period."""
    renewed = {balance.rolled_over.contract_id for balance in config.balances if balance.rolled_over is not None}
    ends = (contract.ending_hour for contract in config.contracts if contract.id in renewed)
    return any(end is not None and end <= hour < end + grace_hours for end in ends)
