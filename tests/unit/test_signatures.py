"""Signatures: published vectors, a third party's verifier, and our own verifier against every way to spoil a request."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import standardwebhooks

from connectors import clock
from connectors.webhooks.asymmetric import SigningKey, new_signing_key
from connectors.webhooks.signatures import Signing, metronome_signature, signed_headers, signing_of, standard_signature
from connectors.webhooks.verify import VerificationError, verify, verify_metronome, verify_standard

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"id":"7d0b7c1e-6a0a-4f0e-9a55-0d5a1a3b9c11","type":"webhooks.test"}'
NOW_S = 1_772_532_672.9  # Tue, 03 Mar 2026 10:11:12 GMT


def test_metronome_vector() -> None:
    signature = metronome_signature("whsec-demo", "Tue, 03 Mar 2026 10:11:12 GMT", BODY)
    assert signature == "3f14b9468009fe7dab6823e295be533d0d8987a51586d27718735b6090fb08ff"


def test_the_sample_that_metronome_publishes() -> None:
    """https://docs.metronome.com/guides/platform-configuration/setup-webhooks: its secret, its request, its signature."""
    body = json.dumps(
        {
            "id": "b2c9e307-624e-4e7d-a5a4-1b74107d78c4",
            "type": "widget_created",
            "properties": {
                "customer_id": "5f794d50-085a-4db6-8d15-286e518b7225",
                "widget_id": "0891458d-b6f0-4fdd-a41e-380aae1a1e38",
            },
        },
        indent=2,
    ).encode()
    headers = {
        "X-Metronome-Date": "Mon, 02 Jan 2006 22:04:05 GMT",
        "Metronome-Webhook-Signature": "b82652fa2246cf1d8a27e591f155c865f68b46c19b9213fd9c052f2419b4742b",
    }
    sent_s = datetime(2006, 1, 2, 22, 4, 5, tzinfo=UTC).timestamp()
    verify_metronome("correct-horse-battery-staple", headers, body, sent_s)
    with pytest.raises(VerificationError):
        verify_metronome("correct-horse-battery-staple", headers, body + b"\n", sent_s)
    date = headers["X-Metronome-Date"]
    assert metronome_signature("correct-horse-battery-staple", date, body) == headers["Metronome-Webhook-Signature"]


