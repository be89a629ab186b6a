"""Configuration as the engine sees it: metrics, products, rate cards, contracts, alerts.

    Catalog ──┬── BillableMetric ◄── Product ◄── Rate ◄── RateCard ◄── Contract ── CustomerConfig
              └── Alert (for all customers)                                 Alert (own) ──┘

Everything is frozen. Instants are integers: ``*_us`` are microseconds since the Unix epoch (UTC), ``*_hour``
are whole hours since the epoch, because rates and billing periods change on the hour only. Ranges are half-open.
Decimals are exact (see engine.numbers).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

USD_CENTS = "2714e483-4ff1-48e4-9e25-ac732e8f24f2"
"""The credit type id of US dollars; amounts in it are in cents."""


class Aggregation(StrEnum):
    COUNT = "COUNT"
    SUM = "SUM"
    MAX = "MAX"
    LATEST = "LATEST"
    UNIQUE = "UNIQUE"


@dataclass(frozen=True, slots=True)
class PropertyFilter:
    """One condition on one property; all parts that are set must hold.

    ``exists``: True = must be present, False = must be absent, None = either.
    Values are compared as text: a JSON number equals the text of its shortest decimal form, a boolean "true"/"false".
    A property that is null counts as absent.
    """

    name: str
    exists: bool | None = None
    in_values: frozenset[str] | None = None
    not_in_values: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class BillableMetric:
    id: str
    name: str
    aggregation: Aggregation
    aggregation_key: str | None = None  # None for COUNT only
    event_types_in: frozenset[str] | None = None
    event_types_not_in: frozenset[str] | None = None
    property_filters: tuple[PropertyFilter, ...] = ()
    group_keys: tuple[tuple[str, ...], ...] = ()  # declared compound keys, in their declared order (never changes)
    archived: bool = False


class Operation(StrEnum):
    MULTIPLY = "MULTIPLY"
    DIVIDE = "DIVIDE"


@dataclass(frozen=True, slots=True)
class QuantityConversion:
    factor: Decimal
    operation: Operation


class RoundingMethod(StrEnum):
    ROUND_UP = "ROUND_UP"
    ROUND_DOWN = "ROUND_DOWN"
    ROUND_HALF_UP = "ROUND_HALF_UP"


@dataclass(frozen=True, slots=True)
class QuantityRounding:
    method: RoundingMethod
    decimal_places: int  # >= 0


class ProductType(StrEnum):
    USAGE = "USAGE"
    SUBSCRIPTION = "SUBSCRIPTION"
    COMPOSITE = "COMPOSITE"


class ProductState(NamedTuple):
    """From ``hour`` on a product has this name and these tags."""

    hour: int
    name: str
    tags: frozenset[str]


@dataclass(frozen=True, slots=True)
class Product:
    """``metric_id`` and what follows it up to ``rounding`` are of USAGE products only. (Types that are not listed above are kept
    by the API and are never rated.)

    COMPOSITE: a charge on the spend of other products: those of ``composite_product_ids`` and those with any of
    ``composite_tags``; with ``include_composite_spend`` on that of other composites, too.

    ``name`` and ``tags`` hold until the first of the ``later`` states, which are by hour."""

    id: str
    name: str
    metric_id: str = ""
    pricing_group_key: tuple[str, ...] = ()
    presentation_group_key: tuple[str, ...] = ()
    conversion: QuantityConversion | None = None
    rounding: QuantityRounding | None = None
    archived: bool = False
    tags: frozenset[str] = frozenset()
    type: ProductType = ProductType.USAGE
    composite_product_ids: frozenset[str] = frozenset()
    composite_tags: frozenset[str] = frozenset()
    include_composite_spend: bool = False
    later: tuple[ProductState, ...] = ()

    def at(self, hour: int) -> Product:
        """The product as it is called and tagged in an hour."""
        state = next((each for each in reversed(self.later) if each.hour <= hour), None)
        return self if state is None else replace(self, name=state.name, tags=state.tags)

    def within(self, starting_hour: int, ending_hour: int) -> Iterator[tuple[int, int, Product]]:
        """[starting_hour, ending_hour) cut where the product is called or tagged otherwise, oldest first."""
        start, then = starting_hour, self.at(starting_hour)
        for state in self.later:
            if start < state.hour < ending_hour and (state.name, state.tags) != (then.name, then.tags):
                yield start, state.hour, then
                start, then = state.hour, self.at(state.hour)
        yield start, ending_hour, then

    def every_tags(self) -> tuple[frozenset[str], ...]:
        """The tags of all of its states."""
        return self.tags, *(state.tags for state in self.later)


class Frequency(StrEnum):
    """How long a period is. DAILY is for recurring commits and credits only."""

    DAILY = "DAILY"
    WEEKLY = "WEEKLY"
    MONTHLY = "MONTHLY"
    QUARTERLY = "QUARTERLY"
    ANNUAL = "ANNUAL"


class RateType(StrEnum):
    FLAT = "FLAT"
    TIERED = "TIERED"
    PERCENTAGE = "PERCENTAGE"
    TIERED_PERCENTAGE = "TIERED_PERCENTAGE"


@dataclass(frozen=True, slots=True)
class Tier:
    """``size``: how many units this tier holds; None for the last one. Lower bound exclusive, upper inclusive."""

    size: Decimal | None
    price: Decimal


@dataclass(frozen=True, slots=True)
class CommitRate:
    """The price at which a COMMIT_RATE balance draws usage, in units of the rate's credit type; fields as in Rate."""

    rate_type: RateType
    price: Decimal = Decimal(0)
    tiers: tuple[Tier, ...] = ()


