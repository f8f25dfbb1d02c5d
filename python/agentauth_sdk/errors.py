"""
The errors of the SDK.

A refusal of the server is an `AgentAuthError`, which is an `httpx.HTTPStatusError`. If there is no response, httpx's own errors
are raised: `httpx.TimeoutException`, `httpx.ConnectError` and the other kinds of `httpx.RequestError`.
"""

from __future__ import annotations

from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, Dict, List, Optional

import httpx


class AgentAuthError(httpx.HTTPStatusError):
    """
    A response that is no success.

    `status_code` is its HTTP status, `code` the machine's word (`validation_error`, `token_expired` …; `unavailable` or
    `not_agentauth` if something else than AgentAuth answered), `message` the sentence that helps, `details` the whole body,
    `faults` what is wrong with each field or permission, and `retry_after` the seconds that the server asks to wait.
    """

    def __init__(self, response: httpx.Response, *, code: Optional[str] = None, message: Optional[str] = None) -> None:
        self.details: Dict[str, Any] = _body_of(response) if code is None else {}
        self.status_code = response.status_code
        self.retry_after = retry_after_of(response)
        if code is None and not isinstance(self.details.get("error"), str):
            self.details = {}
            code, message = _foreign(response)
        self.error: str = str(self.details.get("error", message))
        # OAuth's endpoints have OAuth's shape (RFC 6749, section 5.2).
        description = self.details.get("error_description")
        self.code: str = code or str(self.details.get("code", self.error if description else "unknown"))
        self.message: str = message or str(self.details.get("message") or description or self.error)
        self.request_id: Optional[str] = self.details.get("request_id")
        self.required: Optional[str] = self.details.get("required")
        self.granted: List[str] = self.details.get("granted") or []
        self.faults: List[Dict[str, str]] = self.details.get("details") or []
        super().__init__(f"{self.message} ({self.code})", request=response.request, response=response)


class ProxyTargetError(httpx.RequestError):
    """A request, or a redirect that was followed, leads out of the service that a proxy transport is for."""


class WebhookVerificationError(Exception):
    """A delivery was refused: `code` is `missing_header`, `stale_timestamp`, `wrong_signature` or `malformed_body`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class TokenVerificationError(Exception):
    """An access token was refused: `code` is `token_expired`, `invalid_token` or `jwks_unavailable`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def _body_of(response: httpx.Response) -> Dict[str, Any]:
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _foreign(response: httpx.Response) -> "tuple[str, str]":
    """The code and the message for a response that AgentAuth did not give."""
    url = response.request.url.copy_with(query=None)
    what = f"{url} answered {response.status_code}, not as AgentAuth does."
    if response.status_code == 429 or response.status_code >= 500:
        return "unavailable", f"{what} Try again later."
    location = response.headers.get("location", "").split("?")[0]
    return "not_agentauth", f"{what} {f'It redirects to {location}. ' if location else ''}Check base_url."


def retry_after_of(response: httpx.Response) -> Optional[float]:
    """The seconds that `Retry-After` asks to wait, given as a number or as a date (RFC 9110, section 10.2.3)."""
    value = response.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        seconds: float = (parsedate_to_datetime(value) - datetime.now(timezone.utc)).total_seconds()
    except (TypeError, ValueError, IndexError):
        return None
    return max(seconds, 0.0)
