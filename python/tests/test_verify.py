from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
import unittest
from unittest import mock

import httpx

from agentauth_sdk import (
    TokenVerificationError,
    WebhookVerificationError,
    is_granted,
    verify_access_token,
    verify_access_token_sync,
    verify_webhook,
)
from agentauth_sdk import verify as verify_module
from agentauth_sdk._io import AsyncIO

from .support import BOOTSTRAP_TOKEN, RECEIVER_URL, URL, new_sync_client

try:
    import jwt
    from cryptography.hazmat.primitives.asymmetric import ec
except ImportError:
    jwt = None  # type: ignore[assignment]

NOW = 1_800_000_000
SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
EVENT = {"id": "evt_1", "event": "agent.verified", "agent_id": "agt_1", "timestamp": "2027-01-15T08:00:00.000Z", "data": {}}
BODY = json.dumps(EVENT)


def signed(body: str, secret: str = SECRET, timestamp: object = NOW) -> "dict[str, str]":
    mac = hmac.new(base64.b64decode(secret[6:]), f"msg_1.{timestamp}.{body}".encode(), hashlib.sha256).digest()
    signature = f"v1,{base64.b64encode(mac).decode()}"
    return {"Webhook-Id": "msg_1", "webhook-timestamp": str(timestamp), "WEBHOOK-SIGNATURE": signature}


class Webhooks(unittest.TestCase):
    def refusal(self, body: str, headers: "dict[str, str]", secret: object = SECRET) -> str:
        with self.assertRaises(WebhookVerificationError) as refused:
            verify_webhook(body, headers, secret, clock=lambda: NOW)  # type: ignore[arg-type]
        return refused.exception.code

    def test_a_delivery_of_the_gateway(self) -> None:
        with new_sync_client(["github:issues:read"]) as client:
            webhook = client.register_webhook(RECEIVER_URL, ["agent.verified"])
            client.test_webhook(webhook.id)
            for _ in range(600):
                delivery = httpx.get(RECEIVER_URL).json()
                if delivery:
                    break
                time.sleep(0.1)
            event = verify_webhook(delivery["body"], delivery["headers"], webhook.secret)
            self.assertEqual((event.event, event.agent_id), ("webhook.test", webhook.agent_id))
            with self.assertRaises(WebhookVerificationError):
                verify_webhook(delivery["body"] + " ", delivery["headers"], webhook.secret)

    def test_what_is_accepted(self) -> None:
        other = "whsec_" + base64.b64encode(b"o" * 32).decode()
        headers = signed(BODY)
        for body in (BODY, BODY.encode()):
            for secret in (SECRET, [other, SECRET]):
                self.assertEqual(verify_webhook(body, headers, secret, clock=lambda: NOW + 300).id, "evt_1")
        headers["WEBHOOK-SIGNATURE"] = "v1,AAAA v2,x " + headers["WEBHOOK-SIGNATURE"]
        self.assertEqual(verify_webhook(BODY, httpx.Headers(headers), SECRET, clock=lambda: NOW).id, "evt_1")

    def test_what_is_refused(self) -> None:
        headers = signed(BODY)
        other = "whsec_" + base64.b64encode(b"o" * 32).decode()
        self.assertEqual(self.refusal(BODY + " ", headers), "wrong_signature")
        self.assertEqual(self.refusal(BODY, headers, other), "wrong_signature")
        self.assertEqual(self.refusal(BODY, {**headers, "Webhook-Id": "msg_2"}), "wrong_signature")
        v1a = headers["WEBHOOK-SIGNATURE"].replace("v1,", "v1a,")
        self.assertEqual(self.refusal(BODY, {**headers, "WEBHOOK-SIGNATURE": v1a}), "wrong_signature")
        self.assertEqual(self.refusal(BODY, {**headers, "WEBHOOK-SIGNATURE": "v1,é"}), "wrong_signature")
        self.assertEqual(self.refusal(BODY, {"x-agentauth-signature": "0" * 64}), "missing_header")
        self.assertEqual(self.refusal(BODY, {**headers, "webhook-id": "msg_1"}), "missing_header")
        for timestamp in (NOW - 301, NOW + 301, f"{NOW}.0", f"+{NOW}", "²", "9" * 400):
            self.assertEqual(self.refusal(BODY, signed(BODY, timestamp=timestamp)), "stale_timestamp")
        for body in ("[]", "no json", "{}"):
            self.assertEqual(self.refusal(body, signed(body)), "malformed_body")

    def test_wrong_uses_do_not_quote_the_secret(self) -> None:
        for secret in ("", "plain-secret", "whsec_", "whsec_%%%", []):
            with self.assertRaises(ValueError) as refused:
                verify_webhook(BODY, signed(BODY), secret)
            self.assertNotIn("plain-secret", str(refused.exception))
        with self.assertRaises(TypeError):
            verify_webhook(EVENT, signed(BODY), SECRET)  # type: ignore[arg-type]


