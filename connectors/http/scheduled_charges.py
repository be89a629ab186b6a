"""Scheduled charges that a contract is made with, or that an edit adds."""

from __future__ import annotations

from collections.abc import Sequence

from connectors.http.editing import read_catalog
from connectors.http.services import Services
from schemas.documents import Document
from schemas.scheduled_charges import ScheduledChargeBody, charge_documents


async def new_charges(
    services: Services, bodies: Sequence[ScheduledChargeBody], place: str, now: str, edit_id: str | None = None
) -> list[Document]:
    """Their documents, checked against the catalog. ``place``: the field that holds them."""
    if not bodies:
        return []
    catalog = await read_catalog(services)
    return charge_documents(bodies, catalog.all("products"), services.new_id, now, place, edit_id)
