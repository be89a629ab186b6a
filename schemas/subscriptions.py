"""Subscriptions of a contract: bodies and changes of the document (see schemas.recurring_documents for what it holds)."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from engine.numbers import exact
from schemas.commits import Description, only
from schemas.common import (
    Body,
    CustomFields,
    HourInstant,
    Id,
    Key,
    Name,
    NotNegative,
    Number,
    Upper,
    rfc3339,
)
from schemas.documents import Document, instant_us
from schemas.errors import BadRequest, NotFound
from schemas.rate_cards import BillingFrequency
from schemas.seats import (
    ModeUpdate,
    SeatConfig,
    SeatUpdates,
    quantities_of,
    seats_document,
    seats_of_quantities,
    with_seat_updates,
)

SUBSCRIPTIONS_MAX = 100
"""Of one contract."""
QUANTITIES_MAX = 1_000
"""Changes of one subscription's quantity."""
DECIMAL_PLACES_MAX = 18

NewId = Callable[[], str]


class Rounding(Body):
    """How prorated amounts are rounded; ``decimal_places`` below zero: to powers of ten."""

    rounding_method: Annotated[Literal["HALF_UP", "FLOOR", "CEILING"], Upper]
    decimal_places: Annotated[int, Field(ge=-DECIMAL_PLACES_MAX, le=DECIMAL_PLACES_MAX)]


class SubscriptionProration(Body):
    """``is_prorated``: whether periods that are cut short, and quantity that is added within one, are charged by their share."""

    is_prorated: bool = True
    invoice_behavior: Annotated[Literal["BILL_IMMEDIATELY", "BILL_ON_NEXT_COLLECTION_DATE"], Upper] = (
        "BILL_ON_NEXT_COLLECTION_DATE"
    )
    rounding: Rounding | None = None


class SubscriptionRate(Body):
    """Which rate of the contract's rate card."""

    billing_frequency: BillingFrequency
    product_id: Id


class BillingCycleConfig(Body):
    anchor_date: HourInstant | None = Field(default=None, description="Default: the contract's billing anchor.")
    invoice_placement: only("the invoice placement", "ON_USAGE_INVOICE", "ON_SCHEDULED_INVOICE") = "ON_USAGE_INVOICE"  # type: ignore[valid-type]


class SubscriptionBody(Body):
    """Default start: the contract's. Without an end it lasts as long as the contract."""

    subscription_rate: SubscriptionRate
    collection_schedule: Annotated[Literal["ADVANCE", "ARREARS"], Upper]
    proration: SubscriptionProration
    initial_quantity: NotNegative | None = None
    quantity_management_mode: Annotated[Literal["QUANTITY_ONLY", "SEAT_BASED"], Upper] = "QUANTITY_ONLY"
    seat_config: SeatConfig | None = None
    starting_at: HourInstant | None = None
    ending_before: HourInstant | None = None
    billing_cycle_config: BillingCycleConfig | None = None
    name: Name | None = None
    description: Description | None = None
    custom_fields: CustomFields = Field(default_factory=dict)
    temporary_id: Key | None = Field(default=None, description="Names it for recurring commits and credits of the same request.")

    @model_validator(mode="after")
    def _consistent(self) -> SubscriptionBody:
        wanted, other = "initial_quantity", "seat_config"
        if self.quantity_management_mode == "SEAT_BASED":
            wanted, other = other, wanted
        if getattr(self, wanted) is None:
            raise ValueError(f"{wanted} is required for quantity_management_mode {self.quantity_management_mode}")
        if getattr(self, other) is not None:
            raise ValueError(f"{other} does not apply to quantity_management_mode {self.quantity_management_mode}")
        if self.proration.invoice_behavior == "BILL_IMMEDIATELY" and self.collection_schedule != "ADVANCE":
            raise ValueError("proration.invoice_behavior BILL_IMMEDIATELY needs the collection_schedule ADVANCE")
        if self.proration.invoice_behavior == "BILL_IMMEDIATELY":
            reason = "BILL_IMMEDIATELY is not supported yet: no invoice is made within a billing period"
            raise PydanticCustomError("unsupported", f"proration.invoice_behavior: {reason}")
        anchored = self.billing_cycle_config is not None and self.billing_cycle_config.anchor_date is not None
        if anchored and self.collection_schedule != "ADVANCE":
            raise ValueError("billing_cycle_config.anchor_date needs the collection_schedule ADVANCE")
        return self


SubscriptionBodies = Annotated[list[SubscriptionBody], Field(max_length=SUBSCRIPTIONS_MAX)]