@dataclass(frozen=True, slots=True)
class Rate:
    """One row of a rate card. FLAT uses ``price``, TIERED uses ``tiers``; prices are in units of ``credit_type_id``.
    PERCENTAGE and TIERED_PERCENTAGE are for COMPOSITE products: their prices are fractions (0.1 = 10 %) of spend in
    ``credit_type_id``; ``minimum`` is charged at least in a billing period.
    ``billing_frequency``: set for SUBSCRIPTION products, whose price is for one unit and one billing period of that length."""

    product_id: str
    rate_type: RateType
    starting_hour: int
    credit_type_id: str = USD_CENTS
    price: Decimal = Decimal(0)
    tiers: tuple[Tier, ...] = ()
    ending_hour: int | None = None  # exclusive; None = open
    pricing_group_values: tuple[tuple[str, str], ...] = ()  # sorted by key
    entitled: bool = True
    billing_frequency: Frequency | None = None
    commit_rate: CommitRate | None = None
    minimum: Decimal | None = None


@dataclass(frozen=True, slots=True)
class RateCard:
    """``rates`` are in the order in which they were added: of several that match an hour, the latest added wins.
    ``conversions``: (custom credit type id, units of the fiat credit type for each of its units)."""

    id: str
    rates: tuple[Rate, ...] = ()
    fiat_credit_type_id: str = USD_CENTS
    conversions: tuple[tuple[str, Decimal], ...] = ()


@dataclass(frozen=True, slots=True)
class BillingSchedule:
    """How a contract's time is cut into billing periods: ``frequency`` and an anchor instant (see engine.periods)."""

    frequency: Frequency
    anchor_us: int


class BalanceType(StrEnum):
    PREPAID = "PREPAID"
    POSTPAID = "POSTPAID"
    CREDIT = "CREDIT"


class AccessType(StrEnum):
    """What a balance holds: money (units of its credit type), or units of usage, whose cost it covers."""

    SPEND = "SPEND"
    QUANTITY = "QUANTITY"


@dataclass(frozen=True, slots=True)
class Segment:
    """One item of a balance's access schedule: ``amount`` (as the balance's access type says) can be drawn by usage of the hours
    [starting_hour, ending_hour); what is left at its end expires. ``seat_increase``: what more seats of a subscription have added
    to a recurring commit or credit, from that hour on."""

    id: str
    starting_hour: int
    ending_hour: int
    amount: Decimal
    seat_increase: bool = False


@dataclass(frozen=True, slots=True)
class InvoiceItem:
    """One dated charge, of a commit or a scheduled charge: ``unit_price`` x ``quantity``, in units of its invoice credit type."""

    id: str
    timestamp_us: int
    unit_price: Decimal
    quantity: Decimal
    added_us: int = 0  # when an edit added it; 0: it came with what it is a part of


