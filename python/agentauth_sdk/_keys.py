"""
What a client does with a private key: assertions in the place of an API key (RFC 7523), and DPoP proofs (RFC 9449).

Needs PyJWT and cryptography, which are imported when the first key is given.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
import uuid
from typing import Any, Awaitable, Callable, Dict, Mapping, Optional, Tuple, Union

import httpx

PrivateKey = Union[str, bytes, Mapping[str, Any], Any]
"""A private key in PEM without a password, as a JWK, or of `cryptography`: ES256, EdDSA, RS256 or PS256."""

ASSERTION_LIFE = 150
"""
Seconds that an assertion is good: half of the 300 that the server allows, so that the clock here may be as far behind as it may be
ahead. For the same reason it does not say when it was made.
"""
MIN_RSA_BITS = 2048
TOKEN_PATHS = ("/oauth/token", "/agents/verify", "/agents/refresh")
"""Where a request without a token is one for a token."""


class Signer:
    """
    Signs JWTs with a private key.

    :raises ValueError: it is no such key. The message does not quote it.
    :raises ImportError: PyJWT or cryptography is missing.
    """

    def __init__(self, key: PrivateKey) -> None:
        try:
            import jwt
            from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
        except ImportError as error:
            raise ImportError("Private keys need PyJWT and cryptography: pip install 'agentauth-sdk[keys]'") from error

        self._encode = jwt.encode
        self.key_id: Optional[str] = None
        wanted: Optional[str] = None
        algorithms: Tuple[str, ...]
        if isinstance(key, Mapping):
            self.key_id = key.get("kid")
            wanted = "EdDSA" if key.get("alg") == "Ed25519" else key.get("alg")
            self._key = _read_jwk(key)
        elif isinstance(key, (str, bytes)):
            self._key = _read_pem(key)
        else:
            self._key = key

        if isinstance(self._key, ec.EllipticCurvePrivateKey) and isinstance(self._key.curve, ec.SECP256R1):
            algorithms = ("ES256",)
            point = self._key.public_key().public_numbers()
            self.public_jwk = {"kty": "EC", "crv": "P-256", "x": _encode_int(point.x, 32), "y": _encode_int(point.y, 32)}
        elif isinstance(self._key, ed25519.Ed25519PrivateKey):
            algorithms = ("EdDSA",)
            self.public_jwk = {"kty": "OKP", "crv": "Ed25519", "x": _encode(_raw_public_key(self._key))}
        elif isinstance(self._key, rsa.RSAPrivateKey) and self._key.key_size >= MIN_RSA_BITS:
            algorithms = ("RS256", "PS256")
            numbers = self._key.public_key().public_numbers()
            self.public_jwk = {"kty": "RSA", "n": _encode_int(numbers.n), "e": _encode_int(numbers.e)}
        else:
            raise _unusable()
        self.algorithm: str = algorithms[0] if wanted is None else wanted
        if self.algorithm not in algorithms:
            raise _unusable()

    def sign(self, header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
        given = {name: value for name, value in header.items() if value is not None}
        return str(self._encode(dict(claims), self._key, algorithm=self.algorithm, headers=given))

    def make_assertion(self, agent_id: str, audience: str, key_id: Optional[str]) -> str:
        """An assertion of an agent (`private_key_jwt`, RFC 7523, section 3), which is accepted once."""
        claims = {"iss": agent_id, "sub": agent_id, "aud": audience, "jti": uuid.uuid4().hex}
        return self.sign({"typ": "JWT", "kid": key_id or self.key_id}, {**claims, "exp": int(time.time()) + ASSERTION_LIFE})


class Dpop:
    """
    Binds the tokens of a client to a key.

    :param key: True for a new ES256 key, which ends with the process.
    """

    def __init__(self, key: Union[bool, PrivateKey]) -> None:
        self._signer = Signer(_new_key() if key is True else key)
        # What the server gave last. Threads may read and write it as they come: a wrong one costs a further request.
        self._nonce: Optional[str] = None

    def _prove(self, request: httpx.Request, token: Optional[str]) -> httpx.Request:
        claims: Dict[str, Any] = {
            "jti": uuid.uuid4().hex,
            "htm": request.method,
            "htu": str(request.url.copy_with(query=None, fragment=None)),
            "iat": int(time.time()),
        }
        if token is not None:
            claims["ath"] = _encode(hashlib.sha256(token.encode("ascii")).digest())
        if self._nonce is not None:
            claims["nonce"] = self._nonce
        request.headers["DPoP"] = self._signer.sign({"typ": "dpop+jwt", "jwk": self._signer.public_jwk}, claims)
        return request

    async def send(
        self,
        make: Callable[[], httpx.Request],
        token: Optional[str],
        send: Callable[[httpx.Request], Awaitable[httpx.Response]],
        close: Callable[[httpx.Response], Awaitable[None]],
        repeatable: bool = True,
    ) -> httpx.Response:
        """Sends a request with a proof, and once more if the server gives a nonce to put into the proof (RFC 9449, section 8)."""
        sent = self._nonce
        response = await send(self._prove(make(), token))
        given = response.headers.get("dpop-nonce")
        # What stands in the answer of a service behind the gateway is no nonce of AgentAuth's.
        if given is None or given == sent or "x-agentauth-upstream" in response.headers:
            return response
        self._nonce = given
        if response.is_success or not repeatable:
            return response
        await close(response)
        return await send(self._prove(make(), token))


def _new_key() -> Any:
    try:
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError as error:
        raise ImportError("dpop needs PyJWT and cryptography: pip install 'agentauth-sdk[keys]'") from error
    return ec.generate_private_key(ec.SECP256R1())


def _read_jwk(jwk: Mapping[str, Any]) -> Any:
    from jwt.algorithms import get_default_algorithms

    name = {"EC": "ES256", "OKP": "EdDSA", "RSA": "RS256"}.get(str(jwk.get("kty")))
    if name is None or not jwk.get("d"):
        raise _unusable()
    # What a key is said to be for matters where it is kept.
    members = {one: jwk[one] for one in jwk if one not in ("alg", "use", "key_ops", "ext", "kid")}
    try:
        return get_default_algorithms()[name].from_jwk(json.dumps(members))  # type: ignore[no-untyped-call]
    except Exception:
        # Whatever it is, the message of a library may quote the key.
        raise _unusable() from None


def _read_pem(text: Union[str, bytes]) -> Any:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        return load_pem_private_key(text.encode("ascii") if isinstance(text, str) else text, password=None)
    except Exception:
        raise _unusable() from None


def _raw_public_key(key: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return bytes(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))


def _unusable() -> ValueError:
    return ValueError(
        "The key is no private key of ES256, EdDSA, RS256 or PS256 (RSA with 2048 bits or more), in PEM without a password or as a JWK."
    )


def _encode(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode("ascii")


def _encode_int(value: int, length: Optional[int] = None) -> str:
    return _encode(value.to_bytes(length or (value.bit_length() + 7) // 8, "big"))