class QuantityUpdate(Body):
    """From ``starting_at`` on: a new quantity, or so many more (or fewer) than there are then. Changes that are scheduled for
    later stay as they are."""

    starting_at: HourInstant
    quantity: NotNegative | None = None
    quantity_delta: Number | None = None

    @model_validator(mode="after")
    def _one_way(self) -> QuantityUpdate:
        if (self.quantity is None) == (self.quantity_delta is None):
            raise ValueError("give either quantity or quantity_delta")
        if self.quantity_delta == 0:
            raise ValueError("quantity_delta must not be 0")
        return self


class SubscriptionUpdate(Body):
    """``ending_before`` null: it lasts as long as the contract."""

    subscription_id: Id
    ending_before: HourInstant | None = None
    name: Name | None = None
    proration_rounding: Rounding | None = None
    quantity_updates: Annotated[list[QuantityUpdate], Field(max_length=QUANTITIES_MAX)] = Field(default_factory=list)
    quantity_management_mode_update: ModeUpdate | None = None
    seat_updates: SeatUpdates | None = None

    def given(self, name: str) -> bool:
        """Whether the field is there, null included."""
        return name in self.model_fields_set


SubscriptionUpdates = Annotated[list[SubscriptionUpdate], Field(max_length=SUBSCRIPTIONS_MAX)]


def subscription_document(
    body: SubscriptionBody, contract: Document, subscription_id: str, now: str, edit_id: str | None
) -> Document:
    """``contract``: the document of the contract that it is for."""
    starting_at = contract["starting_at"] if body.starting_at is None else rfc3339(body.starting_at)
    anchor = None if body.billing_cycle_config is None else body.billing_cycle_config.anchor_date
    seats = None if body.seat_config is None else seats_document(body.seat_config, starting_at)
    quantities = [{"starting_at": starting_at, "quantity": body.initial_quantity}]
    return {
        "id": subscription_id,
        "product_id": body.subscription_rate.product_id,
        "billing_frequency": body.subscription_rate.billing_frequency,
        "anchor_date": contract["usage_statement_schedule"]["billing_anchor_date"] if anchor is None else rfc3339(anchor),
        "collection_schedule": body.collection_schedule,
        "proration": body.proration.model_dump(exclude_none=True),
        "starting_at": starting_at,
        "ending_before": None if body.ending_before is None else rfc3339(body.ending_before),
        "quantity_management_mode": body.quantity_management_mode,
        "quantities": quantities if seats is None else quantities_of(seats, starting_at),
        "seats": seats,
        "name": body.name,
        "description": body.description,
        "custom_fields": body.custom_fields,
        "created_at": now,
        "edit_id": edit_id,
    }


def check_subscription(place: str, subscription: Document, contract: Document, catalog: Any) -> None:
    """``place``: what stands before the names of fields, "subscriptions[0]." for example. Raises BadRequest."""
    product_id, frequency = subscription["product_id"], subscription["billing_frequency"]
    product = catalog.get("products", product_id)
    if product is None:
        raise BadRequest(f"{place}subscription_rate.product_id: there is no product {product_id}")
    if product["type"] != "SUBSCRIPTION":
        raise BadRequest(
            f"{place}subscription_rate.product_id: must be a SUBSCRIPTION product; it is a {product['type']} product"
        )
    card = None if contract["rate_card_id"] is None else catalog.get("rate_cards", contract["rate_card_id"])
    rates = () if card is None else card["rates"]
    if not any(each["product_id"] == product_id and each.get("billing_frequency") == frequency for each in rates):
        raise BadRequest(
            f"{place}subscription_rate: the contract's rate card has no {frequency} rate for the product {product_id}"
        )
    _check_times(place, subscription, contract)
    if instant_us(subscription["anchor_date"]) > instant_us(subscription["starting_at"]) and (
        subscription["anchor_date"] != contract["usage_statement_schedule"]["billing_anchor_date"]
    ):
        raise BadRequest(f"{place}billing_cycle_config.anchor_date: must not be after the subscription's start")


def _check_times(place: str, subscription: Document, contract: Document) -> None:
    start, end = instant_us(subscription["starting_at"]), subscription["ending_before"]
    if start < instant_us(contract["starting_at"]):
        raise BadRequest(f"{place}starting_at: must not be before the contract's")
    if contract["ending_before"] is not None and start >= instant_us(contract["ending_before"]):
        raise BadRequest(f"{place}starting_at: must be before the contract's end")
    if end is not None and instant_us(end) <= start:
        raise BadRequest(f"{place}ending_before: must be after the subscription's start")


