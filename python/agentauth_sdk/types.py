"""The objects of the API. Each is built from a response by `parse`, nested objects included."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Dict, Iterable, List, Literal, Mapping, Optional, Type, TypeVar, get_args, get_origin, get_type_hints

AgentStatus = Literal["active", "inactive", "suspended", "revoked"]
AgentTier = Literal["free", "pro", "enterprise"]
DeliveryStatus = Literal["pending", "success", "failed"]


@dataclass
class Agent:
    """An agent as everybody with access to it sees it. Times are RFC 3339, in UTC."""

    agent_id: str
    name: str
    owner_email: str
    permissions: List[str]
    status: AgentStatus
    tier: AgentTier
    created_at: str
    updated_at: str


# Secrets are left out of `repr`, so that a printed or logged response does not hold them.


@dataclass
class Credentials:
    api_key: str = field(repr=False)
    token_type: str = "Bearer"


@dataclass
class Token:
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    token_type: str
    expires_in: int
    """Seconds."""


@dataclass
class OAuthToken:
    """A token without a refresh token (RFC 6749, section 5.1)."""

    access_token: str = field(repr=False)
    token_type: str
    expires_in: int
    """Seconds."""
    scope: str
    """The permissions that it has without limits, with spaces between."""
    authorization_details: List[Dict[str, Any]] = field(default_factory=list)
    """The permissions that have limits or an end (RFC 9396)."""


@dataclass
class RegisterAgentRequest:
    name: str
    owner_email: str
    permissions: List[str]


@dataclass
class VerifyAgentRequest:
    agent_id: str
    api_key: str = field(repr=False)


@dataclass
class RefreshTokenRequest:
    refresh_token: str = field(repr=False)


@dataclass
class RegisterAgentResponse:
    success: bool
    message: str
    agent: Agent
    credentials: Credentials


@dataclass
class VerifyAgentResponse:
    success: bool
    message: str
    agent: Agent
    token: Token


@dataclass
class RefreshTokenResponse:
    success: bool
    message: str
    token: Token


@dataclass
class RotateKeyResponse:
    success: bool
    message: str
    credentials: Credentials
    previous_key_expires_at: Optional[str] = None


@dataclass
class AgentDetails:
    """What stands beside an agent. `created_by` and `approved_by` have `type`, `id` and `name`."""

    description: Optional[str]
    metadata: Dict[str, str]
    last_verified_at: Optional[str]
    created_by: Optional[Dict[str, Any]]
    approved_by: Optional[Dict[str, Any]]
    rate_limit: Optional[int]
    """Requests a minute. None: the tier's."""
    allowed_ips: Optional[List[str]]
    """Networks. None: any address."""
    key_count: int
    session_count: int


@dataclass
class AgentKey:
    """A key of an agent, without what is secret. `hint` is its last four characters."""

    id: str
    type: Literal["secret", "jwk"]
    label: Optional[str]
    hint: str
    created_at: str
    created_by: Optional[Dict[str, Any]]
    expires_at: Optional[str]
    last_used_at: Optional[str]
    allowed_ips: Optional[List[str]]


@dataclass
class CreateKeyResponse:
    success: bool
    message: str
    key: AgentKey
    credentials: Credentials


@dataclass
class AddPublicKeyResponse:
    success: bool
    message: str
    key: AgentKey


@dataclass
class AgentSession:
    """A session of an agent that can be refreshed. `scope` is what its tokens are limited to; None: nothing."""

    id: str
    key_id: Optional[str]
    created_at: str
    last_refreshed_at: str
    expires_at: str
    ip_address: str
    scope: Optional[List[str]]
    dpop_jkt: Optional[str]
    act: Optional[Dict[str, Any]]


@dataclass
class Grant:
    """A permission that an agent has, how far it reaches and until when. A grant that changes has another id."""

    permission: str
    where: Optional[Dict[str, Any]] = None
    """The conditions by the field of the request, as `{"path.owner": {"eq": "octo"}}`. None: no limits."""
    expires_at: Optional[str] = None
    """None: it has no end."""
    id: Optional[str] = None
    """Of a grant that the server returned, as `created_by` and `created_at` are."""
    created_by: Optional[Dict[str, Any]] = None
    created_at: Optional[str] = None


@dataclass
class BulkRevokeResponse:
    success: bool
    message: str
    matched: int
    revoked: int
    remaining: int
    """`expected` of the next call, until it is 0."""


@dataclass
class ActivityLog:
    id: str
    agent_id: str
    timestamp: str
    ip_address: str
    status: Literal["success", "failure"]
    message: Optional[str] = None


@dataclass
class Pagination:
    total: int
    limit: int
    offset: int
    has_more: bool


@dataclass
class GetActivityResponse:
    success: bool
    agent_id: str
    activity: List[ActivityLog]
    pagination: Pagination

    @property
    def logs(self) -> List[ActivityLog]:
        """`activity` as the published guide spells it."""
        return self.activity


@dataclass
class AuditRecord:
    """A record of the audit log. What does not apply is None."""

    id: str
    at: str
    action: str
    outcome: Literal["success", "denied", "failed", "unknown"]
    agent_id: Optional[str]
    actor: Optional[Dict[str, Any]]
    """Who did it: `type`, `id` and `name`, as they were; None for a stranger."""
    act: List[Dict[str, Any]]
    ip_address: Optional[str]
    request_id: Optional[str]
    key_id: Optional[str]
    session_id: Optional[str]
    service: Optional[str]
    method: Optional[str]
    path: Optional[str]
    rule: Optional[str]
    permission: Optional[str]
    status: Optional[int]
    upstream_status: Optional[int]
    duration_ms: Optional[int]
    bytes_in: Optional[int]
    bytes_out: Optional[int]
    count: Optional[int]
    before: Optional[Dict[str, Any]]
    after: Optional[Dict[str, Any]]
    message: Optional[str]


