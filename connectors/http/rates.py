"""Reading a rate card's rates: at one moment, or as a schedule."""

from __future__ import annotations

from collections.abc import Sequence

from connectors.http.editing import read_catalog
from connectors.http.pages import page
from connectors.http.routing import Call, Route, route
from connectors.http.services import Services
from schemas.common import Page, rfc3339
from schemas.documents import Document, instant_text, instant_us
from schemas.product_order import product_order
from schemas.product_states import as_of
from schemas.rate_cards import GetRates, GetRateSchedule, RateRow, RatesQuery, ScheduleSelector, rate_answer
from schemas.rate_schedule import effective, rate_row, selected, within

_BASE = "/v1/contract-pricing/rate-cards"


async def _rows(
    services: Services,
    card_id: str,
    bounds_us: tuple[int, int | None],
    selectors: Sequence[ScheduleSelector],
    query: RatesQuery,
) -> Page[RateRow]:
    catalog = await read_catalog(services)
    card = catalog.need("rate_cards", card_id)
    units, starting_at = catalog.all("pricing_units"), instant_text(bounds_us[0])
    products = {product_id: as_of(each, starting_at) for product_id, each in catalog.all("products").items()}
    rows = [row for row in within(effective(card["rates"]), *bounds_us) if selected(row, products[row["product_id"]], selectors)]
    order = {product_id: f"{index:06d}" for index, product_id in enumerate(product_order(card))}
    shown, cursor = page(rows, lambda row: (order[row["product_id"]], _place(row)), query.limit, query.next_page)
    data = [rate_row(row, products[row["product_id"]], rate_answer(row, units)) for row in shown]
    return Page(data=data, next_page=cursor)


def _place(row: Document) -> str:
    """Rows differ in product, pricing group values or start."""
    values = "".join(f"\x1f{key}\x1f{value}" for key, value in sorted(row["pricing_group_values"].items()))
    return f"{row['product_id']}{values}\x1e{row['starting_at']}"


async def get_rates(call: Call[GetRates, RatesQuery]) -> Page[RateRow]:
    at = instant_us(rfc3339(call.body.at))
    return await _rows(call.services, call.body.rate_card_id, (at, at + 1), call.body.selectors, call.query)


async def get_rate_schedule(call: Call[GetRateSchedule, RatesQuery]) -> Page[RateRow]:
    end = call.body.ending_before
    bounds = instant_us(rfc3339(call.body.starting_at)), None if end is None else instant_us(rfc3339(end))
    return await _rows(call.services, call.body.rate_card_id, bounds, call.body.selectors, call.query)


ROUTES: list[Route] = [
    route("POST", f"{_BASE}/getRates", get_rates, "Get the rates that hold at one time"),
    route("POST", f"{_BASE}/getRateSchedule", get_rate_schedule, "Get the rates that hold in a stretch of time"),
]
