"""Which of a rate card's rates counts when: the latest added of those that cover an hour.

``rates`` of a card are in the order in which they were added and may overlap. ``effective`` cuts them into rows that do not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise

from schemas.documents import Document, instant_text, instant_us
from schemas.rate_cards import RateAnswer, RateRow, RateSelector, ScheduleSelector

_FOREVER = 1 << 62


def _bounds(rate: Document) -> tuple[int, int]:
    end = rate["ending_before"]
    return instant_us(rate["starting_at"]), _FOREVER if end is None else instant_us(end)


def effective(rates: Sequence[Document]) -> list[Document]:
    """Rows without overlap by product, billing frequency, pricing group values and time; each is a rate with the bounds in which
    it counts."""
    groups: dict[tuple[str, str, tuple[tuple[str, str], ...]], list[Document]] = defaultdict(list)
    for rate in rates:
        values = tuple(sorted(rate["pricing_group_values"].items()))
        groups[rate["product_id"], rate.get("billing_frequency") or "", values].append(rate)
    return [row for key in sorted(groups) for row in _resolved(groups[key])]


def _resolved(rates: Sequence[Document]) -> Iterable[Document]:
    bounds = [_bounds(rate) for rate in rates]
    edges = sorted({edge for pair in bounds for edge in pair})
    segments: list[tuple[int, int, int]] = []  # rate's index, start, end
    for start, end in pairwise(edges):
        covering = [index for index, (first, last) in enumerate(bounds) if first <= start and end <= last]
        if not covering:
            continue
        if segments and segments[-1][0] == covering[-1] and segments[-1][2] == start:
            segments[-1] = (covering[-1], segments[-1][1], end)
        else:
            segments.append((covering[-1], start, end))
    for index, start, end in segments:
        ending = None if end == _FOREVER else instant_text(end)
        yield {**rates[index], "starting_at": instant_text(start), "ending_before": ending}


def within(rows: Iterable[Document], start_us: int, end_us: int | None) -> list[Document]:
    """The rows that share a moment with [start_us, end_us); None = no end."""
    end = _FOREVER if end_us is None else end_us
    return [row for row in rows if _bounds(row)[0] < end and start_us < _bounds(row)[1]]


def selected(row: Document, product: Document, selectors: Sequence[ScheduleSelector]) -> bool:
    """Whether a selector fits (any of them; no selectors = everything)."""
    return not selectors or any(_fits(row, product, each) for each in selectors)


def _fits(row: Document, product: Document, selector: ScheduleSelector) -> bool:
    values = row["pricing_group_values"]
    tags = selector.product_tags if isinstance(selector, RateSelector) else None
    return (
        (selector.product_id is None or selector.product_id == row["product_id"])
        and (selector.pricing_group_values is None or selector.pricing_group_values == values)
        and (selector.partial_pricing_group_values is None or selector.partial_pricing_group_values.items() <= values.items())
        and selector.billing_frequency in (None, row.get("billing_frequency"))
        and (tags is None or set(tags) <= set(product["current"].get("tags") or ()))
    )


def rate_row(row: Document, product: Document, rate: RateAnswer) -> RateRow:
    fields = {
        "product_id": row["product_id"],
        "product_name": product["current"]["name"],
        "product_tags": product["current"].get("tags") or [],
        "product_custom_fields": product["custom_fields"],
        "entitled": row["entitled"],
        "starting_at": row["starting_at"],
        "ending_before": row["ending_before"],
        "rate": rate,
    }
    if "commit_rate" in row:
        fields["commit_rate"] = row["commit_rate"]
    if row.get("billing_frequency") is not None:
        fields["billing_frequency"] = row["billing_frequency"]
    if row["pricing_group_values"]:
        fields["pricing_group_values"] = row["pricing_group_values"]
    return RateRow.model_validate(fields)
