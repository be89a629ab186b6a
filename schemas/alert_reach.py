"""Alerts that name what is not there: they are taken, since it may come later, and their answer warns. Pure.

| an alert names | reachable if |
|---|---|
| group keys (spend) | a metric declares a group key with all of them, and with all keys of one of its products |
| a custom field | its key was added for the entity, or something has a value of it |
| a seat group key | a seat-based subscription has it (and a product tells usage apart by it, or a balance only falls with time) |
| a credit type (spend) | it is US dollars, or a rate card converts it, which rates and overwrites in it need |

What cannot be meant at all is refused by schemas.alert_rules and by the checks of ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from engine.catalog import USD_CENTS
from schemas.custom_fields import values_in
from schemas.documents import Document

SEAT_GROUP_KEY = "seat_group_key"
"""Stands for an entity in ``names_in``: keys of seat-based subscriptions."""
_FIELD_OWNERS = {
    "Contract": ("contract",),
    "Commit": ("commit",),
    "ContractCredit": ("contract_credit",),
    "ContractCreditOrCommit": ("commit", "contract_credit"),
}
FieldKey = tuple[str, str]
"""(entity as custom field keys name it, key)"""


class Known(NamedTuple):
    """What there is to name. ``names``: keys of custom fields that were added or that something has, and seat group keys."""

    metrics: Mapping[str, Document]
    products: Iterable[Document]
    rate_cards: Iterable[Document]
    names: frozenset[FieldKey]


class Doubt(NamedTuple):
    """``never``: the alert can't fire as everything is configured now."""

    text: str
    never: bool = True


def names_in(customer: Document) -> set[FieldKey]:
    """The keys of custom fields and of seats that a customer's document has."""
    seats = {
        (SEAT_GROUP_KEY, str(subscription["seats"]["group_key"]))
        for contract in customer["contracts"]
        for subscription in contract.get("subscriptions") or ()
        if subscription.get("seats") is not None
    }
    return seats | {(value.entity, value.key) for value in values_in(customer)}


def named_by(alert: Document) -> Document:
    """What of a stored alert can be in doubt; {} for one that names nothing of the kind."""
    unit = alert["credit_type_id"] if alert["type"] == "spend_threshold_reached" else None
    named = {
        "groups": sorted(group["key"] for group in alert["group_values"]),
        "fields": [[each["entity"], each["key"]] for each in _fields(alert)],
        "seats": None if alert.get("seat_filter") is None else alert["seat_filter"]["seat_group_key"],
        "unit": None if unit == USD_CENTS else unit,
    }
    return {name: value for name, value in named.items() if value}


def _fields(alert: Document) -> Iterator[Document]:
    """Exclusions are left out: an alert lives without what it excludes."""
    yield from alert.get("custom_field_filters") or ()
    for specifier in alert.get("alert_specifiers") or ():
        yield from specifier["custom_field_filters"]


def doubts(named: Document, known: Known) -> list[Doubt]:
    """Why an alert that names this (``named_by``) cannot fire, or not as it may be meant."""
    found: list[Doubt] = []
    if named.get("groups"):
        found.extend(_of_groups(named["groups"], known))
    for entity, key in named.get("fields", ()):
        owners = _FIELD_OWNERS[entity]
        if not any((owner, key) in known.names for owner in owners):
            found.append(
                Doubt(f"custom fields: there is no key {key!r} for {' or '.join(owners)}, and nothing has a value of it")
            )
    if named.get("seats"):
        found.extend(_of_seats(named["seats"], known))
    unit = named.get("unit")
    if unit and not any(each["custom_credit_type_id"] == unit for card in known.rate_cards for each in _conversions(card)):
        found.append(Doubt(f"credit_type_id: no rate card converts {unit}, so nothing can be priced in it"))
    return found


def _conversions(card: Document) -> Iterable[Document]:
    return card.get("credit_type_conversions") or ()


def _of_groups(keys: list[str], known: Known) -> Iterator[Doubt]:
    wanted, shown = set(keys), " and ".join(map(repr, keys))
    if not any(wanted <= set(declared) for metric in known.metrics.values() for declared in _declared(metric)):
        yield Doubt(f"group_values: no billable metric has a group key with {shown}")
    elif not any(wanted | _split(product) <= set(each) for product in known.products for each in _of_product(product, known)):
        yield Doubt(f"group_values: there is no product whose billable metric has one group key with {shown} and its own keys")


def _of_seats(key: str, known: Known) -> Iterator[Doubt]:
    if (SEAT_GROUP_KEY, key) not in known.names:
        yield Doubt(f"seat_filter.seat_group_key: no seat-based subscription has {key!r}")
    if not any(key in _split(product) for product in known.products):
        reason = "so no usage is known to be a seat's"
        yield Doubt(
            f"seat_filter.seat_group_key: no product has {key!r} as pricing or presentation group key, {reason}", never=False
        )


def _declared(metric: Document) -> Iterable[list[str]]:
    return metric.get("group_keys") or ()


def _split(product: Document) -> set[str]:
    current = product["current"]
    return {*(current.get("pricing_group_key") or ()), *(current.get("presentation_group_key") or ())}


def _of_product(product: Document, known: Known) -> Iterable[list[str]]:
    metric = known.metrics.get(product["current"].get("billable_metric_id") or "")
    return () if metric is None else _declared(metric)
