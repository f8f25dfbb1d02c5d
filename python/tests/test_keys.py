from __future__ import annotations

import asyncio
import base64
import json
import time
import unittest
from typing import Any, Dict, List, Tuple
from unittest import mock

import httpx

from agentauth_sdk import (
    AgentAuthClient,
    AgentAuthError,
    SyncAgentAuthClient,
    TokenVerificationError,
    verify_access_token_sync,
)

from .support import BOOTSTRAP_TOKEN, URL, FaultyTransport, new_sync_client, register

try:
    import jwt
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    from agentauth_sdk._keys import Signer
except ImportError:
    jwt = None  # type: ignore[assignment]


def pem(key: Any) -> str:
    text: bytes = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return text.decode()


def private_jwk(key: Any) -> Dict[str, Any]:
    secret = key.private_numbers().private_value.to_bytes(32, "big")
    return {**Signer(key).public_jwk, "d": base64.urlsafe_b64encode(secret).rstrip(b"=").decode()}


def claims_of(token: "str | None") -> Dict[str, Any]:
    assert token is not None
    claims: Dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


def registered(key: Any, permissions: "List[str] | None" = None, **jwk: str) -> Tuple[str, str]:
    """The id and the API key of an agent that has registered the public half of a key."""
    agent_id, api_key = register(permissions or ["sample:orders:*"])
    with SyncAgentAuthClient(URL, agent_id=agent_id, api_key=api_key) as client:
        added = client.add_agent_public_key(agent_id, {**Signer(key).public_jwk, **jwk}, label="tests")
    assert added.key.type == "jwk"
    return agent_id, api_key


