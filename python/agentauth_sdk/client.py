"""The clients. Every method is written once, as a coroutine; `SyncAgentAuthClient` runs the same coroutines to their end."""

from __future__ import annotations

import functools
import json
from types import TracebackType
from typing import (
    TYPE_CHECKING,
    Any,
    AsyncIterator,
    Callable,
    Coroutine,
    Dict,
    Iterator,
    List,
    Literal,
    Mapping,
    Optional,
    Sequence,
    Type,
    TypeVar,
    Union,
)
from urllib.parse import quote

import httpx

from ._core import Body, Call, Core, Session, agent_path, creation, is_recently_proven, path_segment, webhook_path
from ._io import IO, AsyncIO, SyncIO, run_now
from ._keys import Dpop, PrivateKey, Signer
from .errors import AgentAuthError
from .permissions import Permission
from .proxy import AsyncProxyTransport, ProxyTransport
from .types import (
    AddPublicKeyResponse,
    Agent,
    AgentDetails,
    AgentKey,
    AgentList,
    AgentSession,
    Grant,
    GrantList,
    AgentStatus,
    AgentTier,
    AuditPage,
    AuditRecord,
    BulkRevokeResponse,
    CreateKeyResponse,
    Delivery,
    DeliveryList,
    DeliveryStatus,
    GetActivityResponse,
    HealthCheckResponse,
    HealthDetailsResponse,
    KeyList,
    OAuthToken,
    RedeliverAllResponse,
    RefreshTokenResponse,
    RegisterAgentResponse,
    RotateKeyResponse,
    SessionList,
    Token,
    VerifyAgentResponse,
    Webhook,
    WebhookList,
    parse,
)

if TYPE_CHECKING:
    from typing_extensions import Concatenate, ParamSpec

    Parameters = ParamSpec("Parameters")

Result = TypeVar("Result")
Json = Dict[str, Any]
_UNCHANGED: Any = object()
"""The default of a property that stays as it is, where None takes it away."""


