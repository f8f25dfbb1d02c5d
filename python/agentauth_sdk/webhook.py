"""Verifies webhook deliveries (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from typing import Any, Callable, List, Mapping, Optional, Sequence, Union

from .errors import WebhookVerificationError
from .types import WebhookEvent, parse


def verify_webhook(
    body: Union[bytes, str],
    headers: Mapping[str, str],
    secret: Union[str, Sequence[str]],
    *,
    tolerance: float = 300,
    clock: Callable[[], float] = time.time,
) -> WebhookEvent:
    """
    Verifies the signature of a delivery and returns its event.

    A delivery may arrive more than once, each time with the same `webhook-id`: remember the ids that were processed. The older
    header `X-AgentAuth-Signature` is not accepted, because it leaves the timestamp unsigned.

    :param body: the raw body, as it came: `await request.body()` of FastAPI, `request.body` of Django.
    :param secret: `whsec_…` as it was shown once; several while the secret is being changed.
    :param tolerance: how many seconds the timestamp may differ from this clock.
    :raises WebhookVerificationError: `missing_header`, `stale_timestamp`, `wrong_signature` or `malformed_body`.
    :raises ValueError: there is no secret, or one that is not `whsec_` and base64.
    :raises TypeError: the body is not raw.
    """
    if not isinstance(body, (bytes, str)):
        raise TypeError("verify_webhook needs the raw body as bytes or str, not what was parsed from it.")
    keys = [_key_of(one) for one in ([secret] if isinstance(secret, str) else secret)]
    if not keys:
        raise ValueError("Give the webhook's secret: whsec_… as it was shown once.")
    raw = body.encode() if isinstance(body, str) else body
    message_id = _header(headers, "webhook-id")
    timestamp = _header(headers, "webhook-timestamp")
    signatures = _header(headers, "webhook-signature")
    if not (message_id and timestamp and signatures):
        raise WebhookVerificationError(
            "missing_header", "The delivery lacks webhook-id, webhook-timestamp or webhook-signature."
        )
    if not (timestamp.isascii() and timestamp.isdigit()) or abs(clock() - int(timestamp[:15])) > tolerance:
        raise WebhookVerificationError(
            "stale_timestamp", f"The delivery's timestamp is more than {tolerance:g} seconds away from this clock."
        )
    signed = f"{message_id}.{timestamp}.".encode() + raw
    expected = [hmac.new(key, signed, hashlib.sha256).digest() for key in keys]
    sent = [mac for mac in map(_mac_of, signatures.split(" ")) if mac is not None]
    if not any(hmac.compare_digest(one, mac) for one in expected for mac in sent):
        raise WebhookVerificationError(
            "wrong_signature", "No signature of the delivery was made with this secret. Was the body changed?"
        )
    try:
        return parse(WebhookEvent, json.loads(raw))
    except ValueError:
        raise WebhookVerificationError("malformed_body", "The delivery's body is not an event.") from None


def _key_of(secret: str) -> bytes:
    key = _decode(secret[6:]) if secret.startswith("whsec_") else None
    if not key:
        # The message does not quote the secret.
        raise ValueError("The webhook's secret does not have the form whsec_ and base64. Copy it again, whole.")
    return key


def _mac_of(signature: str) -> Optional[bytes]:
    version, _, mac = signature.partition(",")
    return _decode(mac) if version == "v1" else None


def _decode(text: str) -> Optional[bytes]:
    try:
        return base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return None


def _header(headers: Mapping[str, Any], name: str) -> Optional[str]:
    """The value of a header, in any case of its name. A header that occurs twice counts as missing."""
    multi_items = getattr(headers, "multi_items", None)
    pairs = multi_items() if callable(multi_items) else headers.items()
    values: List[Any] = [value for key, value in pairs if key.lower() == name]
    return values[0] if len(values) == 1 and isinstance(values[0], str) else None
