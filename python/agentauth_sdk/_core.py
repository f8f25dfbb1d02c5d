"""Calls one deployment: retries, and tokens that renew themselves. No I/O of its own."""

from __future__ import annotations

import base64
import json
import random
import time
import uuid
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple, Type, TypeVar, Union
from urllib.parse import quote, urlencode

import httpx

from ._io import IO
from ._keys import TOKEN_PATHS, Dpop, Signer
from .errors import AgentAuthError
from .permissions import is_granted
from .types import Agent, OAuthToken, RefreshTokenResponse, Token, VerifyAgentResponse, parse

Answer = TypeVar("Answer")
TokenAnswer = TypeVar("TokenAnswer", RefreshTokenResponse, VerifyAgentResponse)
Body = Mapping[str, Any]

FIRST_RETRY_DELAY = 1.0
"""Seconds before the first retry; each further one waits twice as long."""
MAX_JITTER = 0.1
"""A wait is up to this share longer, which spreads clients that failed in the same moment."""
RENEWAL_MARGIN = 60.0
"""Tokens are renewed this many seconds before they expire, or after nine tenths of their life if that is later."""
LIMITS_RENEWAL = 60.0
"""A client that exceeds its limits again and again gets a new token at most once in this many seconds."""
RECENT_PROOF = 290.0
"""Seconds. For a proof by key that is older than 300 the server suspends instead of revoking; the rest is a margin for clocks."""

# With these errors the request has not reached the server.
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


@dataclass
class Session:
    """The identity and the tokens of a client."""

    agent_id: Optional[str] = None
    api_key: Optional[str] = field(default=None, repr=False)
    access_token: Optional[str] = field(default=None, repr=False)
    refresh_token: Optional[str] = field(default=None, repr=False)
    scope: Optional[List[str]] = None
    """What the tokens of the sessions that are opened with the API key are limited to."""
    expires_in: Optional[int] = None
    """How many seconds those access tokens live."""
    renew_at: Optional[float] = None
    """When to renew the access token. None if its life is not known: then the server's refusal decides."""
    signer: Optional[Signer] = field(default=None, repr=False)
    """The private key that takes the place of the API key."""
    key_id: Optional[str] = None
    """The `kid` of that key, if the key does not say it."""
    issuer: Optional[str] = None
    """Whom assertions are for, if it is not the base URL."""
    is_own: bool = True
    """Whether the client was constructed with this identity. Not so after `verify_agent` for the credentials of a caller."""

    @property
    def can_renew(self) -> bool:
        return bool(self.refresh_token or (self.agent_id and (self.api_key or self.signer)))


@dataclass
class Call:
    """One request to AgentAuth's own API."""

    method: str
    path: str
    query: Optional[Mapping[str, Any]] = None
    body: Optional[Body] = field(default=None, repr=False)
    form: Optional[Callable[[], Mapping[str, Any]]] = field(default=None, repr=False)
    """
    Makes what is sent instead of `body`, as OAuth's endpoints want it, anew for each attempt: texts, and lists of texts for what is
    repeated. None is left out.
    """
    idempotency_key: Optional[str] = field(default=None, repr=False)
    """Sent as `Idempotency-Key`: however often the request is sent, the server carries it out once."""
    repeatable: bool = True
    """False for a request that must not be sent again while the outcome of an earlier attempt is unknown."""
    resolve_repeated: Optional[Callable[[AgentAuthError], Optional[Body]]] = None
    """
    For a request whose second execution fails because the first one succeeded: the answer if this error follows an attempt
    whose response was lost. None if the error proves nothing.
    """