@unittest.skipIf(jwt is None, "PyJWT or cryptography is missing")
class PrivateKeys(unittest.TestCase):
    def test_call_everything_without_a_secret(self) -> None:
        rsa_key = rsa.generate_private_key(65537, 2048)
        ec_key = ec.generate_private_key(ec.SECP256R1())
        keys: List[Tuple[Any, Dict[str, str], Any]] = [
            (ec_key, {}, ec_key),
            (ec_key, {"kid": "one"}, {**private_jwk(ec_key), "kid": "one", "use": "sig", "key_ops": ["sign"]}),
            (ed25519.Ed25519PrivateKey.generate(), {}, None),
            (rsa_key, {"alg": "RS256"}, pem(rsa_key)),
            (ec_key, {}, pem(ec_key).encode()),
        ]
        for key, jwk, given in keys:
            agent_id, _ = registered(key, **jwk)
            transport = FaultyTransport(lambda _: None)
            options: Any = {"agent_id": agent_id, "private_key": given or key, "transport": transport}
            with SyncAgentAuthClient(URL, **options) as client, client.proxy_client("sample") as orders:
                self.assertEqual(client.get_agent(agent_id).agent_id, agent_id)
                self.assertEqual(orders.get("/orders/1").json()["item"], "lamp")
            self.assertEqual(transport.paths, ["/oauth/token", f"/agents/{agent_id}", "/proxy/sample/orders/1"])

    def test_ps256_is_the_alg_of_a_jwk(self) -> None:
        key = rsa.generate_private_key(65537, 2048)
        agent_id, _ = registered(key, alg="PS256")
        numbers = key.private_numbers()
        named = {"d": numbers.d, "p": numbers.p, "q": numbers.q, "dp": numbers.dmp1, "dq": numbers.dmq1, "qi": numbers.iqmp}
        secret = {
            name: base64.urlsafe_b64encode(value.to_bytes((value.bit_length() + 7) // 8, "big")).rstrip(b"=").decode()
            for name, value in named.items()
        }
        jwk = {**Signer(key).public_jwk, **secret, "alg": "PS256"}
        with SyncAgentAuthClient(URL, agent_id=agent_id, private_key=jwk) as client:
            self.assertEqual(client.get_agent(agent_id).agent_id, agent_id)

    def test_each_token_is_of_a_new_assertion(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        agent_id, _ = registered(key)
        lost: List[Any] = [httpx.ReadError("lost"), None, None, None]
        transport = FaultyTransport(lambda _: lost.pop(0) if lost else None)
        told: List[Any] = []
        options: Any = {"agent_id": agent_id, "private_key": key, "transport": transport, "on_tokens": told.append}
        with mock.patch("agentauth_sdk._io.SyncIO.sleep", new=mock.AsyncMock()):
            with SyncAgentAuthClient(URL, **options) as client:
                self.assertEqual(claims_of(client.get_access_token())["sub"], agent_id)
        self.assertEqual((transport.paths, told), (["/oauth/token"] * 2, []))

    def test_the_oauth_endpoints(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        agent_id, _ = registered(key, ["sample:orders:read", "agentauth:tokens:introspect"])
        with SyncAgentAuthClient(URL, agent_id=agent_id, private_key=key) as client:
            issued = client.client_credentials(scope=["sample:orders:read"])
            self.assertTrue(client.introspect(issued.access_token)["active"])
            client.revoke_token(issued.access_token)
            self.assertEqual(client.introspect(issued.access_token), {"active": False})
            exchanged = client.exchange(sub_agent="reader", scope=["sample:orders:read"])
        self.assertEqual(claims_of(exchanged.access_token)["sub"], agent_id)
        with SyncAgentAuthClient(URL, access_token=exchanged.access_token) as reader, reader.proxy_client("sample") as orders:
            self.assertEqual(orders.get("/orders/1").status_code, 200)

    def test_proves_itself_again_where_the_server_asks(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        agent_id, _ = registered(key)
        body = {"error": "Forbidden", "message": "Prove it.", "code": "reauthentication_required"}
        answers: List[Any] = [None, httpx.Response(403, json=body)]

        def fault(request: httpx.Request) -> Any:
            answer = answers.pop(0) if answers else None
            if answer is not None:
                answer.request = request
            return answer

        transport = FaultyTransport(fault)
        with SyncAgentAuthClient(URL, agent_id=agent_id, private_key=key, transport=transport) as client:
            client.create_agent_key(agent_id, label="proven")
        create = f"/agents/{agent_id}/keys"
        self.assertEqual(transport.paths, ["/oauth/token", create, "/oauth/token", create])

    def test_revokes_with_a_recent_proof(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        agent_id, _ = registered(key)
        payload = base64.urlsafe_b64encode(json.dumps({"auth_time": 1}).encode()).decode().rstrip("=")
        options: Any = {"agent_id": agent_id, "private_key": key, "access_token": f"e30.{payload}.signature"}
        with SyncAgentAuthClient(URL, **options) as client:
            self.assertEqual(client.revoke_agent(agent_id)["agent"]["status"], "revoked")

    def test_goes_on_with_an_api_key(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        agent_id, api_key = registered(key)
        for give in (lambda one: one.set_api_key(api_key), lambda one: one.verify_agent(api_key=api_key)):
            transport = FaultyTransport(lambda _: None)
            with SyncAgentAuthClient(URL, agent_id=agent_id, private_key=key, transport=transport) as client:
                with self.assertRaisesRegex(ValueError, "needs an API key"):
                    client.verify_agent()
                give(client)
                client.get_agent(agent_id)
            self.assertEqual(transport.paths, ["/agents/verify", f"/agents/{agent_id}"])

    def test_what_is_no_key_is_refused_and_not_shown(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        jwk = private_jwk(key)
        public = {name: value for name, value in jwk.items() if name != "d"}
        wrong: List[Any] = [
            public,
            {**jwk, "alg": "HS256"},
            {**jwk, "alg": "RS256"},
            {**jwk, "d": "c2VjcmV0"},
            {"kty": "oct", "k": "c2VjcmV0", "d": "c2VjcmV0"},
            key.public_key(),
            ec.generate_private_key(ec.SECP384R1()),
            rsa.generate_private_key(65537, 1024),
            "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----",
            b"c2VjcmV0",
            "",
            42,
        ]
        for one in wrong:
            for options in ({"private_key": one}, {"dpop": one or "x"}):
                with self.assertRaisesRegex(ValueError, "^The key is no private key") as refused:
                    SyncAgentAuthClient(URL, agent_id="agt_x", **options)
                self.assertNotIn("c2VjcmV0", str(refused.exception))
                self.assertIsNone(refused.exception.__cause__)
        with self.assertRaisesRegex(ValueError, "private_key goes with agent_id"):
            SyncAgentAuthClient(URL, private_key=key)
        client = SyncAgentAuthClient(URL, agent_id="agt_x", private_key=jwk, dpop=jwk)
        self.assertNotIn(jwk["d"], repr(client) + repr(client._api._core.session))

    def test_an_assertion_is_for_the_issuer(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        agent_id, _ = registered(key)
        with SyncAgentAuthClient(URL, agent_id=agent_id, private_key=key, issuer="https://auth.example.com") as client:
            with self.assertRaisesRegex(AgentAuthError, "aud of the assertion"):
                client.get_agent(agent_id)


@unittest.skipIf(jwt is None, "PyJWT or cryptography is missing")
class BoundTokens(unittest.TestCase):
    def test_calls_with_proofs_synchronously(self) -> None:
        agent_id, api_key = register(["sample:orders:*"])
        key = ec.generate_private_key(ec.SECP256R1())
        for dpop in (True, key, private_jwk(key), pem(rsa.generate_private_key(65537, 2048))):
            with SyncAgentAuthClient(URL, agent_id=agent_id, api_key=api_key, dpop=dpop) as client:
                self.assertEqual(client.get_agent(agent_id).agent_id, agent_id)
                with client.proxy_client("sample") as orders:
                    self.assertEqual(orders.get("/orders/1").json()["item"], "lamp")
                    # The query is no part of what is proven.
                    self.assertIn("x-agentauth-upstream", orders.get("/orders/1?of=this").headers)
                    self.assertEqual(orders.post("/orders", json={"item": "chair"}).status_code, 201)
                client.refresh_token()
                token = client.access_token
                self.assertIn("jkt", claims_of(token)["cnf"])
                self.assertEqual(client.client_credentials().token_type, "DPoP")
            # Nobody else can use it, here or at a service that checks tokens offline.
            with self.assertRaisesRegex(TokenVerificationError, "bound to a key"):
                verify_access_token_sync(str(token), URL)
            with SyncAgentAuthClient(URL, access_token=token) as thief, self.assertRaises(AgentAuthError) as refused:
                thief.get_agent(agent_id)
            self.assertEqual(refused.exception.status_code, 401)

    def test_calls_with_proofs_asynchronously_and_without_any_secret(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        agent_id, _ = registered(key)

        async def use() -> object:
            async with AgentAuthClient(URL, agent_id=agent_id, private_key=key, dpop=True) as client:
                self.assertEqual((await client.get_agent(agent_id)).agent_id, agent_id)
                async with client.proxy_client("sample") as orders:
                    return (await orders.get("/orders/1")).json()["item"]

        self.assertEqual(asyncio.run(use()), "lamp")

    def test_a_clock_that_is_wrong_costs_one_request_more(self) -> None:
        agent_id, api_key = register(["sample:orders:*"])
        now = time.time

        def body() -> Any:
            yield b'{"item": "stool"}'

        transport = FaultyTransport(lambda _: None)
        with SyncAgentAuthClient(URL, agent_id=agent_id, api_key=api_key, dpop=True, transport=transport) as client:
            with mock.patch("agentauth_sdk._keys.time.time", side_effect=lambda: now() - 4000):
                client.get_agent(agent_id)
                with client.proxy_client("sample") as orders:
                    self.assertEqual(orders.post("/orders", json={"item": "chair"}).status_code, 201)
        self.assertEqual(transport.paths, ["/agents/verify", "/agents/verify", f"/agents/{agent_id}", "/proxy/sample/orders"])

        # A stream cannot be sent again, so its first proof has to do.
        transport = FaultyTransport(lambda _: None)
        with SyncAgentAuthClient(URL, agent_id=agent_id, api_key=api_key, dpop=True, transport=transport) as client:
            client.get_access_token()
            with mock.patch("agentauth_sdk._keys.time.time", side_effect=lambda: now() - 4000):
                with client.proxy_client("sample") as orders:
                    headers = {"Content-Type": "application/json"}
                    refused = orders.post("/orders", content=body(), headers=headers)
                    self.assertEqual((refused.status_code, refused.json()["code"]), (401, "use_dpop_nonce"))
                    self.assertEqual(orders.post("/orders", content=body(), headers=headers).status_code, 201)

    def test_a_token_that_is_not_bound_is_refused(self) -> None:
        agent_id, api_key = register(["sample:orders:*"])

        class Stripping(httpx.HTTPTransport):
            def handle_request(self, request: httpx.Request) -> httpx.Response:
                request.headers.pop("DPoP", None)
                return super().handle_request(request)

        options: Any = {"agent_id": agent_id, "api_key": api_key, "dpop": True, "transport": Stripping()}
        with SyncAgentAuthClient(URL, **options) as client:
            for ask in (client.get_access_token, client.client_credentials):
                with self.assertRaises(AgentAuthError) as refused:
                    ask()
                self.assertEqual(refused.exception.code, "not_agentauth")
            self.assertIsNone(client.access_token)

    def test_a_proof_of_the_callers_own_is_not_sent_on(self) -> None:
        with new_sync_client(["sample:orders:read"]) as client, client.proxy_client("sample") as orders:
            self.assertEqual(orders.get("/orders/1", headers={"DPoP": "not a proof"}).status_code, 200)


@unittest.skipIf(jwt is None, "PyJWT or cryptography is missing")
class PublicKeys(unittest.TestCase):
    def test_an_administrator_gives_an_agent_one(self) -> None:
        key = ed25519.Ed25519PrivateKey.generate()
        agent_id, _ = register(["sample:orders:read"])
        with new_sync_client(["*:*:*"], BOOTSTRAP_TOKEN) as admin:
            added = admin.add_agent_public_key(agent_id, Signer(key).public_jwk)
            self.assertIn(added.key.id, [one.id for one in admin.list_agent_keys(agent_id)])
        with SyncAgentAuthClient(URL, agent_id=agent_id, private_key=key) as client:
            self.assertEqual(client.get_agent(agent_id).agent_id, agent_id)
