"""Rules on overrides and usage filters that need more than the request's body to check, and changes of a contract's. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from engine.catalog import USD_CENTS
from schemas.documents import Document, instant_us
from schemas.errors import BadRequest, NotFound, NotSupported
from schemas.overrides import OVERRIDES_MAX, USAGE_FILTERS_MAX, NewId, OverrideBody


class Catalog(Protocol):
    """Documents of the catalog by kind and id."""

    def get(self, kind: str, document_id: str) -> Document | None: ...


def with_overrides(
    contract: Document, add: Sequence[OverrideBody], remove: Sequence[str], catalog: Catalog, new_id: NewId, now: str, place: str
) -> Document:
    """The contract's document with overrides removed and added (in this order); those added are its latest.

    ``place``: what stands before "[0]" in messages, "overrides" for example. Raises BadRequest, NotFound or NotSupported.
    """
    held = list(contract.get("overrides") or ())
    known = {each["id"] for each in held}
    for override_id in remove:
        if override_id not in known:
            raise NotFound(f"the contract has no override {override_id}")
    kept = [each for each in held if each["id"] not in set(remove)]
    if len(kept) + len(add) > OVERRIDES_MAX:
        raise BadRequest(f"{place}: a contract has at most {OVERRIDES_MAX} overrides")
    if add and contract["rate_card_id"] is None:
        raise BadRequest(f"{place}: the contract has no rate card, so there is nothing to override")
    for index, override in enumerate(add):
        _check_override(f"{place}[{index}].", override, contract, catalog)
    added = [each.document(new_id(), now) for each in add]
    if not added and len(kept) == len(held):
        return contract
    return {**contract, "overrides": [*kept, *added]}


def with_real_ids(contract: Document, real: Mapping[str, str]) -> Document:
    """The contract's document with its overrides naming commits by their ids. ``real``: by the temporary ids of one request."""
    if not real:
        return contract
    changed = dict(contract)
    for name in ("overrides", "initial_overrides"):
        if name in contract:
            changed[name] = [_with_real_ids(each, real) for each in contract[name]]
    return changed


def _with_real_ids(override: Document, real: Mapping[str, str]) -> Document:
    names = ("commit_ids", "any_commit_or_credit_ids")
    specifiers = [
        each | {name: [real.get(given, given) for given in each[name]] for name in names if name in each}
        for each in override["override_specifiers"]
    ]
    return {**override, "override_specifiers": specifiers}


def _check_override(place: str, override: OverrideBody, contract: Document, catalog: Catalog) -> None:
    explicit = contract["multiplier_override_prioritization"] == "EXPLICIT"
    if override.type == "TIERED" and not explicit:
        raise BadRequest(f"{place}type: TIERED needs a contract with multiplier_override_prioritization EXPLICIT")
    if explicit and override.type in ("MULTIPLIER", "TIERED") and override.priority is None:
        raise BadRequest(f"{place}priority: is required with multiplier_override_prioritization EXPLICIT")
    if override.product_id is not None:
        _rated_product(f"{place}product_id", override.product_id, catalog)
    for index, specifier in enumerate(override.override_specifiers):
        if specifier.product_id is None:
            continue
        name = f"{place}override_specifiers[{index}]."
        product = _rated_product(f"{name}product_id", specifier.product_id, catalog)
        key = product["current"].get("pricing_group_key") or []
        if not set(specifier.pricing_group_values or ()) <= set(key):
            raise BadRequest(f"{name}pricing_group_values: names keys that are not in the product's pricing_group_key")
        shown = product["current"].get("presentation_group_key") or []
        if not set(specifier.presentation_group_values or ()) <= set(shown):
            raise BadRequest(f"{name}presentation_group_values: names keys that are not in the product's presentation_group_key")
    if override.overwrite_rate is not None:
        _check_credit_type(f"{place}overwrite_rate.credit_type_id", override.overwrite_rate.credit_type_id, contract, catalog)


def _rated_product(place: str, product_id: str, catalog: Catalog) -> Document:
    product = catalog.get("products", product_id)
    if product is None:
        raise BadRequest(f"{place}: there is no product {product_id}")
    if product["type"] not in ("USAGE", "SUBSCRIPTION"):
        raise NotSupported(f"{place}: overrides for {product['type']} products are not supported yet")
    return product


def _check_credit_type(place: str, credit_type_id: str, contract: Document, catalog: Catalog) -> None:
    if credit_type_id == USD_CENTS:
        return
    unit = catalog.get("pricing_units", credit_type_id)
    if unit is None or unit["archived_at"] is not None:
        raise BadRequest(f"{place}: there is no credit type {credit_type_id}")
    card = catalog.get("rate_cards", contract["rate_card_id"])
    if card is None or all(each["custom_credit_type_id"] != credit_type_id for each in card["credit_type_conversions"]):
        raise BadRequest(f"{place}: the rate card has no credit_type_conversions entry for {credit_type_id}")


def with_usage_filter(contract: Document, usage_filter: Document, catalog: Catalog, place: str = "") -> Document:
    """The contract's document with one more usage filter. ``place``: prefix for the names of fields."""
    start = instant_us(usage_filter["starting_at"])
    end = contract["ending_before"]
    if start < instant_us(contract["starting_at"]) or (end is not None and start >= instant_us(end)):
        raise BadRequest(f"{place}starting_at: must lie in the contract's time")
    filters = [*(contract.get("usage_filters") or ()), usage_filter]
    if len(filters) > USAGE_FILTERS_MAX:
        raise BadRequest(f"{place}group_key: a contract has at most {USAGE_FILTERS_MAX} usage filters")
    keys = {each["group_key"] for each in filters}
    for product in _products_of(contract, catalog):
        metric = catalog.get("metrics", product["current"]["billable_metric_id"])
        needed = keys.union(*(product["current"].get(name) or () for name in ("pricing_group_key", "presentation_group_key")))
        if metric is None or not any(needed <= set(declared) for declared in metric.get("group_keys") or ()):
            raise BadRequest(
                f"{place}group_key: the metric of the product {product['id']} declares no compound group key that holds "
                f"{', '.join(sorted(needed))}"
            )
    return {**contract, "usage_filters": filters}


def _products_of(contract: Document, catalog: Catalog) -> Iterable[Document]:
    """The USAGE products that the contract's rate card has rates for."""
    card = None if contract["rate_card_id"] is None else catalog.get("rate_cards", contract["rate_card_id"])
    for product_id in sorted({rate["product_id"] for rate in card["rates"]} if card is not None else ()):
        product = catalog.get("products", product_id)
        if product is not None and product["type"] == "USAGE":
            yield product