class Core:
    def __init__(
        self,
        io: IO,
        base_url: str,
        session: Session,
        max_retries: int,
        max_retry_delay: float,
        timeout: float,
        on_tokens: Optional[Callable[[Token], Any]],
        dpop: Optional[Dpop] = None,
    ) -> None:
        self.io = io
        self.dpop = dpop
        self.base_url = normalise_base_url(base_url)
        self.session = session
        self.max_retries = max_retries
        self.max_retry_delay = max_retry_delay
        self.timeout = timeout
        self.on_tokens = on_tokens
        # The token of `set_access_token`. It belongs to the task or thread that set it: a web application that sets each
        # request's own token on one shared client must never send one caller's request with another caller's token.
        self.context_token: ContextVar[Optional[str]] = ContextVar("agentauth_access_token", default=None)

    async def call(self, call: Call, read: Callable[[Any], Answer], *, adopted: bool = True) -> Answer:
        """
        Sends a request with the client's token. Renews the token once if the server refuses it, and once if the server denies a
        permission that the agent holds by now. If the server asks for a more recent proof, sends it once more with the API key.

        :param adopted: whether tokens count that `verify_agent` was given for, and not only the client's own.
        """
        own = self.context_token.get()
        if own is not None:
            return await self.send(call, read, own)
        if not (adopted or self.session.is_own):
            return await self.send(call, read, None)
        token = await self.get_token()
        try:
            return await self.send(call, read, token)
        except AgentAuthError as error:
            if error.status_code not in (401, 403):
                raise
            key, body = self.session.api_key, call.body or {}
            if error.code == "reauthentication_required" and key and not body.get("api_key"):
                # Another body is another request, which the server has not begun.
                once = call.idempotency_key and str(uuid.uuid4())
                proven = replace(call, body={**body, "api_key": key.strip()}, idempotency_key=once)
                return await self.send(proven, read, token)
            if error.code == "reauthentication_required" and self.session.signer:
                again = replace(call, idempotency_key=call.idempotency_key and str(uuid.uuid4()))
                return await self.send(again, read, await self.replace(token))
            renewed = await self.renew_for(error.status_code, error.details, token)
            if renewed is None:
                if error.status_code == 401 and token is None:
                    message = "This call needs a token. Give the client agent_id and api_key, or call verify_agent."
                    raise AgentAuthError(error.response, message=message) from None
                raise
        return await self.send(call, read, renewed)

    async def send(self, call: Call, read: Callable[[Any], Answer], token: Optional[str] = None) -> Answer:
        """
        Sends a request until it succeeds or may not be sent again: network errors, 429 and 5xx are retried after 1, 2, 4 …
        seconds, and not before the time that `Retry-After` names.
        """
        attempt = 0
        was_lost = False
        while True:
            failure: Exception
            retry_after = 0.0
            try:
                response = await self._attempt(call, token)
            except httpx.TransportError as error:
                failure, was_acted_on = error, not isinstance(error, _NEVER_SENT)
            else:
                if response.is_success or call.path == "/health":
                    try:
                        return read(response.json())
                    except (KeyError, TypeError, ValueError):
                        pass
                refusal = AgentAuthError(response)
                if was_lost and call.resolve_repeated:
                    answer = call.resolve_repeated(refusal)
                    if answer is not None:
                        return read(answer)
                is_in_flight = refusal.code == "idempotency_in_flight"
                if response.status_code != 429 and response.status_code < 500 and not is_in_flight:
                    raise refusal
                # The server did not act on a request that it refused for its rate, or because an earlier attempt is under way.
                failure, was_acted_on = refusal, response.status_code != 429 and not is_in_flight
                retry_after = refusal.retry_after or 0.0
            was_lost = was_lost or was_acted_on
            if attempt >= self.max_retries or retry_after > self.max_retry_delay:
                raise failure
            if was_acted_on and not call.repeatable:
                raise failure
            delay = max(FIRST_RETRY_DELAY * 2**attempt, retry_after)
            await self.io.sleep(min(delay * (1 + random.random() * MAX_JITTER), self.max_retry_delay))
            attempt += 1

    async def _attempt(self, call: Call, token: Optional[str]) -> httpx.Response:
        def make() -> httpx.Request:
            return self._request(call, token)

        if self.dpop is None or not (token or call.path in TOKEN_PATHS):
            return await self.io.send(make())
        return await self.dpop.send(make, token, self.io.send, self.io.close_response)

    def authorization(self, token: str) -> str:
        """The `Authorization` header for a token."""
        return credentials("Bearer" if self.dpop is None else "DPoP", token)

    def _request(self, call: Call, token: Optional[str]) -> httpx.Request:
        headers = {"Accept": "application/json"}
        if token:
            headers["Authorization"] = self.authorization(token)
        if call.idempotency_key:
            headers["Idempotency-Key"] = call.idempotency_key
        content: Optional[bytes] = None
        if call.form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            given = {name: value for name, value in call.form().items() if value is not None}
            content = urlencode(given, doseq=True).encode()
        elif call.body is not None:
            headers["Content-Type"] = "application/json"
            content = json.dumps(call.body).encode()
        return httpx.Request(
            call.method,
            self.base_url + call.path,
            params={name: value for name, value in (call.query or {}).items() if value is not None} or None,
            headers=headers,
            content=content,
            extensions={"timeout": httpx.Timeout(self.timeout).as_dict()},
        )

    async def get_token(self) -> Optional[str]:
        """The access token, renewed first if it is due. None if the client has none and no means to get one."""
        session = self.session
        token = session.access_token
        is_due = token is None or (session.renew_at is not None and self.io.now() >= session.renew_at)
        if is_due and session.can_renew:
            await self._renew(token)
        return session.access_token

    async def replace(self, refused: Optional[str]) -> Optional[str]:
        """Another access token than the refused one. None if the client has no means to get one."""
        if self.session.access_token not in (None, refused):
            return self.session.access_token
        if not self.session.can_renew:
            return None
        await self._renew(refused)
        return self.session.access_token

    async def renew_for(self, status: int, refusal: Mapping[str, Any], token: Optional[str]) -> Optional[str]:
        """A new access token, if one can help against this refusal."""
        if status == 401:
            return await self.replace(token)
        required = refusal.get("required")
        agent_id, scope, issued_at = _claims_of(token)
        if refusal.get("code") == "constraint_violated":
            # The limits of a token are those of the time when it was issued.
            return None if time.time() - issued_at < LIMITS_RENEWAL else await self.replace(token)
        if not (agent_id and isinstance(required, str) and self.session.can_renew) or is_granted(scope, required):
            return None
        # A denial that stands costs this read and no new tokens. Without an answer the denial is what the caller has to know.
        call = Call("GET", agent_path(agent_id))
        try:
            agent = await self.send(call, lambda body: parse(Agent, body["agent"]), token)
        except httpx.HTTPError:
            return None
        return await self.replace(token) if is_granted(agent.permissions, required) else None

    async def _renew(self, stale: Optional[str]) -> None:
        """
        Replaces a token that is due or refused. Callers that wait for the lock find the token replaced. If a renewal is
        cancelled midway, the next one sends the same refresh token, which the server answers with the same successor.
        """
        session = self.session
        async with self.io.lock():
            if session.access_token not in (None, stale):
                return
            token = await self._request_tokens()
            # If the client was given another identity meanwhile, these tokens are not its own any more.
            if session.access_token not in (None, stale):
                return
            self._store(token)
        if isinstance(token, Token):
            await self._notify(token)

    async def _request_tokens(self) -> Union[Token, OAuthToken]:
        session = self.session
        used = session.refresh_token
        if used:
            try:
                return (await self.send_refresh(used)).token
            except AgentAuthError as error:
                if error.status_code != 401:
                    raise
                # The session has ended. With the API key the client opens another.
                if session.refresh_token == used:
                    session.refresh_token = None
                if not session.can_renew:
                    raise
        if session.signer:
            # Each token is of a new assertion, and no secret comes with it that could be stolen.
            scope = None if session.scope is None else " ".join(session.scope)
            return await self.request_oauth_token({"grant_type": "client_credentials", "scope": scope})
        answer = await self.send_verify(session.agent_id, session.api_key, session.scope, session.expires_in)
        return answer.token

    async def send_refresh(self, refresh_token: Optional[str]) -> RefreshTokenResponse:
        call = Call("POST", "/agents/refresh", body={"refresh_token": refresh_token})
        return await self.send(call, self._read_tokens(RefreshTokenResponse))

    async def send_verify(
        self,
        agent_id: Optional[str],
        api_key: Optional[str],
        scope: Optional[Sequence[str]] = None,
        expires_in: Optional[int] = None,
    ) -> VerifyAgentResponse:
        # White space comes along with a copied key or with the last line of a file.
        body: Dict[str, Any] = {"agent_id": agent_id, "api_key": api_key and api_key.strip()}
        if scope is not None:
            body["scope"] = list(scope)
        if expires_in is not None:
            body["expires_in"] = expires_in
        call = Call("POST", "/agents/verify", body=body)
        return await self.send(call, self._read_tokens(VerifyAgentResponse))

    def _read_tokens(self, kind: Type[TokenAnswer]) -> Callable[[Any], TokenAnswer]:
        def read(body: Any) -> TokenAnswer:
            answer = parse(kind, body)
            self._check_binding(answer.token)
            return answer

        return read

    def _check_binding(self, token: Union[Token, OAuthToken]) -> None:
        """
        :raises ValueError: whoever steals the token could use it, although the client binds its tokens. So the answer is none.
        """
        if self.dpop is not None and token.token_type != "DPoP":
            raise ValueError("the token is not bound to the client's key")

    async def request_oauth_token(self, form: Mapping[str, Any]) -> OAuthToken:
        def read(body: Any) -> OAuthToken:
            token = parse(OAuthToken, body)
            self._check_binding(token)
            return token

        return await self.send_oauth("token", form, read)

    async def send_oauth(self, endpoint: str, form: Mapping[str, Any], read: Callable[[Any], Answer]) -> Answer:
        """
        Sends a form to an OAuth endpoint, with the client's id and API key (`client_secret_post`), or with an assertion of its private
        key (`private_key_jwt`).

        :raises ValueError: the client has neither.
        """
        self._prove_client()
        return await self.send(Call("POST", f"/oauth/{endpoint}", form=lambda: {**form, **self._prove_client()}), read)

    def _prove_client(self) -> Dict[str, str]:
        session = self.session
        if not session.agent_id or not (session.api_key or session.signer):
            raise ValueError("This call needs the client's agent_id and api_key, or agent_id and private_key.")
        if session.signer is None:
            return {"client_id": session.agent_id, "client_secret": str(session.api_key).strip()}
        audience = session.issuer or self.base_url
        return {
            "client_id": session.agent_id,
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": session.signer.make_assertion(session.agent_id, audience, session.key_id),
        }

    async def adopt(self, token: Token) -> None:
        """Goes on with these tokens, in every task and thread."""
        self.context_token.set(None)
        self._store(token)
        await self._notify(token)

    def _store(self, token: Union[Token, OAuthToken]) -> None:
        session = self.session
        session.access_token = token.access_token
        session.refresh_token = token.refresh_token if isinstance(token, Token) else None
        session.renew_at = self.io.now() + max(token.expires_in * 0.9, token.expires_in - RENEWAL_MARGIN)

    async def _notify(self, token: Token) -> None:
        if self.on_tokens:
            await self.io.call(self.on_tokens, token)

    def forget_tokens(self) -> None:
        """Forgets the tokens that this task or thread calls with, once they are revoked."""
        if self.context_token.get() is not None:
            self.context_token.set(None)
            return
        self.session.access_token = self.session.refresh_token = self.session.renew_at = None


