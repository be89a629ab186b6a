"""Rules for an alert's specifiers and custom field filters: what fits together, what is keyed, which value a request picks. Pure.

A specifier's inclusion lets in commits, credits or both, by the entities that its filters name (a filter on the contract, or on
ContractCreditOrCommit, lets in both; so do two filters, one on commits and one on credits: see engine.alerts.fields). What it
excludes must lie inside that: including commits while excluding credits is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from schemas.alerts import AlertCreate, AlertSpecifier, CustomerAlertGet, CustomFieldFilter, SpecifierFilter
from schemas.documents import Document
from schemas.errors import BadRequest

_BOTH = frozenset({"commits", "credits"})
_LETS_IN = {"Commit": frozenset({"commits"}), "ContractCredit": frozenset({"credits"})}

Filters = Sequence[CustomFieldFilter] | Sequence[SpecifierFilter]


def _let_in(filters: Filters) -> frozenset[str]:
    """Which balances filters can let in: the kinds that any of them names by itself, else both."""
    named = frozenset[str]().union(*(_LETS_IN.get(each.entity, ()) for each in filters))
    return named or _BOTH


def _check_contradiction(filters: Filters, where: str) -> None:
    """Raises BadRequest if every balance that the filters could let in would need two values of one field."""
    fields = [_twice(filters, kind) for kind in _let_in(filters)]
    if all(fields):
        raise BadRequest(f"{where}: {fields[0]!r} cannot have two values at once")


def _twice(filters: Filters, kind: str) -> str | None:
    """The key of which balances of a kind (or their contracts) would need two values; None if there is none."""
    wanted: dict[tuple[bool, str], str | None] = {}
    for each in filters:
        if kind not in _LETS_IN.get(each.entity, _BOTH):
            continue
        if wanted.setdefault((each.entity == "Contract", each.key), each.value) != each.value:
            return each.key
    return None


def check_fields(body: AlertCreate) -> None:
    """Raises BadRequest for filters and specifiers that do not fit together."""
    _check_contradiction(body.custom_field_filters, "custom_field_filters")
    for place, specifier in enumerate(body.alert_specifiers):
        _check_specifier(specifier, f"alert_specifiers[{place}]")
    keys = [each for specifier in body.alert_specifiers for each in specifier.custom_field_filters if each.value is None]
    if keys and (len(body.alert_specifiers) > 1 or len(body.alert_specifiers[0].custom_field_filters) > 1):
        raise BadRequest("alert_specifiers: a key without a value must be the only filter of the only specifier")


def _check_specifier(specifier: AlertSpecifier, where: str) -> None:
    included = _let_in(specifier.custom_field_filters)
    _check_contradiction(specifier.custom_field_filters, f"{where}.custom_field_filters")
    for number, entry in enumerate(specifier.exclude):
        place = f"{where}.exclude[{number}].custom_field_filters"
        if not entry.custom_field_filters:
            raise BadRequest(f"{place}: must name at least one custom field")
        _check_contradiction(entry.custom_field_filters, place)
        for each in entry.custom_field_filters:
            outside = frozenset() if each.entity == "Contract" else _LETS_IN.get(each.entity, _BOTH) - included
            if outside:
                raise BadRequest(
                    f"{place}: the specifier does not include {' or '.join(sorted(outside))}, so none can be excluded"
                )


def key_filter(alert: Document) -> Document | None:
    """The filter without a value by which a stored alert tells its states apart; None for every other alert."""
    for specifier in alert.get("alert_specifiers") or ():
        for each in specifier["custom_field_filters"]:
            if each.get("value") is None:
                found: Document = each
                return found
    return None


def check_values(before: Document, after: Document, for_all: Iterable[Document], values_max: int) -> None:
    """Raises BadRequest if a change of a customer's document gives an alert that is split by a custom field more values than it
    may have. Values that were there before the alert, or the limit, stay."""
    for alert in (*for_all, *after["alerts"]):
        key = key_filter(alert)
        if key is None or alert["archived_at"] is not None:
            continue
        had = _values(before, key) if any(each["id"] == alert["id"] for each in (*for_all, *before["alerts"])) else set()
        has = _values(after, key)
        if len(has) > max(values_max, len(had)):
            raise BadRequest(
                f"custom_fields: at most {values_max} values of {key['key']!r} may be used for one customer, "
                f"because the alert {alert['id']} is split by it"
            )


def _values(customer: Document, key: Document) -> set[str]:
    if key["entity"] == "Contract":
        documents = customer["contracts"]
    else:
        kinds = _LETS_IN.get(key["entity"], _BOTH)
        documents = [
            each for each in customer.get("balances") or () if ("credits" if each["type"] == "CREDIT" else "commits") in kinds
        ]
    found = [(each.get("custom_fields") or {}).get(key["key"]) for each in documents if each.get("archived_at") is None]
    return {value for value in found if value is not None}


def chosen_value(body: CustomerAlertGet, alert: Document) -> str | None:
    """The value of a keyed alert that a request picks, if it picks one."""
    name = "alert_specifiers" if body.alert_specifiers else "custom_field_filters"
    picked: list[CustomFieldFilter | SpecifierFilter] = [*body.custom_field_filters]
    for specifier in body.alert_specifiers:
        picked += specifier.custom_field_filters
    if not picked:
        if body.alert_specifiers:
            raise BadRequest("alert_specifiers: must name one key and its value")
        return None
    key = key_filter(alert)
    if key is None:
        raise BadRequest(f"{name}: does not apply: the alert has one state, and none for each value of a custom field")
    wanted = {(each.entity, each.key, each.value) for each in picked}
    entity, field, value = wanted.pop()
    if wanted or value is None or (entity, field) != (key["entity"], key["key"]):
        raise BadRequest(f"{name}: must name one value of the {key['entity']}'s {key['key']!r}, by which the alert is split")
    return value


def with_value(alert: Document, value: str) -> Document:
    """A keyed alert as it is shown for one value of its key."""
    (specifier,) = alert["alert_specifiers"]
    (key,) = specifier["custom_field_filters"]
    return {**alert, "alert_specifiers": [{**specifier, "custom_field_filters": [{**key, "value": value}]}]}
