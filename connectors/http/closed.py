"""Up to when a customer's billing periods are closed, for warnings about contracts that reach further back."""

from __future__ import annotations

from connectors.http.services import Services
from engine.alerts.stored import decode_meta
from engine.periods import HOUR_US


async def closed_hour(services: Services, customer_id: str, now_us: int) -> int:
    """Periods that end by this hour get no invoice any more: what the worker has stored, else the end of grace now."""
    stored, *_ = await services.customers.state(customer_id)
    final_hour = decode_meta(stored.state).final_hour
    return now_us // HOUR_US - services.settings.grace_period_hours if final_hour is None else final_hour