@unittest.skipIf(jwt is None, "PyJWT and cryptography are missing (python3-jwt, python3-cryptography)")
class AccessTokens(unittest.IsolatedAsyncioTestCase):
    def setUp(self) -> None:
        verify_module._key_sets.clear()
        with new_sync_client(["github:issues:read", "sample:orders:*"]) as client:
            self.agent_id = client.verify_agent().agent.agent_id
            self.token = str(client.access_token)

    def refusal(self, token: str, issuer: str = URL, **options: "str | float") -> str:
        with self.assertRaises(TokenVerificationError) as refused:
            verify_access_token_sync(token, issuer, **options)  # type: ignore[arg-type]
        self.assertNotIn(token, str(refused.exception))
        return refused.exception.code

    async def test_a_token_of_the_gateway(self) -> None:
        agent = await verify_access_token(self.token, URL)
        self.assertEqual(agent, verify_access_token_sync(self.token, URL))
        self.assertEqual((agent.agent_id, agent.tier, agent.claims["iss"]), (self.agent_id, "free", URL))
        self.assertTrue(is_granted(agent.permissions, "github:issues:read"))
        self.assertFalse(is_granted(agent.permissions, "github:issues:write"))
        self.assertTrue(is_granted(agent.permissions, "sample:orders:read"))
        self.assertFalse(is_granted(agent.permissions, "sample:orders:anything"))
        self.assertEqual(agent.limited, [])

    async def test_limits_that_are_not_taken_for_the_whole(self) -> None:
        where = {"path.owner": {"eq": "octo"}}
        limited = [
            {"permission": "github:issues:read", "where": where},
            {"permission": "sample:orders:read", "expires_at": "2099-01-01T00:00:00.000Z"},
        ]
        with new_sync_client(["github:*:*"]) as client, new_sync_client(["*:*:*"], BOOTSTRAP_TOKEN) as admin:
            admin.set_agent_grants(client.verify_agent().agent.agent_id, limited)
            agent = await verify_access_token(client.verify_agent().token.access_token, URL)
        self.assertEqual((agent.permissions, agent.limited), ([], limited))
        for one in limited:
            self.assertFalse(is_granted(agent.permissions, str(one["permission"])))

    async def test_straight_after_every_revocation(self) -> None:
        """PyJWT refuses a token whose `iat` is in the future."""
        with new_sync_client(["github:issues:read"]) as client:
            agent_id = client.verify_agent().agent.agent_id
            with new_sync_client(["*:*:*"], BOOTSTRAP_TOKEN) as admin:

                def suspend_and_activate() -> None:
                    admin.update_agent_status(agent_id, "suspended")
                    admin.update_agent_status(agent_id, "active")

                for revoke in (
                    client.revoke_tokens,
                    lambda: client.rotate_agent_key(agent_id, overlap_seconds=0),
                    suspend_and_activate,
                    lambda: [suspend_and_activate() for _ in range(3)],
                ):
                    revoke()
                    token = client.verify_agent().token.access_token
                    self.assertEqual(verify_access_token_sync(token, URL).agent_id, agent_id)

    async def test_callers_share_the_first_fetch(self) -> None:
        sent = []

        async def send(self: AsyncIO, request: httpx.Request) -> httpx.Response:
            sent.append(request.url)
            await asyncio.sleep(0)
            return await real_send(self, request)

        real_send = AsyncIO.send
        with mock.patch.object(AsyncIO, "send", send):
            agents = await asyncio.gather(*[verify_access_token(self.token, URL) for _ in range(8)])
        self.assertEqual(({one.agent_id for one in agents}, len(sent)), ({self.agent_id}, 1))

    def test_what_is_refused(self) -> None:
        head, claims, signature = self.token.split(".")
        self.assertEqual(self.refusal("no token"), "invalid_token")
        self.assertEqual(self.refusal(f"{head}.{claims}.{signature[:-8]}AAAAAAAA"), "invalid_token")
        self.assertEqual(self.refusal(f"{head}.{claims}."), "invalid_token")
        self.assertEqual(self.refusal(self.token, audience="https://other.example.com"), "invalid_token")
        jwks = f"{URL}/.well-known/jwks.json"
        self.assertEqual(self.refusal(self.token, "https://other.example.com", jwks_uri=jwks), "invalid_token")
        payload = jwt.decode(self.token, options={"verify_signature": False})
        kid = jwt.get_unverified_header(self.token)["kid"]
        foreign = ec.generate_private_key(ec.SECP256R1())
        for headers in ({"kid": kid, "typ": "at+jwt"}, {"kid": "other", "typ": "at+jwt"}, {"kid": kid, "typ": "JWT"}):
            self.assertEqual(self.refusal(jwt.encode(payload, foreign, "ES256", headers)), "invalid_token")
        public = json.dumps(httpx.get(jwks).json()["keys"][0])
        for algorithm, key in (("HS256", public), ("none", "")):
            forged = jwt.encode(payload, key, algorithm, {"kid": kid, "typ": "at+jwt"})
            self.assertEqual(self.refusal(forged), "invalid_token")

    def test_expiry(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        jwk = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key()))
        uri = "https://keys.example.com/"
        verify_module._key_sets[uri] = verify_module._KeySet({"k": jwk}, time.monotonic(), time.monotonic())
        claims = jwt.decode(self.token, options={"verify_signature": False})

        def made(**changes: object) -> str:
            return jwt.encode({**claims, **changes}, key, "ES256", {"kid": "k", "typ": "at+jwt"})

        now = int(time.time())
        self.assertEqual(verify_access_token_sync(made(exp=now - 2), URL, jwks_uri=uri).agent_id, self.agent_id)
        self.assertEqual(self.refusal(made(exp=now - 6), jwks_uri=uri), "token_expired")
        # A token by which one agent acts for another one is for the gateway only.
        for more in ({"act": {"sub": "agt_1"}}, {"chain": []}):
            self.assertEqual(self.refusal(made(**more), jwks_uri=uri), "invalid_token")
        for lacking in ("exp", "iat", "jti", "client_id", "scope"):
            token = jwt.encode(
                {name: value for name, value in claims.items() if name != lacking},
                key,
                "ES256",
                {"kid": "k", "typ": "at+jwt"},
            )
            self.assertEqual(self.refusal(token, jwks_uri=uri), "invalid_token")

    def test_keys(self) -> None:
        self.assertEqual(self.refusal(self.token, jwks_uri="http://127.0.0.1:9/keys"), "jwks_unavailable")
        verify_access_token_sync(self.token, URL)
        (uri,) = [one for one in verify_module._key_sets if one.startswith(URL)]
        key_set = verify_module._key_sets[uri]
        loaded = key_set.tried_at
        # A made-up key id causes no fetch within the cooldown, and one after it.
        header = {"kid": "made-up", "typ": "at+jwt"}
        forged = jwt.encode({}, ec.generate_private_key(ec.SECP256R1()), "ES256", header)
        self.refusal(forged)
        self.assertEqual(key_set.tried_at, loaded)
        key_set.tried_at -= verify_module.COOLDOWN
        self.refusal(forged)
        self.assertGreater(key_set.tried_at, loaded)
        # Keys that are due but cannot be fetched stay in use, for a day.
        stale = verify_module._KeySet(key_set.keys, time.monotonic() - verify_module.MAX_KEY_AGE)
        verify_module._key_sets["http://127.0.0.1:9/keys"] = stale
        verify_access_token_sync(self.token, URL, jwks_uri="http://127.0.0.1:9/keys")
        stale.loaded_at -= verify_module.MAX_STALE
        self.assertEqual(self.refusal(self.token, jwks_uri="http://127.0.0.1:9/keys"), "jwks_unavailable")