class _Api:
    """The methods of both clients."""

    def __init__(
        self,
        io: IO,
        base_url: str,
        session: Session,
        max_retries: int,
        timeout: float,
        max_retry_delay: float,
        on_tokens: Optional[Callable[[Token], Any]],
        dpop: Union[bool, PrivateKey, None] = None,
    ) -> None:
        bound = Dpop(dpop) if dpop else None
        self._core = Core(io, base_url, session, max_retries, max_retry_delay, timeout, on_tokens, bound)

    def __repr__(self) -> str:
        return f"AgentAuthClient({self._core.base_url!r}, agent_id={self._core.session.agent_id!r})"

    @property
    def base_url(self) -> str:
        return self._core.base_url

    @property
    def access_token(self) -> Optional[str]:
        """The access token that the next call of this task or thread is sent with, if it needs no renewal."""
        return self._core.context_token.get() or self._core.session.access_token

    def set_access_token(self, token: Optional[str]) -> None:
        """
        Sends the calls of this task or thread, and of the tasks that it starts, with this token; with None no longer.

        Other tasks and threads are not affected, so that a web application can set each request's own token on one shared
        client. A token for all of them is given to the constructor. This token is not renewed.
        """
        self._core.context_token.set(token)

    def set_api_key(self, api_key: str) -> None:
        """Sets the API key that the client opens its next session with. It replaces a private key."""
        self._core.session.api_key = api_key
        self._core.session.signer = None

    # Agents

    async def register_agent(
        self,
        name: str,
        owner_email: str,
        permissions: Sequence[Permission],
        description: Optional[str] = None,
        *,
        metadata: Optional[Mapping[str, str]] = None,
        allowed_ips: Optional[Sequence[str]] = None,
        key_expires_in: Optional[int] = None,
    ) -> RegisterAgentResponse:
        """
        Registers an agent. The response holds its API key, which is never shown again.

        It is sent with the token that the client was constructed with or `set_access_token` was given, if any, but not with one
        of `verify_agent`: in a web application that would be the token of whoever signed in last.
        """
        body: Json = {"name": name, "owner_email": owner_email, "permissions": list(permissions)}
        more = {"description": description, "metadata": metadata, "allowed_ips": allowed_ips, "key_expires_in": key_expires_in}
        body.update(_given(more))
        call = creation("/agents/register", body)
        return await self._core.call(call, lambda answer: parse(RegisterAgentResponse, answer), adopted=False)

    async def verify_agent(
        self,
        agent_id: Optional[str] = None,
        api_key: Optional[str] = None,
        *,
        scope: Optional[Sequence[Permission]] = None,
        expires_in: Optional[int] = None,
    ) -> VerifyAgentResponse:
        """
        Exchanges an API key, the client's own by default, for tokens. The client goes on as that agent, and with that key.

        :param scope: permissions of the agent that the tokens are limited to, also those of later sessions of this client.
        :param expires_in: how many seconds the access tokens live, if not as long as the deployment says.
        """
        session = self._core.session
        if session.signer and api_key is None:
            raise ValueError("verify_agent needs an API key. With a private key the client gets its tokens by itself.")
        if agent_id is None or agent_id == session.agent_id:
            scope = session.scope if scope is None else scope
            expires_in = session.expires_in if expires_in is None else expires_in
        answer = await self._core.send_verify(
            agent_id or session.agent_id, api_key or session.api_key, scope, expires_in
        )
        session.scope, session.expires_in = None if scope is None else list(scope), expires_in
        if agent_id is not None or api_key is not None:
            session.is_own = session.is_own and agent_id in (None, session.agent_id)
            session.agent_id = answer.agent.agent_id
            session.api_key = api_key or session.api_key
        session.signer = None
        await self._core.adopt(answer.token)
        return answer

    async def refresh_token(self, refresh_token: Optional[str] = None) -> RefreshTokenResponse:
        """Exchanges a refresh token, the client's own by default, for the next pair of tokens."""
        session = self._core.session
        used = refresh_token or session.refresh_token
        is_foreign = used != session.refresh_token
        answer = await self._core.send_refresh(used)
        if is_foreign:
            # Whose session this is, is not known. The key of another agent must not take it over later.
            session.is_own, session.agent_id, session.api_key, session.signer = False, None, None, None
        await self._core.adopt(answer.token)
        return answer

    async def client_credentials(
        self,
        *,
        scope: Optional[Sequence[Permission]] = None,
        resource: Union[str, Sequence[str], None] = None,
        authorization_details: Optional[Sequence[Mapping[str, Any]]] = None,
    ) -> OAuthToken:
        """
        Issues an access token of the client's agent that has no refresh token (RFC 6749, section 4.4): to hand it to one task, with no
        more than that needs. The client's own tokens stay as they are.

        `authorization_details=[{"type": "agentauth_grant", "permission": "github:issues:write", "where": {"path.owner": "octo"}}]`
        limits it to one owner (RFC 9396). What the agent does not have is an `AgentAuthError` with the code `invalid_scope`,
        `invalid_target` or `invalid_authorization_details`.

        :param scope: permissions of the agent that the token is limited to.
        :param resource: what the token is for, as URLs: `https://agentauth.example.com/proxy/github` (RFC 8707).
        :raises ValueError: the client has no credentials.
        """
        form: Json = {"grant_type": "client_credentials", "resource": resource}
        form["scope"] = None if scope is None else " ".join(scope)
        form["authorization_details"] = None if authorization_details is None else json.dumps(list(authorization_details))
        return await self._core.request_oauth_token(form)

    async def exchange(
        self,
        *,
        subject_token: Optional[str] = None,
        subject_token_type: Literal["access_token", "jwt"] = "access_token",
        actor_token: Optional[str] = None,
        sub_agent: Optional[str] = None,
        scope: Optional[Sequence[Permission]] = None,
        resource: Union[str, Sequence[str], None] = None,
    ) -> OAuthToken:
        """
        Exchanges a token for one by which another agent acts for its agent (RFC 8693): this client's own, the agent of `actor_token`, or
        a sub-agent. Only the gateway takes it. The client's own tokens stay as they are.

        :param subject_token: a token of the agent that is acted for. The client's own by default, which it hands on.
        :param subject_token_type: `jwt` for a token of a trusted issuer, for example of a job at GitHub.
        :param sub_agent: the name of a part of this program, which acts: it has an id of its own, and nothing else.
        :param scope: permissions that the token is limited to.
        :param resource: the URLs of the services that it is for.
        :raises ValueError: the client has no credentials.
        """
        kind = "urn:ietf:params:oauth:token-type:"
        form: Json = {"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "resource": resource}
        form["subject_token"] = subject_token or await self._core.get_token()
        form["subject_token_type"] = kind + subject_token_type
        if actor_token is not None:
            form.update({"actor_token": actor_token, "actor_token_type": f"{kind}access_token"})
        form.update({"sub_agent": sub_agent, "scope": None if scope is None else " ".join(scope)})
        return await self._core.request_oauth_token(form)

    async def introspect(self, token: str) -> Json:
        """
        Whether a token is valid now, by the database's word (RFC 7662): `active`, and what the token gives if it is. For
        administrators, and agents with `agentauth:tokens:introspect`.

        :raises ValueError: the client has no credentials.
        """
        return await self._core.send_oauth("introspect", {"token": token}, _read_introspection)

    async def revoke_token(self, token: str) -> None:
        """
        Ends a token of the client's agent: with its session, or without one by itself (RFC 7009). An unknown token is no error.

        :raises ValueError: the client has no credentials.
        """
        await self._core.send_oauth("revoke", {"token": token}, _read_object)

    async def revoke_tokens(self) -> Json:
        """Revokes every token of the calling agent, this client's included."""
        answer = await self._call_object("POST", "/agents/revoke-tokens")
        self._core.forget_tokens()
        return answer

    async def list_agents(
        self,
        limit: Optional[int] = None,
        offset: Optional[int] = None,
        status: Optional[AgentStatus] = None,
        q: Optional[str] = None,
        *,
        tier: Optional[AgentTier] = None,
        owner_email: Optional[str] = None,
        permission: Optional[str] = None,
        last_verified_before: Optional[str] = None,
        cursor: Optional[str] = None,
    ) -> AgentList:
        """
        One page of all agents, newest first: a list that has `total`, `has_more`, `details` and `next_cursor`. Administrators only.
        """
        query = {"limit": limit, "offset": offset, "status": status, "q": q, "tier": tier, "owner_email": owner_email}
        query.update({"permission": permission, "last_verified_before": last_verified_before, "cursor": cursor})

        def read(answer: Body) -> AgentList:
            agents = [parse(Agent, one) for one in answer["agents"]]
            details = {name: parse(AgentDetails, one) for name, one in answer.get("details", {}).items()}
            page = (answer["total"], answer["limit"], answer["offset"], answer["has_more"])
            return AgentList(agents, *page, details, answer.get("next_cursor"))

        return await self._core.call(Call("GET", "/agents", query=query), read)

    async def get_agent(self, agent_id: str) -> Agent:
        """One agent: the calling agent itself, or for administrators any agent."""
        return await self._core.call(Call("GET", agent_path(agent_id)), _read_agent)

    async def get_agent_details(self, agent_id: str) -> AgentDetails:
        """What stands beside an agent: its description, metadata, limits, and who created and approved it."""
        return await self._core.call(Call("GET", agent_path(agent_id)), _read_details)

    async def update_agent(
        self,
        agent_id: str,
        *,
        name: str = _UNCHANGED,
        description: Optional[str] = _UNCHANGED,
        metadata: Mapping[str, str] = _UNCHANGED,
        owner_email: str = _UNCHANGED,
        rate_limit: Optional[int] = _UNCHANGED,
        allowed_ips: Optional[Sequence[str]] = _UNCHANGED,
        grantable: Sequence[Permission] = _UNCHANGED,
    ) -> AgentDetails:
        """
        Changes the given properties of an agent; None takes a value away. `owner_email`, `rate_limit`, `allowed_ips` and `grantable`
        are for administrators.
        """
        values: Json = {"name": name, "description": description, "metadata": metadata, "owner_email": owner_email}
        values.update({"rate_limit": rate_limit, "allowed_ips": allowed_ips, "grantable": grantable})
        body = {key: value for key, value in values.items() if value is not _UNCHANGED}
        return await self._core.call(Call("PATCH", agent_path(agent_id), body=body), _read_details)

    async def list_agent_keys(
        self, agent_id: str, limit: Optional[int] = None, cursor: Optional[str] = None
    ) -> KeyList:
        """One page of the valid keys of an agent, newest first, without what is secret."""
        call = Call("GET", agent_path(agent_id, "/keys"), query={"limit": limit, "cursor": cursor})
        return await self._core.call(
            call, lambda answer: KeyList([parse(AgentKey, one) for one in answer["keys"]], answer["next_cursor"])
        )

    async def create_agent_key(
        self,
        agent_id: str,
        *,
        label: Optional[str] = None,
        expires_in: Optional[int] = None,
        allowed_ips: Optional[Sequence[str]] = None,
    ) -> CreateKeyResponse:
        """Gives an agent another API key, which only this response shows. The others stay as they are."""
        body = _given({"label": label, "expires_in": expires_in, "allowed_ips": allowed_ips})
        call = creation(agent_path(agent_id, "/keys"), body)
        return await self._core.call(call, lambda answer: parse(CreateKeyResponse, answer))

    async def add_agent_public_key(
        self,
        agent_id: str,
        jwk: Mapping[str, Any],
        *,
        label: Optional[str] = None,
        expires_in: Optional[int] = None,
        allowed_ips: Optional[Sequence[str]] = None,
    ) -> AddPublicKeyResponse:
        """
        Registers a public key of an agent, whose private one then proves the agent (`private_key` of the client).

        :param jwk: an ES256, EdDSA, RS256 or PS256 key. `kid` may name it; an RSA key needs its `alg`.
        """
        body = {"jwk": dict(jwk), **_given({"label": label, "expires_in": expires_in, "allowed_ips": allowed_ips})}
        call = creation(agent_path(agent_id, "/keys"), body)
        return await self._core.call(call, lambda answer: parse(AddPublicKeyResponse, answer))

    async def delete_agent_key(self, agent_id: str, key_id: str) -> Json:
        """Ends a key of an agent and the sessions that it opened."""
        return await self._call_object("DELETE", agent_path(agent_id, f"/keys/{path_segment(key_id)}"), resolve=_resolve_deleted)

    async def list_agent_sessions(
        self, agent_id: str, limit: Optional[int] = None, cursor: Optional[str] = None
    ) -> SessionList:
        """One page of the sessions of an agent that can be refreshed, newest first."""
        call = Call("GET", agent_path(agent_id, "/sessions"), query={"limit": limit, "cursor": cursor})
        return await self._core.call(
            call,
            lambda answer: SessionList([parse(AgentSession, one) for one in answer["sessions"]], answer["next_cursor"]),
        )

    async def end_agent_session(self, agent_id: str, session_id: str) -> Json:
        """Ends a session of an agent."""
        path = agent_path(agent_id, f"/sessions/{path_segment(session_id)}")
        return await self._call_object("DELETE", path, resolve=_resolve_deleted)

    async def revoke_agent_tokens(self, agent_id: str) -> Json:
        """Revokes every token of an agent, and leaves its keys. Administrators only."""
        return await self._call_object("POST", agent_path(agent_id, "/revoke-tokens"))

    async def bulk_revoke_agents(
        self, filter: Mapping[str, str], *, dry_run: bool = True, expected: Optional[int] = None
    ) -> BulkRevokeResponse:
        """
        Revokes for good the agents that a filter selects, 500 with each call. Administrators only.

        :param filter: any of `status`, `tier`, `owner_email`, `permission` and `last_verified_before`.
        :param dry_run: only counts them. `expected` of the real call is `matched` of the dry run.
        """
        body = {"filter": dict(filter), "dry_run": dry_run, **_given({"expected": expected})}
        call = Call("POST", "/agents/bulk-revoke", body=body, repeatable=False)
        return await self._core.call(call, lambda answer: parse(BulkRevokeResponse, answer))

    async def revoke_agent(self, agent_id: str) -> Json:
        """
        Revokes an agent for good: the calling agent itself, or for administrators any agent.

        The client proves itself with its key. If it has none, and its token goes back to a proof of more than 5 minutes ago,
        the agent is suspended instead: its tokens end as well, and `agent["status"]` and `message` say so.

        If the response is lost, the call is repeated; that the agent's own token is revoked by then is success.
        """

        async def revoke(api_key: Optional[str]) -> Json:
            def resolve(error: AgentAuthError) -> Optional[Body]:
                if error.status_code != 404 and error.code not in ("token_revoked", "agent_revoked"):
                    return None
                token = self._core.session.access_token
                suspended = error.code == "token_revoked" and not api_key and not is_recently_proven(token)
                status = "suspended" if suspended else "revoked"
                return {**_DONE, "agent": {"agent_id": agent_id, "status": status}}

            body: Optional[Json] = {"api_key": api_key} if api_key else None
            return await self._call_object("POST", agent_path(agent_id, "/revoke"), body=body, resolve=resolve)

        session = self._core.session
        api_key = session.api_key
        if session.signer and self._core.context_token.get() is None and not is_recently_proven(session.access_token):
            await self._core.replace(session.access_token)
        try:
            return await revoke(api_key)
        except AgentAuthError as error:
            # The key was replaced elsewhere. The token can still stop the agent.
            if not api_key or error.code != "reauthentication_required":
                raise
            return await revoke(None)

    async def delete_agent(self, agent_id: str) -> Json:
        """Deletes an agent with its keys, sessions and webhooks; its activity stays. Administrators only."""
        return await self._call_object("DELETE", agent_path(agent_id), resolve=_resolve_deleted)

    async def update_agent_tier(self, agent_id: str, tier: AgentTier) -> Agent:
        """Changes the tier of an agent, and with it its rate limit. Administrators only."""
        return await self._core.call(Call("PUT", agent_path(agent_id, "/tier"), body={"tier": tier}), _read_agent)

    async def update_agent_status(self, agent_id: str, status: AgentStatus) -> Agent:
        """Suspends an agent, or activates it (again). Administrators only."""
        return await self._core.call(Call("PUT", agent_path(agent_id, "/status"), body={"status": status}), _read_agent)

    async def update_agent_permissions(self, agent_id: str, permissions: Sequence[Permission]) -> Agent:
        """
        Replaces the permissions of an agent. Administrators only. What the agent has with limits has to be in the list, and keeps
        its limits: otherwise the error's code is `limited_grant`.
        """
        body = {"permissions": list(permissions)}
        return await self._core.call(Call("PUT", agent_path(agent_id, "/permissions"), body=body), _read_agent)

    async def get_agent_grants(self, agent_id: str) -> GrantList:
        """The grants of an agent: its permissions, each with how far it reaches and until when. Administrators only."""
        return await self._core.call(Call("GET", agent_path(agent_id, "/grants")), _read_grants)

    async def set_agent_grants(
        self, agent_id: str, grants: Sequence[Union[Grant, Mapping[str, Any]]], *, version: Optional[int] = None
    ) -> GrantList:
        """
        Replaces the grants of an agent. Administrators only. A grant that does not change keeps its id.

        :param grants: as `get_agent_grants` returns them, or new ones:
            `Grant("github:issues:write", where={"path.owner": "octo"}, expires_at="2026-12-04T18:00:00Z")`.
        :param version: that of the grants that were read. If they have changed since, nothing is changed, and the error's code is
            `grants_changed`.
        """
        wanted = [_given(vars(one)) if isinstance(one, Grant) else dict(one) for one in grants]
        body = _given({"grants": wanted, "grants_version": version})
        return await self._core.call(Call("PUT", agent_path(agent_id, "/grants"), body=body), _read_grants)

    async def rotate_agent_key(
        self, agent_id: str, overlap_seconds: Optional[int] = None, *, key_id: Optional[str] = None
    ) -> RotateKeyResponse:
        """
        Gives an agent a new API key, which only this response shows. The previous ones stay valid for `overlap_seconds`. A client
        that rotates the keys of its own agent goes on with the new one. `key_id` replaces one key only, and then the client keeps
        its own: if that was the one, give it the new one with `set_api_key`. The client proves itself with its API key; one that has
        none needs a token that `verify_agent` gave in the last 5 minutes.
        """
        body = _given({"overlap_seconds": overlap_seconds, "key_id": key_id})
        if self._core.session.api_key:
            body["api_key"] = self._core.session.api_key
        call = creation(agent_path(agent_id, "/rotate-key"), body)
        answer = await self._core.call(call, lambda one: parse(RotateKeyResponse, one))
        if agent_id == self._core.session.agent_id and key_id is None:
            self.set_api_key(answer.credentials.api_key)
        return answer

    async def get_activity(self, agent_id: str, limit: int = 50, offset: int = 0) -> GetActivityResponse:
        """One page of an agent's activity, newest first."""
        call = Call("GET", agent_path(agent_id, "/activity"), query={"limit": limit, "offset": offset})
        return await self._core.call(call, lambda answer: parse(GetActivityResponse, answer))

    async def get_audit(
        self,
        *,
        agent_id: Optional[str] = None,
        actor: Optional[str] = None,
        action: Optional[str] = None,
        outcome: Optional[str] = None,
        service: Optional[str] = None,
        method: Optional[str] = None,
        path: Optional[str] = None,
        permission: Optional[str] = None,
        key_id: Optional[str] = None,
        session_id: Optional[str] = None,
        request_id: Optional[str] = None,
        ip: Optional[str] = None,
        since: Optional[str] = None,
        until: Optional[str] = None,
        q: Optional[str] = None,
        limit: Optional[int] = None,
        cursor: Optional[str] = None,
    ) -> AuditPage:
        """
        One page of the audit log, newest first: for administrators all of it, for an agent what is about itself. `audit` iterates
        over all pages.

        :param path: the beginning of the path. Like `ip` and `q` it needs `agent_id`, or `since` and `until` at most a day apart.
        :param since: at this time or later, RFC 3339.
        :param until: before this time, RFC 3339.
        """
        query = {"agent_id": agent_id, "actor": actor, "action": action, "outcome": outcome, "service": service}
        query.update({"method": method, "path": path, "permission": permission, "key_id": key_id, "ip": ip, "q": q})
        query.update({"session_id": session_id, "request_id": request_id, "from": since, "to": until})

        def read(answer: Body) -> AuditPage:
            return AuditPage([parse(AuditRecord, one) for one in answer["records"]], answer["next_cursor"])

        page: Dict[str, Any] = {"limit": limit, "cursor": cursor}
        return await self._core.call(Call("GET", "/audit", query={**query, **page}), read)

    async def get_audit_record(self, record_id: str) -> AuditRecord:
        """One record of the audit log."""
        call = Call("GET", f"/audit/{path_segment(record_id)}")
        return await self._core.call(call, lambda answer: parse(AuditRecord, answer["record"]))

    # Webhooks

    async def register_webhook(self, url: str, events: Sequence[str], description: Optional[str] = None) -> Webhook:
        """Registers a webhook: events are delivered to its https URL. Only this response shows its secret."""
        body: Json = {"url": url, "events": list(events)}
        if description is not None:
            body["description"] = description
        return await self._core.call(creation("/webhooks", body), _read_webhook)

    async def list_webhooks(
        self, agent_id: Optional[str] = None, *, limit: Optional[int] = None, cursor: Optional[str] = None
    ) -> WebhookList:
        """
        The webhooks of the calling agent, without their secrets. For administrators those of `agent_id`; `"*"` stands for all
        agents.
        """
        query = {"agent_id": agent_id, "limit": limit, "cursor": cursor}
        return await self._core.call(Call("GET", "/webhooks", query=query), _read_webhooks)

    async def get_webhook(self, webhook_id: str) -> Webhook:
        return await self._core.call(Call("GET", webhook_path(webhook_id)), _read_webhook)

    async def update_webhook(
        self,
        webhook_id: str,
        *,
        url: Optional[str] = None,
        events: Optional[Sequence[str]] = None,
        is_active: Optional[bool] = None,
    ) -> Webhook:
        """Changes the given properties of a webhook. `is_active=True` enables one that was disabled."""
        changes = {"url": url, "events": None if events is None else list(events), "is_active": is_active}
        body = {name: value for name, value in changes.items() if value is not None}
        return await self._core.call(Call("PUT", webhook_path(webhook_id), body=body), _read_webhook)

    async def delete_webhook(self, webhook_id: str) -> Json:
        """Deletes a webhook with its deliveries."""
        return await self._call_object("DELETE", webhook_path(webhook_id), resolve=_resolve_deleted)

    async def regenerate_webhook_secret(self, webhook_id: str, overlap_seconds: Optional[int] = None) -> Webhook:
        """
        Gives a webhook a new secret, which only this response shows. The former one signs deliveries too for `overlap_seconds`;
        without them every former secret ends at once.
        """
        body = {} if overlap_seconds is None else {"overlap_seconds": overlap_seconds}
        call = creation(webhook_path(webhook_id, "/regenerate-secret"), body)
        return await self._core.call(call, _read_webhook)

    async def test_webhook(self, webhook_id: str) -> Json:
        """Sends a `webhook.test` event to a webhook."""
        return await self._call_object("POST", webhook_path(webhook_id, "/test"), repeatable=False)

    async def list_deliveries(
        self,
        webhook_id: Optional[str] = None,
        *,
        status: Optional[DeliveryStatus] = None,
        agent_id: Optional[str] = None,
        event: Optional[str] = None,
        since: Optional[str] = None,
        until: Optional[str] = None,
        limit: Optional[int] = None,
        cursor: Optional[str] = None,
    ) -> DeliveryList:
        """
        One page of the deliveries of a webhook, newest first. Without `webhook_id`, or with `agent_id`, `event`, `since` or `until`
        (RFC 3339), those of all webhooks, for administrators.
        """
        query = {"status": status, "limit": limit, "cursor": cursor}
        more = {"agent_id": agent_id, "event": event, "from": since, "to": until}
        if webhook_id is not None and not any(more.values()):
            call = Call("GET", webhook_path(webhook_id, "/deliveries"), query=query)
        else:
            call = Call("GET", "/deliveries", query={**query, **more, "webhook_id": webhook_id})
        return await self._core.call(call, _read_deliveries)

    async def redeliver(self, webhook_id: str, delivery_id: str) -> Delivery:
        """Starts a delivery again, under the same id."""
        path = webhook_path(webhook_id, f"/deliveries/{quote(delivery_id, safe='')}/redeliver")
        return await self._core.call(
            Call("POST", path, repeatable=False), lambda answer: parse(Delivery, answer["delivery"])
        )

    async def redeliver_all(
        self,
        *,
        dry_run: bool = True,
        status: Optional[DeliveryStatus] = None,
        webhook_id: Optional[str] = None,
        agent_id: Optional[str] = None,
        event: Optional[str] = None,
        since: Optional[str] = None,
        until: Optional[str] = None,
        cursor: Optional[str] = None,
    ) -> RedeliverAllResponse:
        """
        Starts many deliveries again, or with `dry_run` only counts them. Administrators only. At least one of the filters has to be
        given; `status` is `failed` if it is not.
        """
        given = {"status": status, "webhook_id": webhook_id, "agent_id": agent_id, "event": event}
        filters = {**given, "from": since, "to": until}
        body: Json = {"filter": {name: one for name, one in filters.items() if one is not None}, "dry_run": dry_run}
        if cursor is not None:
            body["cursor"] = cursor
        call = Call("POST", "/deliveries/redeliver", body=body, repeatable=False)
        return await self._core.call(call, lambda answer: parse(RedeliverAllResponse, answer))

    async def get_webhook_events(self) -> List[str]:
        """The names of the events that a webhook can be registered for. Needs no credentials."""
        return await self._core.send(Call("GET", "/webhooks/events"), lambda answer: list(answer["events"]))

    # The deployment

    async def list_permissions(self) -> Json:
        """The permissions that this deployment can grant. Needs no credentials."""
        return await self._core.send(Call("GET", "/permissions/list"), _read_object)

    async def health_check(self) -> HealthCheckResponse:
        """Whether the deployment and its database answer. `unhealthy` is a result, not an error. Needs no credentials."""
        return await self._core.send(Call("GET", "/health"), lambda answer: parse(HealthCheckResponse, answer))

    async def health_details(self) -> HealthDetailsResponse:
        """Each part of the deployment: what lags and since when, what is missing, and what to do. For administrators."""
        return await self._core.call(Call("GET", "/health/details"), lambda answer: parse(HealthDetailsResponse, answer))

    async def get_access_token(self) -> Optional[str]:
        """
        An access token, renewed first if it is due, for an SDK that takes a base URL and a token. None if the client has none and
        no means to get one.
        """
        return self._core.context_token.get() or await self._core.get_token()

    def proxy_url(self, service: str) -> str:
        """The URL of a service at the gateway, for an SDK that takes a base URL."""
        return f"{self._core.base_url}/proxy/{service}"

    async def _call_object(
        self,
        method: str,
        path: str,
        *,
        body: Optional[Json] = None,
        repeatable: bool = True,
        resolve: Optional[Callable[[AgentAuthError], Optional[Body]]] = None,
    ) -> Json:
        call = Call(method, path, body=body, repeatable=repeatable, resolve_repeated=resolve)
        return await self._core.call(call, _read_object)


class AgentAuthClient(_Api):
    """
    A client of one AgentAuth deployment, for asyncio. It can be shared by tasks, and used in one event loop after another.

    Every method raises `AgentAuthError` (an `httpx.HTTPStatusError`) for a refusal, and an `httpx.RequestError` if there is no
    response.

    :param base_url: the address of the deployment, for example `https://agentauth.example.com`.
    :param api_key: with `agent_id`: the client proves itself on its first call and keeps its tokens valid.
    :param private_key: of a public key that the agent has registered (`add_agent_public_key`), instead of `api_key`: in PEM, as a JWK, or
        of `cryptography`. Then there is no secret that the server knows too. Needs PyJWT and cryptography, as `dpop` does.
    :param key_id: the `kid` of `private_key`, if it is not in a JWK. Without one the server tries the agent's keys.
    :param issuer: the deployment's `ISSUER`, which assertions of `private_key` are for, if it is not `base_url`.
    :param dpop: binds the client's tokens to a key (DPoP, RFC 9449), so that nobody else can use them: True for a new one, or a private
        key. An `access_token` and a `refresh_token` have to be bound to it already.
    :param max_retries: how often a failed call is repeated at most.
    :param timeout: seconds for each step of one attempt, as httpx counts them.
    :param max_retry_delay: the longest wait before a retry, in seconds. If `Retry-After` asks for more, the call raises, and
        `retry_after` of the error says how many seconds to wait.
    :param on_tokens: called with every new pair of tokens, to store it for the next start. It may be a coroutine function.
    :param transport: the httpx transport to use, for example with a proxy or a certificate of your own. It is not closed.
    :raises ValueError: `base_url` is not an http(s) URL, or a key is none.
    :raises ImportError: a key is given, and PyJWT or cryptography is missing.
    """

    def __init__(
        self,
        base_url: str,
        api_key: Optional[str] = None,
        access_token: Optional[str] = None,
        max_retries: int = 3,
        timeout: float = 10.0,
        *,
        agent_id: Optional[str] = None,
        refresh_token: Optional[str] = None,
        private_key: Optional[PrivateKey] = None,
        key_id: Optional[str] = None,
        issuer: Optional[str] = None,
        dpop: Union[bool, PrivateKey, None] = None,
        max_retry_delay: float = 30.0,
        on_tokens: Optional[Callable[[Token], Any]] = None,
        transport: Optional[httpx.AsyncBaseTransport] = None,
    ) -> None:
        self._io = AsyncIO(transport)
        self._transport = transport
        session = _new_session(agent_id, api_key, access_token, refresh_token, private_key, key_id, issuer)
        super().__init__(self._io, base_url, session, max_retries, timeout, max_retry_delay, on_tokens, dpop)

    async def __aenter__(self) -> AgentAuthClient:
        return self

    async def __aexit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connections of this event loop. A later call opens new ones."""
        await self._io.close()

    async def audit(self, **filters: Any) -> AsyncIterator[AuditRecord]:
        """Iterates over the records that `get_audit` finds with these filters, newest first, fetching page by page."""
        cursor: Optional[str] = None
        while True:
            query: Dict[str, Any] = {"limit": 200, **filters, "cursor": cursor}
            page = await self.get_audit(**query)
            for record in page:
                yield record
            cursor = page.next_cursor
            if cursor is None:
                return

    def proxy(self, service: str, base_url: Optional[str] = None) -> AsyncProxyTransport:
        """
        An httpx transport that calls one service through the gateway with this client's token, which replaces any other.

        It takes requests for the service's URL at the gateway (`proxy_url`) and, if `base_url` is given, for URLs below that,
        such as an SDK of the service makes. Any other URL, also one that a redirect leads to, is a `ProxyTargetError`.
        """
        return AsyncProxyTransport(self._core, service, base_url, self._transport)

    def proxy_client(self, service: str) -> httpx.AsyncClient:
        """An httpx client of one service: `await client.proxy_client("github").get("/repos/octo/hello/issues/5")`."""
        return httpx.AsyncClient(transport=self.proxy(service), base_url=self.proxy_url(service))


def _new_session(
    agent_id: Optional[str],
    api_key: Optional[str],
    access_token: Optional[str],
    refresh_token: Optional[str],
    private_key: Optional[PrivateKey],
    key_id: Optional[str],
    issuer: Optional[str],
) -> Session:
    if private_key is not None and (not agent_id or api_key):
        raise ValueError("private_key goes with agent_id, and without api_key.")
    signer = None if private_key is None else Signer(private_key)
    return Session(
        agent_id, api_key, access_token, refresh_token, signer=signer, key_id=key_id, issuer=issuer and issuer.rstrip("/")
    )


def _sync(
    method: "Callable[Concatenate[Any, Parameters], Coroutine[Any, Any, Result]]",
) -> "Callable[Concatenate[Any, Parameters], Result]":
    """The method that runs a coroutine method to its end. Every coroutine function of `_Api` is safe for `run_now`."""

    @functools.wraps(method)
    def run(self: Any, /, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        return run_now(method(self._api, *args, **kwargs))

    return run


class SyncAgentAuthClient:
    """`AgentAuthClient` for code without an event loop: the same parameters and methods, without `await`. Threads can share it."""

    register_agent = _sync(_Api.register_agent)
    verify_agent = _sync(_Api.verify_agent)
    refresh_token = _sync(_Api.refresh_token)
    client_credentials = _sync(_Api.client_credentials)
    exchange = _sync(_Api.exchange)
    introspect = _sync(_Api.introspect)
    revoke_token = _sync(_Api.revoke_token)
    revoke_tokens = _sync(_Api.revoke_tokens)
    list_agents = _sync(_Api.list_agents)
    get_agent = _sync(_Api.get_agent)
    get_agent_details = _sync(_Api.get_agent_details)
    update_agent = _sync(_Api.update_agent)
    list_agent_keys = _sync(_Api.list_agent_keys)
    create_agent_key = _sync(_Api.create_agent_key)
    add_agent_public_key = _sync(_Api.add_agent_public_key)
    delete_agent_key = _sync(_Api.delete_agent_key)
    list_agent_sessions = _sync(_Api.list_agent_sessions)
    end_agent_session = _sync(_Api.end_agent_session)
    revoke_agent_tokens = _sync(_Api.revoke_agent_tokens)
    bulk_revoke_agents = _sync(_Api.bulk_revoke_agents)
    revoke_agent = _sync(_Api.revoke_agent)
    delete_agent = _sync(_Api.delete_agent)
    update_agent_tier = _sync(_Api.update_agent_tier)
    update_agent_status = _sync(_Api.update_agent_status)
    update_agent_permissions = _sync(_Api.update_agent_permissions)
    get_agent_grants = _sync(_Api.get_agent_grants)
    set_agent_grants = _sync(_Api.set_agent_grants)
    rotate_agent_key = _sync(_Api.rotate_agent_key)
    get_activity = _sync(_Api.get_activity)
    get_audit = _sync(_Api.get_audit)
    get_audit_record = _sync(_Api.get_audit_record)
    register_webhook = _sync(_Api.register_webhook)
    list_webhooks = _sync(_Api.list_webhooks)
    get_webhook = _sync(_Api.get_webhook)
    update_webhook = _sync(_Api.update_webhook)
    delete_webhook = _sync(_Api.delete_webhook)
    regenerate_webhook_secret = _sync(_Api.regenerate_webhook_secret)
    test_webhook = _sync(_Api.test_webhook)
    list_deliveries = _sync(_Api.list_deliveries)
    redeliver = _sync(_Api.redeliver)
    redeliver_all = _sync(_Api.redeliver_all)
    get_webhook_events = _sync(_Api.get_webhook_events)
    list_permissions = _sync(_Api.list_permissions)
    health_check = _sync(_Api.health_check)
    health_details = _sync(_Api.health_details)
    get_access_token = _sync(_Api.get_access_token)

    def __init__(
        self,
        base_url: str,
        api_key: Optional[str] = None,
        access_token: Optional[str] = None,
        max_retries: int = 3,
        timeout: float = 10.0,
        *,
        agent_id: Optional[str] = None,
        refresh_token: Optional[str] = None,
        private_key: Optional[PrivateKey] = None,
        key_id: Optional[str] = None,
        issuer: Optional[str] = None,
        dpop: Union[bool, PrivateKey, None] = None,
        max_retry_delay: float = 30.0,
        on_tokens: Optional[Callable[[Token], Any]] = None,
        transport: Optional[httpx.BaseTransport] = None,
    ) -> None:
        self._io = SyncIO(transport)
        self._transport = transport
        session = _new_session(agent_id, api_key, access_token, refresh_token, private_key, key_id, issuer)
        self._api = _Api(self._io, base_url, session, max_retries, timeout, max_retry_delay, on_tokens, dpop)

    def __repr__(self) -> str:
        return f"Sync{self._api!r}"

    def __enter__(self) -> SyncAgentAuthClient:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections. A later call opens new ones."""
        self._io.close()

    @property
    def base_url(self) -> str:
        return self._api.base_url

    @property
    def access_token(self) -> Optional[str]:
        return self._api.access_token

    @functools.wraps(_Api.set_access_token)
    def set_access_token(self, token: Optional[str]) -> None:
        self._api.set_access_token(token)

    @functools.wraps(_Api.set_api_key)
    def set_api_key(self, api_key: str) -> None:
        self._api.set_api_key(api_key)

    @functools.wraps(_Api.proxy_url)
    def proxy_url(self, service: str) -> str:
        return self._api.proxy_url(service)

    def audit(self, **filters: Any) -> Iterator[AuditRecord]:
        """Iterates over the records that `get_audit` finds with these filters, newest first, fetching page by page."""
        cursor: Optional[str] = None
        while True:
            query: Dict[str, Any] = {"limit": 200, **filters, "cursor": cursor}
            page = self.get_audit(**query)
            yield from page
            cursor = page.next_cursor
            if cursor is None:
                return

    def proxy(self, service: str, base_url: Optional[str] = None) -> ProxyTransport:
        """`AgentAuthClient.proxy`, for `httpx.Client`."""
        return ProxyTransport(self._api._core, service, base_url, self._transport)

    def proxy_client(self, service: str) -> httpx.Client:
        """An httpx client of one service: `client.proxy_client("github").get("/repos/octo/hello/issues/5")`."""
        return httpx.Client(transport=self.proxy(service), base_url=self.proxy_url(service))


_DONE = {"success": True, "message": "Done. The response to an earlier attempt of this call was lost."}


def _resolve_deleted(error: AgentAuthError) -> Optional[Body]:
    return _DONE if error.status_code == 404 else None


def _read_object(answer: Any) -> Json:
    if not isinstance(answer, dict):
        raise ValueError("not an object")
    return answer


def _read_introspection(answer: Any) -> Json:
    """:raises TypeError: the answer does not say whether the token is valid, and then nothing may be taken from it."""
    if not isinstance(answer["active"], bool):
        raise TypeError("active")
    return _read_object(answer)


def _read_agent(answer: Any) -> Agent:
    return parse(Agent, answer["agent"])


def _read_grants(answer: Any) -> GrantList:
    return GrantList([parse(Grant, one) for one in answer["grants"]], answer["grants_version"])


def _read_details(answer: Any) -> AgentDetails:
    return parse(AgentDetails, answer["details"])


def _given(values: Mapping[str, Any]) -> Json:
    """Those that are not None, for a body in which what is left out has its default."""
    return {name: value for name, value in values.items() if value is not None}


def _read_webhooks(answer: Any) -> WebhookList:
    webhooks = [parse(Webhook, one) for one in answer["webhooks"]]
    return WebhookList(webhooks, answer.get("details", {}), answer.get("next_cursor"))


def _read_deliveries(answer: Any) -> DeliveryList:
    return DeliveryList([parse(Delivery, one) for one in answer["deliveries"]], answer.get("next_cursor"))


def _read_webhook(answer: Any) -> Webhook:
    return parse(Webhook, answer["webhook"])
