"""Relative dates, and the aliases of packages."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from schemas.alias_times import check_own_aliases, holder_at, without_aliases
from schemas.documents import instant_us
from schemas.errors import BadRequest
from schemas.packages import PackageCreate, contract_request, package_document
from schemas.relative import Duration, Offset, absolute, ends, starts

PRODUCT = "00000000-0000-4000-8000-00000000000a"
CUSTOMER = "00000000-0000-4000-8000-00000000000b"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("start", "offset", "duration", "expected"),
    [
        ("2026-01-31", ("MONTHS", 0), ("MONTHS", 1), ("2026-01-31", "2026-02-28")),
        ("2026-01-31", ("MONTHS", 1), ("MONTHS", 1), ("2026-02-28", "2026-03-31")),  # no gap, and no overlap, on the 31st
        ("2026-01-31", ("MONTHS", 2), ("MONTHS", 1), ("2026-03-31", "2026-04-30")),
        ("2024-02-29", ("YEARS", 1), ("YEARS", 3), ("2025-02-28", "2028-02-29")),
        ("2026-01-31", ("MONTHS", 1), ("DAYS", 30), ("2026-02-28", "2026-03-30")),
        ("2026-01-31", ("DAYS", 1), ("MONTHS", 1), ("2026-02-01", "2026-03-01")),
        ("2026-01-31T07:00", ("WEEKS", 2), ("WEEKS", 1), ("2026-02-14T07:00", "2026-02-21T07:00")),
        ("2026-12-15", ("MONTHS", 1), ("YEARS", 1), ("2027-01-15", "2028-01-15")),
        ("2023-12-31", ("DAYS", 0), ("MONTHS", 2), ("2023-12-31", "2024-02-29")),
    ],
)
def test_relative_dates(start: str, offset: tuple[str, int], duration: tuple[str, int], expected: tuple[str, str]) -> None:
    after = Offset.model_validate({"unit": offset[0], "value": offset[1]})
    lasting = Duration.model_validate({"unit": duration[0].lower(), "value": duration[1]})
    assert starts(at(start), after) == at(expected[0])
    assert ends(at(start), after, lasting) == at(expected[1])


def test_every_date_of_a_block_is_made_absolute() -> None:
    block = {
        "starting_at_offset": {"unit": "DAYS", "value": 1},
        "duration": {"unit": "DAYS", "value": 2},
        "custom_fields": {"duration": "kept", "timestamp": "kept"},
        "invoice_schedule": {"schedule_items": [{"date_offset": {"unit": "WEEKS", "value": 1}, "quantity": 2}]},
        "commit_duration": {"value": 1},
    }
    assert absolute("commits", [block], at("2026-01-01")) == [
        {
            "starting_at": at("2026-01-02"),
            "ending_before": at("2026-01-04"),
            "custom_fields": {"duration": "kept", "timestamp": "kept"},
            "invoice_schedule": {"schedule_items": [{"timestamp": at("2026-01-08"), "quantity": 2}]},
            "commit_duration": {"value": 1},
        }
    ]


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"starting_at": "2026-01-01T00:00:00Z"}, "commits.starting_at: is not a known field"),
        ({"items": [{"timestamp": "x"}]}, "commits.items[0].timestamp: is not a known field"),
        ({"starting_at_offset": {"unit": "HOURS", "value": 1}}, "commits.starting_at_offset: unit"),
        ({"starting_at_offset": {"unit": "DAYS", "value": -1}}, "commits.starting_at_offset: value"),
        ({"duration": {"unit": "DAYS", "value": 0}}, "commits.duration: value"),
        ({"duration": {"unit": "YEARS", "value": 101}}, "commits.duration: value must be at most 100 YEARS"),
        ({"duration": 3}, "commits.duration: body: must be"),
        ({"date_offset": {"unit": "DAYS", "value": 1, "more": 1}}, "commits.date_offset: more: is not a known field"),
    ],
)
def test_dates_that_are_not_relative(block: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequest) as refused:
        absolute("commits", block, at("2026-01-01"))
    assert refused.value.message.startswith(message)


def aliased(package_id: str, *aliases: dict[str, str]) -> dict[str, Any]:
    return {"id": package_id, "aliases": list(aliases)}


def span(name: str, start: str | None = None, end: str | None = None) -> dict[str, str]:
    bounds = (("starting_at", start), ("ending_before", end))
    return {"name": name, **{key: f"{value}T00:00:00Z" for key, value in bounds if value is not None}}


@pytest.mark.parametrize(
    ("taken", "left"),
    [
        (span("a"), []),
        (span("b"), [span("a", "2026-02-01", "2026-06-01")]),
        (span("a", "2026-03-01"), [span("a", "2026-02-01", "2026-03-01")]),
        (span("a", None, "2026-03-01"), [span("a", "2026-03-01", "2026-06-01")]),
        (span("a", "2026-03-01", "2026-04-01"), [span("a", "2026-02-01", "2026-03-01"), span("a", "2026-04-01", "2026-06-01")]),
        (span("a", "2026-06-01"), [span("a", "2026-02-01", "2026-06-01")]),
    ],
)
def test_the_latest_package_has_the_alias(taken: dict[str, str], left: list[dict[str, str]]) -> None:
    older = aliased("older", span("a", "2026-02-01", "2026-06-01"))
    assert without_aliases(older, [taken])["aliases"] == left


def test_an_alias_stands_for_a_package_at_a_time() -> None:
    packages = [aliased("one", span("a", None, "2026-02-01")), aliased("two", span("a", "2026-02-01"))]
    assert holder_at("a", instant_us("2026-01-31T00:00:00Z"), packages) == packages[0]
    assert holder_at("a", instant_us("2026-02-01T00:00:00Z"), packages) == packages[1]
    assert holder_at("b", instant_us("2026-02-01T00:00:00Z"), packages) is None
    with pytest.raises(BadRequest, match="twice"):
        check_own_aliases([span("a"), span("a", "2026-01-01")])
    check_own_aliases([span("a", None, "2026-01-01"), span("a", "2026-01-01"), span("b")])


def test_a_contracts_request() -> None:
    body = PackageCreate.model_validate(
        {
            "name": "Starter",
            "contract_name": "Starter plan",
            "duration": {"unit": "YEARS", "value": 1},
            "credits": [
                {
                    "product_id": PRODUCT,
                    "access_schedule": {
                        "schedule_items": [
                            {
                                "amount": 5,
                                "starting_at_offset": {"unit": "MONTHS", "value": 1},
                                "duration": {"unit": "MONTHS", "value": 1},
                            }
                        ]
                    },
                }
            ],
        }
    )
    ids = iter(map(str, range(100)))
    package = package_document(body, PRODUCT, lambda: next(ids), "2026-01-01T00:00:00Z")
    request = contract_request(package, {"customer_id": CUSTOMER}, at("2026-01-31"))
    assert (request.name, request.package_id, request.ending_before) == ("Starter plan", PRODUCT, at("2027-01-31"))
    item = request.credits[0].access_schedule.schedule_items[0]
    assert (item.amount, item.starting_at, item.ending_before) == (5, at("2026-02-28"), at("2026-03-31"))
    with pytest.raises(BadRequest, match="before the year 9998"):
        contract_request(package, {"customer_id": CUSTOMER}, at("9998-01-31"))