def with_subscriptions(
    contract: Document,
    bodies: list[SubscriptionBody],
    catalog: Any,
    new_id: NewId,
    now: str,
    place: str,
    edit_id: str | None = None,
) -> tuple[Document, dict[str, str]]:
    """The contract's document with more subscriptions, and their ids by temporary id. ``place``: what stands before "[0]"."""
    if not bodies:
        return contract, {}
    held = list(contract.get("subscriptions") or ())
    if len(held) + len(bodies) > SUBSCRIPTIONS_MAX:
        raise BadRequest(f"{place}: a contract has at most {SUBSCRIPTIONS_MAX} subscriptions")
    named: dict[str, str] = {}
    for index, body in enumerate(bodies):
        document = subscription_document(body, contract, new_id(), now, edit_id)
        check_subscription(f"{place}[{index}].", document, contract, catalog)
        if body.temporary_id is not None:
            if body.temporary_id in named:
                raise BadRequest(f"{place}[{index}].temporary_id: is given twice")
            named[body.temporary_id] = document["id"]
        held.append(document)
    return {**contract, "subscriptions": held}, named


def with_updated_subscriptions(contract: Document, updates: list[SubscriptionUpdate], place: str) -> Document:
    """Raises BadRequest or NotFound."""
    if not updates:
        return contract
    by_id = {each["id"]: each for each in contract.get("subscriptions") or ()}
    for index, update in enumerate(updates):
        held = by_id.get(update.subscription_id)
        if held is None:
            raise NotFound(f"the contract has no subscription {update.subscription_id}")
        by_id[held["id"]] = _updated(held, update, contract, f"{place}[{index}].")
    return {**contract, "subscriptions": list(by_id.values())}


def _updated(subscription: Document, update: SubscriptionUpdate, contract: Document, place: str) -> Document:
    changed = dict(subscription)
    if update.given("ending_before"):
        changed["ending_before"] = None if update.ending_before is None else rfc3339(update.ending_before)
    if update.name is not None:
        changed["name"] = update.name
    if update.given("proration_rounding"):
        rounding = update.proration_rounding
        changed["proration"] = {**changed["proration"], "rounding": None if rounding is None else rounding.model_dump()}
    _check_times(place, changed, contract)
    if update.quantity_management_mode_update is not None:
        changed |= _with_seats(changed, update.quantity_management_mode_update, place)
    seats = changed.get("seats")
    if update.seat_updates is not None:
        if seats is None:
            raise BadRequest(f"{place}seat_updates: do not apply to quantity_management_mode QUANTITY_ONLY")
        updates = f"{place}seat_updates."
        seats = with_seat_updates(seats, update.seat_updates, lambda name, at: _check_in_time(changed, f"{updates}{name}", at))
        return {**changed, "seats": seats, "quantities": quantities_of(seats, changed["starting_at"])}
    if update.quantity_updates and seats is not None:
        raise BadRequest(f"{place}quantity_updates: do not apply to quantity_management_mode SEAT_BASED; use seat_updates")
    for index, each in enumerate(update.quantity_updates):
        changed["quantities"] = _with_quantity(changed, each, f"{place}quantity_updates[{index}].")
    return changed


def _with_quantity(subscription: Document, update: QuantityUpdate, place: str) -> list[Document]:
    at = rfc3339(update.starting_at)
    _check_in_time(subscription, f"{place}starting_at", at)
    held = subscription["quantities"]
    before = [each for each in held if instant_us(each["starting_at"]) <= instant_us(at)]
    quantity = update.quantity
    if quantity is None:
        assert update.quantity_delta is not None
        with exact():
            quantity = Decimal(before[-1]["quantity"]) + update.quantity_delta
        if quantity < 0:
            raise BadRequest(f"{place}quantity_delta: the subscription has only {before[-1]['quantity']} then")
    kept = [each for each in before if each["starting_at"] != at]
    changed = [*kept, {"starting_at": at, "quantity": quantity}, *held[len(before) :]]
    if len(changed) > QUANTITIES_MAX:
        raise BadRequest(f"{place}starting_at: a subscription has at most {QUANTITIES_MAX} quantities")
    return changed


def _with_seats(subscription: Document, update: ModeUpdate, place: str) -> Document:
    """The fields that change when a subscription begins to have seats."""
    if subscription.get("seats") is not None:
        raise BadRequest(f"{place}quantity_management_mode_update: the subscription is SEAT_BASED already")
    seats = seats_of_quantities(update.seat_config.seat_group_key, subscription["quantities"])
    return {
        "quantity_management_mode": "SEAT_BASED",
        "seats": seats,
        "quantities": quantities_of(seats, subscription["starting_at"]),
    }


def _check_in_time(subscription: Document, field: str, at: str) -> None:
    start, end = instant_us(subscription["starting_at"]), subscription["ending_before"]
    if instant_us(at) < start or (end is not None and instant_us(at) >= instant_us(end)):
        raise BadRequest(f"{field}: must lie in the subscription's time")