@dataclass(frozen=True, slots=True)
class Specifier:
    """Which usage a balance (or an override) is for. All parts that are set must hold: one product, all of the tags, these
    pricing and presentation group values. Pairs are sorted by key. ``balance_ids``, ``recurring_ids``: of an override for
    commits, the balances (or those made by recurring ones) whose drawing it is about; neither = all."""

    product_id: str | None = None
    product_tags: frozenset[str] = frozenset()
    pricing_group_values: tuple[tuple[str, str], ...] = ()
    presentation_group_values: tuple[tuple[str, str], ...] = ()
    billing_frequency: Frequency | None = None  # of overrides of subscription rates only
    balance_ids: frozenset[str] = frozenset()
    recurring_ids: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ManualEntry:
    """A manual ledger entry: a positive amount adds, a negative one draws down. ``seat_id``: of an entry of one seat's share."""

    segment_id: str
    amount: Decimal
    timestamp_us: int
    reason: str
    seat_id: str | None = None


class RateTarget(StrEnum):
    """At which of a rate's two prices a balance draws usage."""

    LIST_RATE = "LIST_RATE"
    COMMIT_RATE = "COMMIT_RATE"


@dataclass(frozen=True, slots=True)
class RolledOver:
    """Where a balance comes from that was made when a contract was renewed: of ``balance_id`` of the contract ``contract_id``, at
    most ``fraction`` of what that was granted. ``already_paid``: of a POSTPAID commit whose true-up is billed all the same."""

    balance_id: str
    contract_id: str
    fraction: Decimal
    already_paid: bool = False


Seat = tuple[str, str]
"""(seat group key, seat id)"""


@dataclass(frozen=True, slots=True)
class Balance:
    """A commit or credit. Applicability: no product ids, tags and specifiers = all usage; else usage that matches any product id,
    any tag, or any specifier. ``contract_id``: set for a contract-level balance, None for a customer-level one;
    ``applicable_contract_ids``: None = all contracts. ``cost_basis_free``: it cost nothing (credits; commits invoiced at 0).
    ``created_us`` breaks ties last of all. ``custom_fields``: sorted pairs. ``recurring_id``: of the recurring commit or
    credit that made it. ``invoice_items``: what is charged for a commit, in units of ``invoice_credit_type_id``, on invoices of
    the contract ``invoice_contract_id``; of a postpaid one the date of its true-up; of an archived one what was due before.

    ``access_type`` QUANTITY: its amounts are units of usage as billed, of lines priced in any credit type.
    ``rolled_over``: set for one with one segment, whose amount is computed (engine.balances.rollover).
    ``seat``: (seat group key, seat id): it pays only usage whose property of that name is that seat's id, and is outside all
    balances but the seat's (alerts, net balance). Of a metric that declares no group key with that property it pays nothing.
    ``share_of``: set for one seat's share of what a recurring commit or credit grants to every seat in a period: the id under
    which the shares of all seats are one commit or credit."""

    id: str
    type: BalanceType
    product_id: str
    segments: tuple[Segment, ...]
    credit_type_id: str = USD_CENTS
    priority: Decimal = Decimal(0)
    contract_id: str | None = None
    applicable_contract_ids: frozenset[str] | None = None
    applicable_product_ids: frozenset[str] = frozenset()
    applicable_product_tags: frozenset[str] = frozenset()
    specifiers: tuple[Specifier, ...] = ()
    cost_basis_free: bool = True
    manual_entries: tuple[ManualEntry, ...] = ()
    custom_fields: tuple[tuple[str, str], ...] = ()
    created_us: int = 0
    archived: bool = False
    recurring_id: str | None = None
    invoice_items: tuple[InvoiceItem, ...] = ()
    invoice_credit_type_id: str = USD_CENTS
    invoice_contract_id: str | None = None
    access_type: AccessType = AccessType.SPEND
    rate_type: RateTarget = RateTarget.LIST_RATE
    rolled_over: RolledOver | None = None
    seat: Seat | None = None
    share_of: str | None = None


class OverrideType(StrEnum):
    OVERWRITE = "OVERWRITE"
    MULTIPLIER = "MULTIPLIER"
    TIERED = "TIERED"


