"""Which alerts can never fire as everything is configured now: for the answer of the request that makes one, and as a metric."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import orjson

from connectors.http.editing import CatalogEdit, read_catalog
from connectors.http.services import Services
from connectors.metrics import ALERTS_UNREACHABLE
from connectors.redis.named import change_mark, read_alerts, read_names
from schemas.alert_reach import FieldKey, Known, doubts, named_by
from schemas.custom_fields import KEYS_KIND
from schemas.documents import Document

OWNERS = "alert_owners"
"""Claims that say whose an alert is, because archiving names only the alert: alert id -> customer id."""
_PAGE = 200


def _known(catalog: CatalogEdit, names: Iterable[FieldKey]) -> Known:
    added = ((each["entity"], each["key"]) for each in catalog.all(KEYS_KIND).values() if each["archived_at"] is None)
    return Known(
        metrics=catalog.all("metrics"),
        products=list(catalog.all("products").values()),
        rate_cards=list(catalog.all("rate_cards").values()),
        names=frozenset([*names, *added]),
    )


def warnings_of(alert: Document, catalog: CatalogEdit, names: Iterable[FieldKey]) -> list[str]:
    """``names``: of the customer whose alert it is (``names_in``), or of all (``read_names``)."""
    named = named_by(alert)
    return [doubt.text for doubt in doubts(named, _known(catalog, names))] if named else []


async def _still_there(services: Services, alert_ids: list[str]) -> int:
    """How many of these alerts of single customers are not archived. A note may outlive its alert."""
    found = 0
    for start in range(0, len(alert_ids), _PAGE):
        wanted = set(alert_ids[start : start + _PAGE])
        owners = [owner for each in wanted if (owner := await services.catalog.claimed(OWNERS, each)) is not None]
        for _, raw in (await services.customers.get_many(sorted(set(owners)))).values():
            customer = orjson.loads(raw)
            if customer["archived_at"] is None:
                found += sum(each["id"] in wanted and each["archived_at"] is None for each in customer["alerts"])
    return found


@dataclass(slots=True)
class Reach:
    """Keeps the metric. The catalog is read again after a change only; a customer only where one of its alerts is in doubt."""

    services: Services
    _mark: tuple[int, ...] = ()

    async def refresh(self) -> None:
        redis = self.services.redis
        mark = await change_mark(redis)
        if mark == self._mark:
            return
        catalog = await read_catalog(self.services)
        known = _known(catalog, await read_names(redis))

        def never(named: Document) -> bool:
            return any(doubt.never for doubt in doubts(named, known))

        for_all = sum(never(named_by(each)) for each in catalog.all("alerts").values() if each["archived_at"] is None)
        doubtful = [alert_id for alert_id, named in (await read_alerts(redis)).items() if never(named)]
        ALERTS_UNREACHABLE.set(for_all + await _still_there(self.services, doubtful))
        self._mark = mark
