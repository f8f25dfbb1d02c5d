"""Verifies access tokens offline (RFC 9068), with the published keys of a deployment. Needs PyJWT and cryptography."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional

import httpx

from ._io import IO, AsyncIO, SyncIO, run_now
from .errors import TokenVerificationError

MAX_KEY_AGE = 600.0
"""Seconds after which the keys are fetched again."""
MAX_STALE = 86_400.0
"""
How many seconds keys are used although they cannot be fetched again. It bounds how long a service that is cut off from the
deployment goes on trusting a signing key that was withdrawn there.
"""
COOLDOWN = 30.0
"""At least this many seconds pass between two fetches for a key that is not in the set: made-up key ids cause no more."""
FIRST_COOLDOWN = 1.0
"""The same while there are no keys at all."""
FETCH_TIMEOUT = 5.0


@dataclass(frozen=True)
class VerifiedAgent:
    """The agent that an access token was issued to, and what the token grants."""

    agent_id: str
    permissions: List[str]
    """What it grants without limits."""
    tier: str
    claims: Dict[str, Any]
    limited: List[Dict[str, Any]] = field(default_factory=list)
    """
    What it grants with limits (`where`) or until a time (`expires_at`), which is not among `permissions`. Only who checks the limits
    against the request may take such a `permission` as granted.
    """


@dataclass
class _KeySet:
    keys: Dict[str, Any]
    loaded_at: float = float("-inf")
    tried_at: float = float("-inf")
    is_loading: bool = False
    # Each has the lock that lets one caller fetch while the others wait.
    asynchronous: AsyncIO = field(default_factory=AsyncIO)
    synchronous: SyncIO = field(default_factory=SyncIO)


_key_sets: Dict[str, _KeySet] = {}


async def verify_access_token(
    token: str,
    issuer: str,
    *,
    audience: Optional[str] = None,
    jwks_uri: Optional[str] = None,
    clock_tolerance: float = 5,
) -> VerifiedAgent:
    """
    Verifies an access token and returns its agent. `is_granted(agent.permissions, …)` says what it may do.

    A token that is bound to a key (DPoP) is refused: it is good with a proof of the key only, which is not checked here.

    The keys are fetched when they are first needed, and kept. A revocation since the token was issued cannot be seen offline; the
    token's short life is for that.

    :param issuer: the deployment's `ISSUER`, for example `https://agentauth.example.com`.
    :param audience: the deployment's `AUDIENCE`. The default is the issuer.
    :param jwks_uri: the URL of the public keys. The default is `/.well-known/jwks.json` of the issuer.
    :param clock_tolerance: seconds by which the two clocks may differ.
    :raises TokenVerificationError: `token_expired`; `invalid_token` with a message that says which check fails;
        `jwks_unavailable`: the keys could not be fetched.
    :raises ImportError: PyJWT or cryptography is missing.
    """
    uri = jwks_uri or _jwks_uri_of(issuer)
    return await _verify(_key_set_of(uri).asynchronous, token, issuer, audience or issuer, uri, clock_tolerance)


def verify_access_token_sync(
    token: str,
    issuer: str,
    *,
    audience: Optional[str] = None,
    jwks_uri: Optional[str] = None,
    clock_tolerance: float = 5,
) -> VerifiedAgent:
    """`verify_access_token` for code without an event loop. Both share the keys."""
    uri = jwks_uri or _jwks_uri_of(issuer)
    return run_now(_verify(_key_set_of(uri).synchronous, token, issuer, audience or issuer, uri, clock_tolerance))


def _jwks_uri_of(issuer: str) -> str:
    return f"{issuer.rstrip('/')}/.well-known/jwks.json"


def _key_set_of(uri: str) -> _KeySet:
    return _key_sets.setdefault(uri, _KeySet({}))


async def _verify(
    io: IO, token: str, issuer: str, audience: str, uri: str, clock_tolerance: float
) -> VerifiedAgent:
    try:
        import jwt
        from jwt.algorithms import ECAlgorithm
    except ImportError as error:
        raise ImportError("verify_access_token needs PyJWT and cryptography: pip install 'agentauth-sdk[verify]'") from error

    try:
        header = jwt.get_unverified_header(token)
        if header.get("typ") not in ("at+jwt", "application/at+jwt") or header.get("alg") != "ES256" or "crit" in header:
            raise jwt.InvalidTokenError("it is not an access token that is signed with ES256")
        jwk = await _find_key(io, _key_set_of(uri), uri, str(header.get("kid")))
        if jwk is None:
            raise jwt.InvalidTokenError("the deployment has no key with its kid")
        claims: Dict[str, Any] = jwt.decode(
            token,
            ECAlgorithm.from_jwk(jwk),  # type: ignore[no-untyped-call]
            algorithms=["ES256"],
            issuer=issuer,
            audience=audience,
            leeway=clock_tolerance,
            options={"require": ["iss", "aud", "sub", "exp", "iat", "jti", "client_id", "scope"]},
        )
    except jwt.ExpiredSignatureError:
        raise TokenVerificationError("token_expired", "The access token has expired.") from None
    except (jwt.InvalidTokenError, jwt.InvalidKeyError) as error:
        raise TokenVerificationError("invalid_token", f"The access token is not valid here: {error}.") from None
    if not (isinstance(claims["sub"], str) and claims["sub"] and isinstance(claims["scope"], str)):
        raise TokenVerificationError("invalid_token", "The access token lacks a claim.")
    # Sent as Bearer it may have been stolen (RFC 9449, section 7.2), and proofs of the key are not checked here.
    if "cnf" in claims:
        raise TokenVerificationError("invalid_token", "The access token is bound to a key, so it is not good as Bearer.")
    # What each agent of the chain has at present, the gateway knows and an offline verifier does not.
    if "act" in claims or "chain" in claims:
        raise TokenVerificationError("invalid_token", "The access token is a delegated one, which only the gateway takes.")
    details = claims.get("authorization_details")
    limited = [
        {name: value for name, value in one.items() if name != "type"}
        for one in (details if isinstance(details, list) else [])
        if isinstance(one, dict) and one.get("type") == "agentauth_grant"
    ]
    return VerifiedAgent(claims["sub"], claims["scope"].split(), str(claims.get("tier")), claims, limited)


async def _find_key(io: IO, key_set: _KeySet, uri: str, key_id: str) -> Optional[Dict[str, Any]]:
    # While one caller fetches, those whose key is known go on with it. The others wait for the lock and look again.
    if _needs_fetch(key_set, key_id) or (key_set.is_loading and key_id not in key_set.keys):
        async with io.lock():
            if _needs_fetch(key_set, key_id):
                await _fetch(io, key_set, uri)
    if time.monotonic() - key_set.loaded_at >= MAX_STALE:
        message = f"The keys at {uri} could not be fetched. Is issuer the deployment's ISSUER, or jwks_uri needed?"
        raise TokenVerificationError("jwks_unavailable", message)
    return key_set.keys.get(key_id)


def _needs_fetch(key_set: _KeySet, key_id: str) -> bool:
    now = time.monotonic()
    is_due = now - key_set.loaded_at >= MAX_KEY_AGE or key_id not in key_set.keys
    return is_due and now - key_set.tried_at >= (COOLDOWN if key_set.keys else FIRST_COOLDOWN)


async def _fetch(io: IO, key_set: _KeySet, uri: str) -> None:
    """Fetches the keys. If that fails, the present keys stay in use."""
    key_set.tried_at = time.monotonic()
    key_set.is_loading = True
    request = httpx.Request("GET", uri, extensions={"timeout": httpx.Timeout(FETCH_TIMEOUT).as_dict()})
    try:
        response = await io.send(request)
        response.raise_for_status()
        found = response.json()["keys"]
        key_set.keys = {one["kid"]: one for one in found if one.get("kty") == "EC" and one.get("crv") == "P-256"}
        key_set.loaded_at = time.monotonic()
    except (httpx.HTTPError, KeyError, TypeError, ValueError, AttributeError):
        pass
    finally:
        key_set.is_loading = False