@dataclass(frozen=True, slots=True)
class MultiplierTier:
    """``multiplier`` holds for ``size`` units; None for the open last tier."""

    size: Decimal | None
    multiplier: Decimal


@dataclass(frozen=True, slots=True)
class OverwriteRate:
    """The price that an OVERWRITE puts in the place of the listed one; fields as in Rate."""

    rate_type: RateType
    price: Decimal = Decimal(0)
    tiers: tuple[Tier, ...] = ()
    credit_type_id: str = USD_CENTS


@dataclass(frozen=True, slots=True)
class Override:
    """A contract's own price or entitlement for some of its rate card's rates, in the hours [starting_hour, ending_hour).

    ``type`` None: it changes no price, only entitlement. OVERWRITE has ``overwrite_rate``, MULTIPLIER ``multiplier``, TIERED
    ``tiers``. ``priority``: set where the contract's priorities are explicit (lowest first). ``entitled`` None: leaves
    entitlement alone. ``specifiers``: what it is for, any of them; () = every rate (see engine.rating.overrides).
    ``for_commits``: it changes only the price at which balances draw: their list or commit rate, as ``target`` says."""

    id: str
    starting_hour: int
    ending_hour: int | None = None
    type: OverrideType | None = None
    overwrite_rate: OverwriteRate | None = None
    multiplier: Decimal = Decimal(1)
    tiers: tuple[MultiplierTier, ...] = ()
    priority: Decimal | None = None
    entitled: bool | None = None
    specifiers: tuple[Specifier, ...] = ()
    for_commits: bool = False
    target: RateTarget = RateTarget.LIST_RATE


@dataclass(frozen=True, slots=True)
class UsageFilter:
    """From ``starting_hour`` on, until the contract's next filter begins, only usage whose property ``group_key`` has one of
    these values is billed on the contract."""

    group_key: str
    group_values: frozenset[str]
    starting_hour: int


class ProrationRounding(StrEnum):
    HALF_UP = "HALF_UP"
    FLOOR = "FLOOR"
    CEILING = "CEILING"


@dataclass(frozen=True, slots=True)
class AmountRounding:
    """How a prorated amount is rounded. ``decimal_places`` below zero: to powers of ten (-2: to whole dollars in cents)."""

    method: ProrationRounding
    decimal_places: int


class Collection(StrEnum):
    """When a subscription's billing period is charged: at its start, or at its end."""

    ADVANCE = "ADVANCE"
    ARREARS = "ARREARS"


class QuantityStep(NamedTuple):
    """From ``hour`` on the subscription's quantity is ``quantity`` (>= 0)."""

    hour: int
    quantity: Decimal


class SeatStep(NamedTuple):
    """At ``hour`` a seat id is assigned to the subscription, or removed from it."""

    hour: int
    seat_id: str
    assigned: bool


@dataclass(frozen=True, slots=True)
class Subscription:
    """A recurring charge of a contract: its quantity times the rate of its product and billing frequency, for each of its billing
    periods (``billing``), in the hours [starting_hour, ending_hour); None = to the contract's end.

    ``quantity_steps``: by hour, no two at the same one, the first at or before the start; for a seat-based one the number of its
    seats, unassigned ones included. ``is_prorated``: periods cut short, and quantity added within a period, are charged by their
    share of the period, else in full. ``bill_immediately``: added quantity is charged when it is added, else at the period's end.
    ``on_scheduled_invoice``: charged on invoices of its own. ``seat_group_key``: set for a seat-based subscription, whose
    ``seat_steps`` are by hour. ``custom_fields``: sorted pairs."""

    id: str
    product_id: str
    billing: BillingSchedule
    collection: Collection
    starting_hour: int
    ending_hour: int | None = None
    quantity_steps: tuple[QuantityStep, ...] = ()
    is_prorated: bool = False
    bill_immediately: bool = False
    rounding: AmountRounding | None = None
    on_scheduled_invoice: bool = False
    name: str | None = None
    seat_group_key: str | None = None
    seat_steps: tuple[SeatStep, ...] = ()
    custom_fields: tuple[tuple[str, str], ...] = ()
    created_us: int = 0

    @property
    def seat_based(self) -> bool:
        return self.seat_group_key is not None