class AuditPage(List[AuditRecord]):
    """One page of the audit log. It may be short, even empty, and have a next one."""

    def __init__(self, records: Iterable[AuditRecord], next_cursor: Optional[str]) -> None:
        super().__init__(records)
        self.next_cursor = next_cursor


@dataclass
class Webhook:
    """A webhook. `secret` is `"***"` except in the one response that shows it."""

    id: str
    agent_id: str
    url: str
    events: List[str]
    secret: str = field(repr=False)
    created_at: str

    @property
    def webhook(self) -> Webhook:
        """The webhook itself: the published page writes `webhook.webhook.id`."""
        return self


@dataclass
class Delivery:
    """One event for one webhook. `id` is the `webhook-id` header of every attempt."""

    id: str
    webhook_id: str
    event_id: str
    event: str
    agent_id: str
    """The agent that the event is about."""
    status: DeliveryStatus
    attempts: int
    next_attempt_at: Optional[str]
    response_status: Optional[int]
    response_body: Optional[str]
    error: Optional[str]
    created_at: str
    updated_at: str


@dataclass
class RedeliverAllResponse:
    success: bool
    message: str
    matched: int
    redelivered: int
    remaining: int
    """Repeat the call until it is 0."""
    next_cursor: Optional[str]
    """Then go on with it as `cursor`, until it is None."""


@dataclass
class HealthCheckResponse:
    status: Literal["healthy", "unhealthy"]
    database: Literal["connected", "disconnected"]
    timestamp: str


@dataclass
class HealthPart:
    """A part of the deployment, such as `audit_archive`."""

    name: str
    status: Literal["ok", "lagging", "failing", "off"]
    """`lagging`: it is behind, and nothing is lost. `failing`: it does not do what it is there for. `off`: it is not set up."""
    since: Optional[str]
    message: Optional[str]
    """What is the matter, and what to do."""
    numbers: Dict[str, float]


@dataclass
class HealthDetailsResponse:
    success: bool
    status: Literal["ok", "lagging", "failing"]
    """The worst of the parts."""
    timestamp: str
    parts: List[HealthPart]


@dataclass
class WebhookEvent:
    """A verified delivery. `event` says which keys `data` has."""

    id: str
    event: str
    agent_id: Optional[str]
    timestamp: str
    data: Dict[str, Any]


class AgentList(List[Agent]):
    """One page of agents, newest first, with what the response says about the whole list."""

    def __init__(
        self,
        agents: List[Agent],
        total: int,
        limit: int,
        offset: int,
        has_more: bool,
        details: Optional[Dict[str, AgentDetails]] = None,
        next_cursor: Optional[str] = None,
    ) -> None:
        super().__init__(agents)
        self.total = total
        self.limit = limit
        self.offset = offset
        self.has_more = has_more
        self.details = details or {}
        """Of each agent, by its id."""
        self.next_cursor = next_cursor

    @property
    def agents(self) -> List[Agent]:
        return list(self)


class WebhookList(List[Webhook]):
    """One page of webhooks, oldest first. `details` says of each, by its id, whether it `is_active`, and why not."""

    def __init__(self, webhooks: List[Webhook], details: Dict[str, Dict[str, Any]], next_cursor: Optional[str]) -> None:
        super().__init__(webhooks)
        self.details = details
        self.next_cursor = next_cursor


class KeyList(List[AgentKey]):
    """One page of the valid keys of an agent, newest first."""

    def __init__(self, keys: List[AgentKey], next_cursor: Optional[str]) -> None:
        super().__init__(keys)
        self.next_cursor = next_cursor


class SessionList(List[AgentSession]):
    """One page of the sessions of an agent, newest first."""

    def __init__(self, sessions: List[AgentSession], next_cursor: Optional[str]) -> None:
        super().__init__(sessions)
        self.next_cursor = next_cursor


class GrantList(List[Grant]):
    """The grants of an agent. `version` changes with them."""

    def __init__(self, grants: List[Grant], version: int) -> None:
        super().__init__(grants)
        self.version = version


class DeliveryList(List[Delivery]):
    """One page of deliveries, newest first. It may be short, or empty, and still have a `next_cursor`."""

    def __init__(self, deliveries: List[Delivery], next_cursor: Optional[str]) -> None:
        super().__init__(deliveries)
        self.next_cursor = next_cursor


Parsed = TypeVar("Parsed")


def parse(kind: Type[Parsed], body: Any) -> Parsed:
    """
    Builds a dataclass, and the dataclasses in it, from a JSON object. Keys that a newer server adds are ignored.

    :raises ValueError: a required key is missing, or an object or a list is something else.
    """
    if not isinstance(body, Mapping):
        raise ValueError(f"{kind.__name__} is not an object")
    hints = get_type_hints(kind)
    known: Dict[str, Any] = {}
    for one in fields(kind):
        if one.name in body:
            known[one.name] = _parse_value(hints[one.name], body[one.name])
    try:
        return kind(**known)
    except TypeError as error:
        raise ValueError(str(error)) from None


def _parse_value(hint: Any, value: Any) -> Any:
    if is_dataclass(hint):
        return parse(hint, value)
    if get_origin(hint) is list:
        if not isinstance(value, list):
            raise ValueError("a list is missing")
        (item,) = get_args(hint)
        return [_parse_value(item, one) for one in value]
    return value
