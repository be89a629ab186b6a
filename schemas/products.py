"""Products: bodies, answers, and the stored document.

Products of types USAGE, SUBSCRIPTION and COMPOSITE have rates. FIXED ones name commits, credits and scheduled charges;
professional services are kept, and nothing refers to them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from schemas.common import (
    Answer,
    Body,
    CustomFields,
    HourInstant,
    Id,
    Key,
    Name,
    OutInstant,
    OutNumber,
    PageQuery,
    Positive,
    Unsupported,
    Upper,
    distinct,
    rfc3339,
)
from schemas.documents import Document
from schemas.product_states import as_of

CREATED_BY = "api"
ProductType = Literal["USAGE", "SUBSCRIPTION", "COMPOSITE", "FIXED", "PRO_SERVICE"]
Keys = Annotated[list[Key], Field(max_length=10), AfterValidator(distinct)]
Tags = Annotated[list[Key], Field(max_length=100), AfterValidator(distinct)]
Ids = Annotated[list[Id], Field(max_length=1000), AfterValidator(distinct)]

_USAGE_ONLY = ("billable_metric_id", "pricing_group_key", "presentation_group_key", "quantity_conversion", "quantity_rounding")
_COMPOSITE_ONLY = ("composite_product_ids", "composite_tags", "exclude_free_usage", "include_composite_spend")


class QuantityConversion(Body):
    conversion_factor: Positive
    operation: Annotated[Literal["MULTIPLY", "DIVIDE"], Upper]
    name: Name | None = None


class QuantityRounding(Body):
    rounding_method: Annotated[Literal["ROUND_UP", "ROUND_DOWN", "ROUND_HALF_UP"], Upper]
    decimal_places: Annotated[int, Field(ge=0, le=18)]


class _ProductFields(Body):
    billable_metric_id: Id | None = None
    composite_product_ids: Ids | None = None
    composite_tags: Tags | None = None
    exclude_free_usage: bool | None = None
    include_composite_spend: bool | None = None
    is_refundable: bool | None = None
    netsuite_internal_item_id: Key | None = None
    netsuite_overage_item_id: Key | None = None
    presentation_group_key: Keys | None = None
    pricing_group_key: Keys | None = None
    quantity_conversion: QuantityConversion | None = None
    quantity_rounding: QuantityRounding | None = None
    sql_breakdown_granularity: Unsupported = None
    tags: Tags | None = None


class ProductCreate(_ProductFields):
    name: Name
    type: Annotated[Literal["FIXED", "USAGE", "COMPOSITE", "SUBSCRIPTION", "PROFESSIONAL_SERVICE", "PRO_SERVICE"], Upper]
    custom_fields: CustomFields = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fits_its_type(self) -> ProductCreate:
        if self.type == "USAGE" and self.billable_metric_id is None:
            raise ValueError("billable_metric_id is required for a USAGE product")
        if self.type == "COMPOSITE" and not (self.composite_product_ids or self.composite_tags):
            raise ValueError("composite_product_ids or composite_tags are required for a COMPOSITE product")
        foreign = (*(_USAGE_ONLY if self.type != "USAGE" else ()), *(_COMPOSITE_ONLY if self.type != "COMPOSITE" else ()))
        for name in foreign:
            if getattr(self, name) not in (None, [], False):
                raise ValueError(f"{name} does not apply to a {self.type} product")
        return self


class ProductUpdate(_ProductFields):
    """Name, tags and the like change from ``starting_at`` on (schemas.product_states). What a product is rated by may not change
    yet."""

    product_id: Id
    starting_at: HourInstant
    name: Name | None = None
    billable_metric_id: Unsupported = None
    presentation_group_key: Unsupported = None
    pricing_group_key: Unsupported = None
    quantity_conversion: Unsupported = None
    quantity_rounding: Unsupported = None
    composite_product_ids: Unsupported = None
    composite_tags: Unsupported = None
    exclude_free_usage: Unsupported = None
    include_composite_spend: Unsupported = None


class ProductGet(Body):
    id: Id


class ProductArchive(Body):
    product_id: Id


class ProductList(Body):
    archive_filter: Annotated[Literal["ARCHIVED", "NOT_ARCHIVED", "ALL"], Upper] = "NOT_ARCHIVED"


class ProductListQuery(PageQuery):
    pass


class QuantityConversionAnswer(Answer):
    conversion_factor: OutNumber
    operation: str
    name: str | None = None


class QuantityRoundingAnswer(Answer):
    rounding_method: str
    decimal_places: int


class _StateFields(Answer):
    created_at: OutInstant
    created_by: str
    starting_at: OutInstant | None = None
    billable_metric_id: str | None = None
    composite_product_ids: list[str] | None = None
    composite_tags: list[str] | None = None
    exclude_free_usage: bool | None = None
    include_composite_spend: bool | None = None
    is_refundable: bool | None = None
    netsuite_internal_item_id: str | None = None
    netsuite_overage_item_id: str | None = None
    presentation_group_key: list[str] | None = None
    pricing_group_key: list[str] | None = None
    quantity_conversion: QuantityConversionAnswer | None = None
    quantity_rounding: QuantityRoundingAnswer | None = None
    tags: list[str] | None = None


class ProductState(_StateFields):
    name: str


class ProductUpdateAnswer(_StateFields):
    name: str | None = None


class Product(Answer):
    id: str
    type: ProductType
    initial: ProductState
    current: ProductState
    updates: list[ProductUpdateAnswer]
    custom_fields: dict[str, str]
    archived_at: OutInstant | None


def product_document(body: ProductCreate, product_id: str, now: str) -> Document:
    fields = body.model_dump(exclude={"type", "custom_fields", "sql_breakdown_granularity"}, exclude_none=True)
    state: dict[str, Any] = {**fields, "created_at": now, "created_by": CREATED_BY}
    return {
        "id": product_id,
        "type": "PRO_SERVICE" if body.type == "PROFESSIONAL_SERVICE" else body.type,
        "initial": state,
        "current": state,
        "updates": [],
        "custom_fields": body.custom_fields,
        "archived_at": None,
    }


def updated_product(document: Document, body: ProductUpdate, now: str) -> Document:
    """The changes hold from ``starting_at`` on."""
    fields = body.model_dump(exclude={"product_id", "starting_at", "sql_breakdown_granularity"}, exclude_none=True)
    update = {**fields, "starting_at": rfc3339(body.starting_at), "created_at": now, "created_by": CREATED_BY}
    return as_of({**document, "updates": [*document["updates"], update]}, now)


def product_answer(document: Document, now: str) -> Product:
    return Product.model_validate(as_of(document, now))