class Allocation(StrEnum):
    """Of a recurring commit or credit that is linked to a subscription: a balance for each seat, or one for all of them."""

    INDIVIDUAL = "INDIVIDUAL"
    POOLED = "POOLED"


@dataclass(frozen=True, slots=True)
class SubscriptionLink:
    """``is_prorated``: what a seat adds within a period is its share of the rest of that period, else all of it."""

    subscription_id: str
    allocation: Allocation
    is_prorated: bool


@dataclass(frozen=True, slots=True)
class RecurringTerms:
    """What each child that begins after ``after_us`` grants, ``unit_price`` x ``quantity``, and what it charges,
    ``invoice_unit_price`` (None: nothing) x ``invoice_quantity``; both times the quantity of the linked subscription, if there is
    one. No child begins at ``ending_hour`` or later; None = until the contract's end."""

    after_us: int
    unit_price: Decimal
    quantity: Decimal = Decimal(1)
    invoice_unit_price: Decimal | None = None
    invoice_quantity: Decimal = Decimal(1)
    ending_hour: int | None = None

    @property
    def amount(self) -> Decimal:
        return self.unit_price * self.quantity


@dataclass(frozen=True, slots=True)
class RecurringBalance:
    """A commit or credit that is granted anew in every period; each of these balances is called a child of it.

    ``child``: what all children have in common; its id is the recurring one's, and it has no segments. ``schedule``: the periods.
    Children begin from ``starting_hour`` on; each is open for ``duration_periods`` periods. ``terms``: by ``after_us``; the first
    hold for all children before the second. ``prorates_first``, ``prorates_last``: whether a period that is cut
    short at its start, or at its end, grants (and charges) its share only. ``child.manual_entries`` are those of all children."""

    child: Balance
    schedule: BillingSchedule
    starting_hour: int
    terms: tuple[RecurringTerms, ...]
    duration_periods: int = 1
    prorates_first: bool = True
    prorates_last: bool = True
    access_rounding: AmountRounding | None = None
    invoice_rounding: AmountRounding | None = None
    link: SubscriptionLink | None = None

    @property
    def id(self) -> str:
        return self.child.id


@dataclass(frozen=True, slots=True)
class ScheduledCharge:
    """Amounts of a FIXED product that a contract charges on given dates; of an archived one only the ``items`` that were due
    before. ``name`` None: the product's. ``custom_fields``: sorted pairs."""

    id: str
    product_id: str
    items: tuple[InvoiceItem, ...]
    name: str | None = None
    credit_type_id: str = USD_CENTS
    custom_fields: tuple[tuple[str, str], ...] = ()
    created_us: int = 0


@dataclass(frozen=True, slots=True)
class Contract:
    """``overrides`` in the order in which they were added; ``explicit_priorities``: multipliers are chosen by their priority, not
    by their size; ``usage_filters`` by their start, no two at the same one. ``custom_fields``: sorted pairs.
    ``charges_on_usage_invoices``: what is charged at the end of a billing period is a part of that period's invoice.
    ``archived_us``: when it was archived (see ``CustomerConfig.archived_contracts``); its invoices were voided with it if
    ``voids_invoices``."""

    id: str
    rate_card_id: str | None
    starting_hour: int
    ending_hour: int | None  # exclusive; None = open-ended
    schedule: BillingSchedule
    overrides: tuple[Override, ...] = ()
    explicit_priorities: bool = False
    usage_filters: tuple[UsageFilter, ...] = ()
    custom_fields: tuple[tuple[str, str], ...] = ()
    subscriptions: tuple[Subscription, ...] = ()
    recurring: tuple[RecurringBalance, ...] = ()
    scheduled_charges: tuple[ScheduledCharge, ...] = ()
    charges_on_usage_invoices: bool = False
    archived_us: int | None = None
    voids_invoices: bool = False


