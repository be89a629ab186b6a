"""No path of the official client answers 404 as an unknown path; what is not served answers 501 and says what it is."""

from __future__ import annotations

import httpx
import pytest
from metronome import APIStatusError, AsyncMetronome

from connectors.http.server import ROUTES
from tests.support.sdk_methods import sdk_methods

ID = "00000000-0000-4000-8000-000000000000"


async def test_every_path_of_the_client_is_known(http: httpx.AsyncClient) -> None:
    unsupported = {(each.method, each.path) for each in ROUTES if each.tag == "unsupported"}
    for method in sdk_methods():
        answer = await http.request(method.method, method.path.replace("{}", ID), content=b"{}")
        message = "" if answer.status_code == 200 else answer.json()["message"]
        assert answer.status_code in {200, 400, 404, 501}, (method, message)
        assert answer.status_code != 404 or "there is no path" not in message, method
    for verb, path in unsupported:
        url = path.replace("{billing_provider_type}", "stripe").replace("{", "").replace("}", "")
        answer = await http.request(verb, f"{url}?limit=1", content=b'{"anything": [1]}')
        assert answer.status_code == 501
        assert f"{verb} {path} is not supported" in answer.json()["message"]
        assert answer.headers["x-should-retry"] == "false"


async def test_the_client_is_told_once(sdk: AsyncMetronome) -> None:
    with pytest.raises(APIStatusError) as refused:
        await sdk.v1.plans.list()
    assert refused.value.status_code == 501
    assert "/v1/plans is not supported" in refused.value.response.json()["message"]
