"""Requests of a real dispatcher, verified by others: the packages standardwebhooks and svix, and Node with the algorithm of the
official client. While secrets are rotated and a key pair is in use, so that one header carries several signatures."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import standardwebhooks
import svix.webhooks

from connectors import clock
from connectors.testing.behaviours import Answer
from connectors.testing.receiver import Received, Receiver
from connectors.webhooks.asymmetric import SigningKey, new_signing_key
from connectors.webhooks.verify import verify, verify_metronome, verify_standard
from tests.support.dispatching import SECRET, Box, dispatching, notification, settings_for

OLDER = "whsec_" + "B" * 32
NEVER = "whsec_" + "C" * 32
NODE = shutil.which("node")

pytestmark = pytest.mark.usefixtures("unshifted")  # of others we cannot set the time


@pytest.fixture
async def rotated(redis_url: str, box: Box, receiver: Receiver) -> tuple[list[Received], str]:
    """Two attempts at one delivery by an endpoint with two valid secrets, an expired one and a key pair; and the public key."""
    key = SigningKey.parse(new_signing_key())
    receiver.secret = [SECRET, OLDER, key.public]
    receiver.script("/hook", Answer(500))
    previous = [
        {"secret": OLDER, "valid_until_s": clock.now_s() + 3600},
        {"secret": NEVER, "valid_until_s": clock.now_s() - 1},
    ]
    await box.add_endpoint("a", receiver.url, previous_secrets=previous, signing_key=key.text)
    await box.write([notification(1)])
    async with dispatching(settings_for(redis_url)):
        await box.until_empty()
    assert receiver.invalid == []
    return receiver.received, key.public


Rotated = tuple[list[Received], str]


def test_our_own_verifier_covers_every_scheme(rotated: Rotated) -> None:
    requests, public = rotated
    assert len(requests) == 2
    for request in requests:
        assert len(request.headers["webhook-signature"].split(" ")) == 3  # two secrets and the key
        verify(SECRET, request.headers, request.body)
        verify([OLDER, SECRET], request.headers, request.body)
        verify(public, request.headers, request.body)
        verify_standard(OLDER, request.headers, request.body)
        verify_metronome(SECRET, request.headers, request.body)


@pytest.mark.parametrize("third_party", [standardwebhooks.Webhook, svix.webhooks.Webhook])
def test_python_packages_accept_either_secret_and_refuse_others(rotated: Rotated, third_party: Any) -> None:
    for request in rotated[0]:
        # neither package knows v1a: they are to skip that entry
        third_party(SECRET).verify(request.body, dict(request.headers))
        third_party(OLDER).verify(request.body, dict(request.headers))
        for secret, body in ((NEVER, request.body), (SECRET, request.body + b" ")):
            with pytest.raises((standardwebhooks.WebhookVerificationError, svix.webhooks.WebhookVerificationError)):
                third_party(secret).verify(body, dict(request.headers))


def node_says(request: Received, secret: str, public: str | None, **changed: Any) -> Mapping[str, bool | None]:
    assert NODE is not None
    given = {
        "headers": dict(request.headers),
        "body": request.body.decode(),
        "secret": secret,
        "publicKey": public,
        "now": int(clock.now_s() * 1000),
        **changed,
    }
    script = Path(__file__).parents[1] / "support" / "node" / "verify.mjs"
    done = subprocess.run([NODE, str(script)], input=json.dumps(given).encode(), capture_output=True, check=True, timeout=60)
    answer: Mapping[str, bool | None] = json.loads(done.stdout)
    return answer


def test_node_verifies_every_scheme(rotated: Rotated) -> None:
    if NODE is None:
        reason = "node is not installed: nobody verifies our signatures in JavaScript"
        pytest.fail(reason) if os.environ.get("TIDEMARK_TEST_REQUIRE_ALL") == "1" else pytest.skip(reason)
    requests, public = rotated
    for request in requests:
        assert node_says(request, SECRET, public) == {"metronome": True, "v1": True, "v1a": True}
        assert node_says(request, OLDER, None) == {"metronome": False, "v1": True, "v1a": None}  # its header has room for one
    request = requests[0]
    refused = {"metronome": False, "v1": False, "v1a": False}
    assert node_says(request, SECRET, public, body=request.body.decode() + " ") == refused
    assert node_says(request, SECRET, public, now=int(clock.now_s() * 1000) + 310_000) == refused
    other = SigningKey.parse(new_signing_key()).public
    assert node_says(request, NEVER, other) == refused