def normalise_base_url(text: object) -> str:
    """
    :raises ValueError: it is not an http(s) URL. The message does not quote it: it may be a key in the wrong place.
    """
    try:
        url = httpx.URL(text) if isinstance(text, str) else httpx.URL("")
    except (httpx.InvalidURL, UnicodeError):
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("base_url must be a URL such as https://agentauth.example.com.")
    return str(httpx.URL(scheme=url.scheme, host=url.host, port=url.port, path=url.path)).rstrip("/")


def credentials(scheme: str, token: str) -> str:
    """
    The `Authorization` header.

    :raises ValueError: no header can hold the token. The message does not quote it.
    """
    if not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError("The access token holds a character that no header can hold. Copy it again, whole.")
    return f"{scheme} {token}"


def creation(path: str, body: Optional[Body] = None) -> Call:
    """A request that creates something. Repeated after a lost answer, it gets that answer."""
    return Call("POST", path, body=body, idempotency_key=str(uuid.uuid4()))


def is_recently_proven(access_token: Optional[str]) -> bool:
    """
    Whether an access token goes back to a recent proof by API key. A token that does not say so (`auth_time`) is of a server that
    does not ask for one.
    """
    try:
        payload = (access_token or "").split(".")[1]
        proven_at = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))).get("auth_time")
        return proven_at is None or time.time() - float(proven_at) < RECENT_PROOF
    except (AttributeError, IndexError, TypeError, ValueError):
        return True


def agent_path(agent_id: str, rest: str = "") -> str:
    return f"/agents/{path_segment(agent_id)}{rest}"


def webhook_path(webhook_id: str, rest: str = "") -> str:
    return f"/webhooks/{path_segment(webhook_id)}{rest}"


def path_segment(value: str) -> str:
    """
    One segment of a path.

    :raises ValueError: it is empty, or a dot segment, which clients and servers resolve to another path.
    """
    if value in ("", ".", ".."):
        raise ValueError("An id must not be empty.")
    return quote(value, safe="")


def _claims_of(token: Optional[str]) -> Tuple[Optional[str], List[str], float]:
    """
    What an access token claims, without any check: the server checks it. Its agent; the permissions that it has, those with limits
    included, of which a new one has no more; when it was issued. Nothing for a text that is no JWT.
    """
    try:
        payload = (token or "").split(".")[1]
        claims: Dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        limited = [str(one["permission"]) for one in claims.get("authorization_details", []) if "permission" in one]
        return str(claims["sub"]), str(claims["scope"]).split(" ") + limited, float(claims["iat"])
    except (IndexError, KeyError, TypeError, ValueError):
        return None, [], 0.0
