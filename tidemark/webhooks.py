"""Verify the webhooks that tidemark sends. See ``verify``.

from tidemark.webhooks import VerificationError, verify

verify(secret, request.headers, await request.read())
"""

from connectors.webhooks.verify import (
    TOLERANCE_S,
    VerificationError,
    verify,
    verify_metronome,
    verify_standard,
)

__all__ = ["TOLERANCE_S", "VerificationError", "verify", "verify_metronome", "verify_standard"]
