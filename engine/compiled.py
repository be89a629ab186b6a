"""A catalog made ready for the hot path. Shared by all customers: compiled once for each catalog object."""

from __future__ import annotations

from engine.alerts.watch import Watch
from engine.catalog import Balance, Catalog, Contract, Frequency, Override, Product, Rate, RateTarget
from engine.changes import hours_of_change
from engine.metering.matching import MetricMatcher
from engine.rating.book import RateBook
from engine.rating.fees import FeeRows, fee_at, fee_rows
from engine.rating.overrides import drawn_by
from engine.rating.percentages import Composite, composites_of

EVENT_TYPES_MAX = 4_096
"""So many event types are remembered; they come from outside, so there must be a bound."""
CONTRACT_BOOKS_MAX = 1_024
"""So many rate books of contracts with overrides are remembered; they are made again when they are needed again."""


class CompiledCatalog:
    """``watch``: the alerts for all customers. Rate books are compiled when a contract first needs them."""

    __slots__ = (
        "_books",
        "_by_type",
        "_card_changes",
        "_composites",
        "_contract_books",
        "_fees",
        "_matchers",
        "aggregations",
        "catalog",
        "matchers",
        "watch",
    )

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.matchers = {metric.id: MetricMatcher(metric) for metric in catalog.metrics.values()}
        self._matchers = tuple(self.matchers[metric_id] for metric_id in sorted(self.matchers))
        self.aggregations = {metric.id: metric.aggregation for metric in catalog.metrics.values()}
        self.watch = Watch(catalog.alerts)
        self._by_type: dict[str, tuple[MetricMatcher, ...]] = {}
        self._books: dict[str, RateBook | None] = {}
        self._fees: dict[str, FeeRows] = {}
        self._composites: dict[str, tuple[Composite, ...]] = {}
        self._card_changes: dict[str, frozenset[int]] = {}
        self._contract_books: dict[tuple[str, bool, tuple[Override, ...], RateTarget], RateBook] = {}

    def matchers_for(self, event_type: str) -> tuple[MetricMatcher, ...]:
        """The metrics that take events of a type."""
        found = self._by_type.get(event_type)
        if found is None:
            if len(self._by_type) >= EVENT_TYPES_MAX:
                self._by_type.clear()
            found = self._by_type[event_type] = tuple(m for m in self._matchers if m.takes_type(event_type))
        return found

    def book(self, rate_card_id: str | None) -> RateBook | None:
        """The compiled rate card; None if there is no such card. Raises RateError for one that cannot be priced."""
        if rate_card_id is None:
            return None
        if rate_card_id not in self._books:
            card = self.catalog.rate_cards.get(rate_card_id)
            self._books[rate_card_id] = None if card is None else RateBook.compile(card, self.catalog.products)
        return self._books[rate_card_id]

    def contract_book(self, contract: Contract) -> RateBook | None:
        """The prices that a contract has: its rate card's, under its overrides. None and errors as for ``book``."""
        overrides = tuple(override for override in contract.overrides if not override.for_commits)
        return self._overridden(contract, overrides, RateTarget.LIST_RATE)

    def draw_book(self, contract: Contract, balance: Balance) -> RateBook | None:
        """The prices at which a balance draws the contract's usage; None: at those that the contract has."""
        overrides = drawn_by(contract.overrides, balance)
        if balance.rate_type is RateTarget.LIST_RATE:
            overrides = tuple(override for override in overrides if override.target is RateTarget.LIST_RATE)
            if not any(override.for_commits for override in overrides):
                return None
        return self._overridden(contract, overrides, balance.rate_type)

    def _overridden(self, contract: Contract, overrides: tuple[Override, ...], target: RateTarget) -> RateBook | None:
        listed = self.book(contract.rate_card_id)
        if listed is None or contract.rate_card_id is None or (not overrides and target is RateTarget.LIST_RATE):
            return listed
        key = (contract.rate_card_id, contract.explicit_priorities, overrides, target)
        found = self._contract_books.get(key)
        if found is None:
            if len(self._contract_books) >= CONTRACT_BOOKS_MAX:
                self._contract_books.clear()
            made = listed.overridden(overrides, explicit=contract.explicit_priorities, target=target)
            found = self._contract_books[key] = made
        return found

    def fee(self, contract: Contract, product: Product, frequency: Frequency, hour: int) -> Rate | None:
        """What the contract is charged for a unit of a subscription, see ``fee_at``."""
        card = self.catalog.rate_cards.get(contract.rate_card_id or "")
        if card is None:
            return None
        if card.id not in self._fees:
            self._fees[card.id] = fee_rows(card)
        return fee_at(self._fees[card.id], product, frequency, contract, hour)

    def composites(self, contract: Contract) -> tuple[Composite, ...]:
        """What the contract is charged on the spend of other products, see ``composites_of``."""
        card = self.catalog.rate_cards.get(contract.rate_card_id or "")
        if card is None:
            return ()
        if card.id not in self._composites:
            self._composites[card.id] = composites_of(card, self.catalog.products)
        return self._composites[card.id]

    def hours_of_change(self, rate_card_id: str | None) -> frozenset[int]:
        """The hours at which a rate of the card begins or ends, or one of its products is called or tagged otherwise."""
        card = self.catalog.rate_cards.get(rate_card_id or "")
        if card is None:
            return frozenset()
        if card.id not in self._card_changes:
            products = (self.catalog.products.get(rate.product_id) for rate in card.rates)
            states = (state.hour for product in products if product is not None for state in product.later)
            self._card_changes[card.id] = frozenset([*hours_of_change(card.rates), *states])
        return self._card_changes[card.id]


_recent: list[CompiledCatalog] = []


def compile_catalog(catalog: Catalog) -> CompiledCatalog:
    """The compiled form of this very object; the two latest are kept (a change of the catalog is under way between them)."""
    for compiled in _recent:
        if compiled.catalog is catalog:
            return compiled
    compiled = CompiledCatalog(catalog)
    _recent.insert(0, compiled)
    del _recent[2:]
    return compiled