class AlertType(StrEnum):
    SPEND_THRESHOLD = "spend_threshold_reached"
    USAGE_THRESHOLD = "usage_threshold_reached"
    CREDIT_BALANCE = "low_remaining_contract_credit_balance_reached"
    COMMIT_BALANCE = "low_remaining_commit_balance_reached"
    TOTAL_BALANCE = "low_remaining_contract_credit_and_commit_balance_reached"
    CREDIT_PERCENTAGE = "low_remaining_contract_credit_percentage_reached"
    COMMIT_PERCENTAGE = "low_remaining_commit_percentage_reached"
    TOTAL_PERCENTAGE = "low_remaining_contract_credit_and_commit_percentage_reached"
    COMMIT_SEGMENT_DAYS = "low_remaining_days_for_commit_segment_reached"
    CREDIT_SEGMENT_DAYS = "low_remaining_days_for_contract_credit_segment_reached"
    INVOICE_TOTAL = "invoice_total_reached"
    MONTH_TOTAL = "monthly_invoice_total_spend_threshold_reached"
    SEAT_BALANCE = "low_remaining_seat_balance_reached"


class Entity(StrEnum):
    """What a custom field filter looks at: the contract itself (of a balance: the one it belongs to), or the balance."""

    CONTRACT = "Contract"
    COMMIT = "Commit"
    CREDIT = "ContractCredit"
    CREDIT_OR_COMMIT = "ContractCreditOrCommit"


@dataclass(frozen=True, slots=True)
class CustomFieldFilter:
    """``value`` None: only where a specifier tells the values of a key apart."""

    entity: Entity
    key: str
    value: str | None


@dataclass(frozen=True, slots=True)
class AlertSpecifier:
    """Which balances an alert counts: those for which all of ``include`` holds and no entry of ``exclude`` holds whole."""

    include: tuple[CustomFieldFilter, ...] = ()
    exclude: tuple[tuple[CustomFieldFilter, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Alert:
    """A threshold notification.

    ``group_values``: empty, or (key, value) pairs; a value of None means "every value of the key has its own state".
    ``custom_field_filters``: all must hold. ``invoice_types``: None = every type.
    ``specifiers``: empty, or what is counted is what any of them selects (see engine.alerts.fields).
    ``access_type``: which balances a balance alert looks at.
    ``seat_filter``: set for a SEAT_BALANCE alert: (seat group key, seat id); a seat id of None means "every seat of that key has
    its own state".
    ``created_version``: the catalog revision (alert for all customers) or customer version (own alert) that brought it:
    a customer whose state was last evaluated before that version has not met this alert yet.
    """

    id: str
    type: AlertType
    name: str
    threshold: Decimal
    created_version: int
    customer_id: str | None = None
    credit_type_id: str = USD_CENTS
    metric_id: str | None = None
    group_values: tuple[tuple[str, str | None], ...] = ()
    evaluate_on_create: bool = True
    version: int = 1
    custom_field_filters: tuple[CustomFieldFilter, ...] = ()
    invoice_types: frozenset[str] | None = None
    specifiers: tuple[AlertSpecifier, ...] = ()
    access_type: AccessType = AccessType.SPEND
    seat_filter: tuple[str, str | None] | None = None
    uniqueness_key: str | None = None


@dataclass(frozen=True, slots=True)
class CustomerConfig:
    """One customer's own configuration. ``version`` grows with every change of it; archived alerts are left out.
    ``archived_contracts``: of these only what was due before counts. ``voided``: (invoice id, when it was voided).
    ``regenerated``: ids of the voided invoices that were made again, in that order. ``name`` and ``aliases`` (by which its usage
    may come in) are told with its notifications."""

    id: str
    version: int
    contracts: tuple[Contract, ...] = ()
    alerts: tuple[Alert, ...] = ()
    archived: bool = False
    balances: tuple[Balance, ...] = ()  # contract-level and customer-level ones
    archived_contracts: tuple[Contract, ...] = ()
    voided: tuple[tuple[str, int], ...] = ()
    regenerated: tuple[str, ...] = ()
    name: str | None = None
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Catalog:
    """What all customers share. ``revision`` grows with every change. Archived alerts are left out; archived metrics
    and products stay, so that contracts that use them can still be rated."""

    revision: int
    metrics: Mapping[str, BillableMetric] = field(default_factory=dict)
    products: Mapping[str, Product] = field(default_factory=dict)
    rate_cards: Mapping[str, RateCard] = field(default_factory=dict)
    alerts: tuple[Alert, ...] = ()
