from __future__ import annotations

import asyncio
import os
import unittest
from unittest import mock

import httpx

from agentauth_sdk import ProxyTargetError, SyncAgentAuthClient

from .support import BOOTSTRAP_TOKEN, SAMPLE_URL, URL, FaultyTransport, new_client, new_sync_client, register

REDIRECTING_URL = os.environ["AGENTAUTH_TEST_REDIRECTING_URL"]


class Proxy(unittest.TestCase):
    def test_calls_the_service_with_the_clients_token(self) -> None:
        with new_sync_client(["sample:orders:read"]) as client, client.proxy_client("sample") as orders:
            self.assertEqual(orders.get("/orders/1").json(), {"id": 1, "item": "lamp"})
            refused = orders.post("/orders", json={"item": "chair"})
            self.assertEqual((refused.status_code, refused.json()["required"]), (403, "sample:orders:write"))
        self.assertEqual(httpx.get(f"{SAMPLE_URL}/_last-request").json()["authorization"], "Bearer sample-credential")

    def test_asynchronously(self) -> None:
        async def use() -> object:
            async with new_client(["sample:orders:*"]) as client, client.proxy_client("sample") as orders:
                made = await orders.post("/orders", json={"item": "chair"})
                return (await orders.get(f"/orders/{made.json()['id']}")).json()["item"]

        self.assertEqual(asyncio.run(use()), "chair")

    def test_as_the_transport_of_an_sdk_with_its_own_url_and_credential(self) -> None:
        with new_sync_client(["sample:orders:read"]) as client:
            transport = client.proxy("sample", base_url="https://orders.example.com/v2/")
            headers = {"Authorization": "Bearer a-key-of-the-sdk"}
            with httpx.Client(transport=transport, base_url="https://orders.example.com/v2", headers=headers) as sdk:
                self.assertEqual(sdk.get("/orders/1").json()["item"], "lamp")
                for outside in ("https://orders.example.com/v1/orders", "https://orders.example.com/v22/orders"):
                    with self.assertRaises(ProxyTargetError):
                        sdk.get(outside)

    def test_the_token_leaves_the_service_for_no_url(self) -> None:
        sent = []

        class Recording(httpx.HTTPTransport):
            def handle_request(self, request: httpx.Request) -> httpx.Response:
                sent.append(str(request.url))
                return super().handle_request(request)

        with new_sync_client(["sample:orders:read"], transport=Recording()) as client:
            client.get_access_token()
            sent.clear()
            with httpx.Client(transport=client.proxy("sample")) as http:
                for url in (
                    f"{URL}/agents",
                    f"{URL}/proxy/sampler/orders",
                    f"{URL}/proxy/other/orders",
                    f"{URL}/proxy/sample/../../agents",
                    f"{URL}/proxy/sample/%2e%2e/other/orders",
                    f"{URL}/proxy/sample/.%2E/other",
                    f"{URL}/proxy/sample\\..\\..\\agents",
                    "http://127.0.0.1:9/proxy/sample/orders",
                    URL.replace("http://", "http://someone:else@") + "/proxy/sample/orders",
                    URL.replace("127.0.0.1", "127.0.0.2") + "/proxy/sample/orders?key=secret",
                ):
                    with self.subTest(url), self.assertRaises(ProxyTargetError) as refused:
                        http.get(url)
                    self.assertNotIn("secret", str(refused.exception))
                    self.assertNotIn("else", str(refused.exception))
        self.assertEqual(sent, [])

    def test_redirects_are_followed_within_the_service_only(self) -> None:
        with new_sync_client(["redirecting:things:read"]) as client:
            transport = client.proxy("redirecting")
            with httpx.Client(
                transport=transport, base_url=client.proxy_url("redirecting"), follow_redirects=True
            ) as http:
                for inside in ("/there", f"{REDIRECTING_URL}/there"):
                    answer = http.get("/a", params={"to": inside})
                    self.assertEqual((answer.status_code, answer.text), (200, "here"))
                    self.assertEqual(str(answer.url), f"{URL}/proxy/redirecting/there")
                with self.assertRaises(ProxyTargetError):
                    http.get("/a", params={"to": f"{SAMPLE_URL}/orders"})
                answer = http.get("/a", params={"to": f"{SAMPLE_URL}/orders"}, follow_redirects=False)
                self.assertEqual(answer.headers["location"], f"{SAMPLE_URL}/orders")

    def test_a_refused_token_is_renewed_and_the_request_sent_again(self) -> None:
        with new_sync_client(["sample:orders:*"]) as client, client.proxy_client("sample") as orders:
            client.get_access_token()
            client._api._core.session.access_token = "not.a.token"
            self.assertEqual(orders.post("/orders", json={"item": "rug"}).status_code, 201)

    def test_a_stream_is_not_sent_again_but_the_next_call_has_the_new_token(self) -> None:
        refusal = httpx.Response(401, json={"error": "The token has expired.", "code": "token_expired"})
        refusals = [refusal]
        transport = FaultyTransport(lambda one: refusals.pop() if "/proxy/" in one.url.path and refusals else None)
        with new_sync_client(["sample:orders:*"], transport=transport) as client:
            with client.proxy_client("sample") as orders:
                before = client.get_access_token()
                answer = orders.post("/orders", content=iter([b'{"item":"rug"}']))
                self.assertEqual((answer.status_code, transport.paths.count("/proxy/sample/orders")), (401, 1))
                self.assertNotEqual(client.access_token, before)
                self.assertEqual(orders.get("/orders").status_code, 200)

    def test_a_permission_that_was_added_gets_a_new_token(self) -> None:
        agent_id, api_key = register(["sample:orders:read"])
        admin = new_sync_client(["*:*:*"], BOOTSTRAP_TOKEN)
        with SyncAgentAuthClient(URL, agent_id=agent_id, api_key=api_key) as client:
            with client.proxy_client("sample") as orders:
                before = client.get_access_token()
                self.assertEqual(orders.post("/orders", json={"item": "bed"}).status_code, 403)
                self.assertEqual(client.access_token, before)
                with admin:
                    admin.update_agent_permissions(agent_id, ["sample:orders:*"])
                self.assertEqual(orders.post("/orders", json={"item": "bed"}).status_code, 201)

    def test_a_service_has_one_name(self) -> None:
        with SyncAgentAuthClient(URL) as client:
            for wrong in ("", "..", "a/b", "../agents", "%2e%2e"):
                with self.subTest(wrong), self.assertRaises(ValueError):
                    client.proxy(wrong)

    def test_the_environments_netrc_is_not_used(self) -> None:
        with new_sync_client(["sample:orders:read"]) as client, client.proxy_client("sample") as orders:
            with mock.patch.dict(os.environ, {"NETRC": "/dev/null"}):
                self.assertEqual(orders.get("/orders/1", auth=("someone", "else")).status_code, 200)
