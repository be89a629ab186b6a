"""A route: method, path, and a handler whose annotations say what goes in and what comes out.

    async def create(call: Call[CustomerCreate, NoQuery]) -> Data[Customer]: ...

    route("POST", "/v1/customers", create, "Create a customer")

The models of the request and of the answer are read from the handler's signature, so the server, the checks and the OpenAPI
document cannot disagree.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, get_args, get_type_hints

from pydantic import BaseModel

from connectors.http.services import Services
from schemas.documents import instant_text

B = TypeVar("B", bound=BaseModel)
Q = TypeVar("Q", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Call(Generic[B, Q]):
    """One request, checked. ``now_us``: when it arrived."""

    services: Services
    body: B
    query: Q
    path: Mapping[str, str]
    now_us: int

    @property
    def now(self) -> str:
        return instant_text(self.now_us)

    @property
    def now_ms(self) -> int:
        return self.now_us // 1000


Handler = Callable[[Call[Any, Any]], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Route:
    """``body``, ``query``: models; ``answer``: the type of the answer, None for an empty body."""

    method: str
    path: str
    handler: Handler
    summary: str
    body: type[BaseModel]
    query: type[BaseModel]
    answer: Any

    @property
    def tag(self) -> str:
        return self.handler.__module__.rsplit(".", 1)[-1]


def route(method: str, path: str, handler: Handler, summary: str) -> Route:
    hints = get_type_hints(handler)
    body, query = get_args(hints["call"])
    answer = None if hints["return"] is type(None) else hints["return"]
    return Route(method, path, handler, summary, body, query, answer)
