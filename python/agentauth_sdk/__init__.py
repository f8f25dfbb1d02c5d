"""The Python SDK of AgentAuth, the identity service and gateway for AI agents."""

from .client import AgentAuthClient, SyncAgentAuthClient
from .errors import AgentAuthError, ProxyTargetError, TokenVerificationError, WebhookVerificationError
from .permissions import Permission, Permissions, is_granted
from .proxy import AsyncProxyTransport, ProxyTransport
from .types import (
    ActivityLog,
    Agent,
    AgentList,
    AgentStatus,
    AgentTier,
    Credentials,
    Delivery,
    DeliveryList,
    DeliveryStatus,
    GetActivityResponse,
    HealthCheckResponse,
    Pagination,
    RedeliverAllResponse,
    RefreshTokenRequest,
    RefreshTokenResponse,
    RegisterAgentRequest,
    RegisterAgentResponse,
    RotateKeyResponse,
    Token,
    VerifyAgentRequest,
    VerifyAgentResponse,
    Webhook,
    WebhookEvent,
    WebhookList,
)
from .verify import VerifiedAgent, verify_access_token, verify_access_token_sync
from .webhook import verify_webhook

__version__ = "0.1.0"

__all__ = [
    "ActivityLog",
    "Agent",
    "AgentAuthClient",
    "AgentAuthError",
    "AgentList",
    "AgentStatus",
    "AgentTier",
    "AsyncProxyTransport",
    "Credentials",
    "Delivery",
    "DeliveryList",
    "DeliveryStatus",
    "GetActivityResponse",
    "HealthCheckResponse",
    "Pagination",
    "Permission",
    "Permissions",
    "ProxyTargetError",
    "ProxyTransport",
    "RedeliverAllResponse",
    "RefreshTokenRequest",
    "RefreshTokenResponse",
    "RegisterAgentRequest",
    "RegisterAgentResponse",
    "RotateKeyResponse",
    "SyncAgentAuthClient",
    "Token",
    "TokenVerificationError",
    "VerifiedAgent",
    "VerifyAgentRequest",
    "VerifyAgentResponse",
    "Webhook",
    "WebhookEvent",
    "WebhookList",
    "WebhookVerificationError",
    "is_granted",
    "verify_access_token",
    "verify_access_token_sync",
    "verify_webhook",
]