@pytest.mark.parametrize("secret", ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", SECRET])
def test_standard_webhooks_vector(secret: str) -> None:
    signature = standard_signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_headers_of_one_attempt_name_one_instant() -> None:
    headers = signed_headers(SECRET, "n-1", BODY, NOW_S)
    assert headers["Date"] == headers["X-Metronome-Date"] == "Tue, 03 Mar 2026 10:11:12 GMT"
    assert headers["webhook-timestamp"] == "1772532672"
    assert headers["webhook-id"] == "n-1"
    assert headers["Content-Type"] == "application/json"


@pytest.mark.usefixtures("unshifted")  # of others we cannot set the time
def test_third_party_verifier_accepts() -> None:
    headers = signed_headers(SECRET, "n-1", BODY, clock.now().timestamp())
    assert standardwebhooks.Webhook(SECRET).verify(BODY, headers) == json.loads(BODY)
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(SECRET).verify(BODY + b" ", headers)


def test_own_verifier_accepts_whatever_the_case_of_header_names() -> None:
    headers = signed_headers(SECRET, "n-1", BODY, NOW_S)
    verify(SECRET, headers, BODY, NOW_S)
    verify(SECRET, {name.upper(): value for name, value in headers.items()}, BODY, NOW_S)


def test_date_alone_is_enough_for_older_receivers() -> None:
    headers = signed_headers(SECRET, "n-1", BODY, NOW_S)
    del headers["X-Metronome-Date"]
    verify_metronome(SECRET, headers, BODY, NOW_S)


def test_one_matching_entry_of_several_is_enough() -> None:
    headers = signed_headers(SECRET, "n-1", BODY, NOW_S)
    headers["webhook-signature"] = "v1,AAAA v1a,xyz garbage " + headers["webhook-signature"]
    verify_standard(SECRET, headers, BODY, NOW_S)


@pytest.mark.parametrize("verifier", [verify_metronome, verify_standard])
@pytest.mark.parametrize("clock_off_s", [-302, 302])
def test_stale_and_early_requests_are_refused(verifier: Callable[..., None], clock_off_s: int) -> None:
    headers = signed_headers(SECRET, "n-1", BODY, NOW_S)
    with pytest.raises(VerificationError, match="five minutes"):
        verifier(SECRET, headers, BODY, NOW_S + clock_off_s)
    verifier(SECRET, headers, BODY, NOW_S + clock_off_s * 0.98)


SPOILS = {
    "metronome": {
        "metronome-webhook-signature": ["", "0" * 64, "é", None],
        "x-metronome-date": ["Tue, 03 Mar 2026 10:11:13 GMT", "yesterday", ""],
    },
    "standard": {
        "webhook-signature": ["", "v1,", "v1,é", "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", None],
        "webhook-id": ["n-2", None],
        "webhook-timestamp": ["1772532673", "-1", "1e9", "²", "9" * 400, None],
    },
}


@pytest.mark.parametrize(
    ("scheme", "name", "value"),
    [(scheme, name, value) for scheme, names in SPOILS.items() for name, values in names.items() for value in values],
)
def test_a_spoiled_header_is_refused(scheme: str, name: str, value: str | None) -> None:
    headers = {key.lower(): text for key, text in signed_headers(SECRET, "n-1", BODY, NOW_S).items()}
    if value is None:
        del headers[name]
    else:
        headers[name] = value
        if name == "x-metronome-date" and not value:
            del headers["date"]
    verifier = verify_metronome if scheme == "metronome" else verify_standard
    with pytest.raises(VerificationError):
        verifier(SECRET, headers, BODY, NOW_S)


@pytest.mark.parametrize("verifier", [verify_metronome, verify_standard])
def test_a_changed_body_or_secret_is_refused(verifier: Callable[..., None]) -> None:
    headers = signed_headers(SECRET, "n-1", BODY, NOW_S)
    with pytest.raises(VerificationError):
        verifier(SECRET, headers, BODY.replace(b"test", b"rest"), NOW_S)
    with pytest.raises(VerificationError):
        verifier("whsec_" + "A" * 32, headers, BODY, NOW_S)


def test_a_retry_is_signed_afresh_under_the_same_id() -> None:
    first = signed_headers(SECRET, "n-1", BODY, NOW_S)
    second = signed_headers(SECRET, "n-1", BODY, NOW_S + 900)
    assert first["webhook-id"] == second["webhook-id"]
    for name in ("Date", "Metronome-Webhook-Signature", "webhook-timestamp", "webhook-signature"):
        assert first[name] != second[name]


OLDER = "whsec_" + "B" * 32


def test_while_secrets_are_rotated_both_sign_and_either_verifies() -> None:
    signing = Signing(((SECRET, None), (OLDER, NOW_S + 60)))
    headers = signed_headers(signing, "n-1", BODY, NOW_S)
    assert len(headers["webhook-signature"].split(" ")) == 2
    for secret in (SECRET, OLDER):
        verify_standard(secret, headers, BODY, NOW_S)
    verify(SECRET, headers, BODY, NOW_S)
    verify([OLDER, SECRET], headers, BODY, NOW_S)
    with pytest.raises(VerificationError):  # Metronome's header has room for the newest only
        verify_metronome(OLDER, headers, BODY, NOW_S)
    later = signed_headers(signing, "n-1", BODY, NOW_S + 60)
    verify(SECRET, later, BODY, NOW_S + 60)
    with pytest.raises(VerificationError):
        verify_standard(OLDER, later, BODY, NOW_S + 60)


def test_a_receiver_that_knows_both_secrets_lives_through_the_rotation() -> None:
    for secret in (SECRET, OLDER):
        verify([OLDER, SECRET], signed_headers(secret, "n-1", BODY, NOW_S), BODY, NOW_S)
    with pytest.raises(VerificationError):
        verify([OLDER, SECRET], signed_headers("whsec_" + "C" * 32, "n-1", BODY, NOW_S), BODY, NOW_S)


@pytest.mark.parametrize("document", [{}, {"secret": "whsec_*"}, {"secret": SECRET, "signing_key": "whsk_AAAA"}])
def test_a_document_that_cannot_sign_is_refused(document: dict[str, str]) -> None:
    with pytest.raises((ValueError, KeyError)):
        signing_of(document)


def test_ed25519_verifies_with_the_public_key_alone() -> None:
    from cryptography.hazmat.primitives.asymmetric import ed25519

    key = new_signing_key()
    signing = signing_of({"secret": SECRET, "signing_key": key})
    assert signing.key is not None
    public = signing.key.public
    headers = signed_headers(signing, "n-1", BODY, NOW_S)
    verify(SECRET, headers, BODY, NOW_S)
    verify(public, headers, BODY, NOW_S)
    verify([SECRET, public], headers, BODY, NOW_S)
    entry = headers["webhook-signature"].split(" ")[1]
    raw = base64.b64decode(public.removeprefix("whpk_"))
    signed = b"n-1.1772532672." + BODY
    ed25519.Ed25519PublicKey.from_public_bytes(raw).verify(base64.b64decode(entry.removeprefix("v1a,")), signed)
    spoiled = [
        (signing_of({"secret": SECRET, "signing_key": new_signing_key()}).key.public, headers, BODY),  # type: ignore[union-attr]
        (public, headers, BODY + b" "),
        (public, headers | {"webhook-signature": "v1a,*** v1a,AAAA v1a,\u00e9 v1a"}, BODY),
        (public, headers | {"webhook-signature": entry.replace("v1a,", "v1,")}, BODY),
        (public, headers | {"webhook-id": "n-2"}, BODY),
    ]
    for key_, headers_, body in spoiled:
        with pytest.raises(VerificationError):
            verify(key_, headers_, body, NOW_S)


def test_ed25519_is_deterministic_and_as_published() -> None:
    """RFC 8032, 7.1, test 1: the empty message."""
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    key = SigningKey.parse("whsk_" + base64.b64encode(seed).decode())
    expected = (
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
    )
    assert base64.b64decode(key.sign(b"").removeprefix("v1a,")).hex() == expected
    public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert base64.b64decode(key.public.removeprefix("whpk_")).hex() == public
    assert key == SigningKey.parse("whsk_" + base64.b64encode(seed).decode())
