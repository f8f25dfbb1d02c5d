from __future__ import annotations

import asyncio
import base64
import json
import threading
import unittest
import uuid
from typing import Any, List
from unittest import mock

import httpx

import agentauth_sdk
from agentauth_sdk import (
    AgentAuthClient,
    AgentAuthError,
    Grant,
    Permissions,
    SyncAgentAuthClient,
    VerifyAgentResponse,
)
from agentauth_sdk._io import SyncIO

from .support import BOOTSTRAP_TOKEN, URL, FaultyTransport, eventually, new_client, new_sync_client, register


class Calls(unittest.IsolatedAsyncioTestCase):
    """The methods of the published SDK, called as its page calls them."""

    async def test_an_agent_from_registration_to_revocation(self) -> None:
        async with AgentAuthClient(base_url=URL) as client:
            made = await client.register_agent(
                name="Support", owner_email="you@example.com", permissions=[Permissions.Zendesk.Tickets.Read]
            )
            self.assertEqual(made.agent.permissions, ["zendesk:tickets:read"])
            verified = await client.verify_agent(agent_id=made.agent.agent_id, api_key=made.credentials.api_key)
            self.assertIsInstance(verified, VerifyAgentResponse)
            self.assertEqual(client.access_token, verified.token.access_token)
            activity = await client.get_activity(agent_id=made.agent.agent_id, limit=5, offset=0)
            self.assertEqual((activity.pagination.limit, activity.logs), (5, activity.activity))
            refreshed = await client.refresh_token(refresh_token=verified.token.refresh_token)
            self.assertNotEqual(refreshed.token.refresh_token, verified.token.refresh_token)
            self.assertEqual(client.access_token, refreshed.token.access_token)
            self.assertEqual((await client.get_agent(made.agent.agent_id)).name, "Support")
            self.assertTrue((await client.revoke_agent(made.agent.agent_id))["success"])
            with self.assertRaises(httpx.HTTPStatusError) as refused:
                await client.get_agent(made.agent.agent_id)
            self.assertEqual(refused.exception.response.status_code, 401)

    async def test_a_token_for_one_task(self) -> None:
        details = [{"type": "agentauth_grant", "permission": "zendesk:tickets:write", "expires_at": "2099-01-01T00:00:00Z"}]
        client = new_client(["sample:orders:read", "sample:orders:write", "zendesk:tickets:write"])
        admin = new_client([Permissions.Admin], BOOTSTRAP_TOKEN)
        async with client, admin:
            issued = await client.client_credentials(
                scope=["sample:orders:read"], resource=[f"{URL}/proxy/sample"], authorization_details=details
            )
            self.assertEqual((issued.token_type, issued.scope), ("Bearer", "sample:orders:read"))
            self.assertEqual([one["permission"] for one in issued.authorization_details], ["zendesk:tickets:write"])
            self.assertNotIn(issued.access_token, repr(issued))
            self.assertIsNone(client.access_token)
            task = AgentAuthClient(URL, access_token=issued.access_token)
            async with task, task.proxy_client("sample") as http:
                self.assertEqual((await http.get("/orders/1")).status_code, 200)
                self.assertEqual((await http.post("/orders", json={})).status_code, 403)
            said = await admin.introspect(issued.access_token)
            self.assertEqual((said["active"], said["scope"]), (True, "sample:orders:read"))
            await client.revoke_token(issued.access_token)
            self.assertEqual(await admin.introspect(issued.access_token), {"active": False})
            await client.revoke_token("unknown")
            with self.assertRaises(AgentAuthError) as wide:
                await client.client_credentials(scope=["github:*:*"])
            self.assertEqual((wide.exception.status_code, wide.exception.code), (400, "invalid_scope"))
            self.assertIn("github:*:*", wide.exception.message)
            with self.assertRaises(AgentAuthError) as refused:
                await client.introspect(issued.access_token)
            self.assertIn(refused.exception.status_code, (401, 403))
        with self.assertRaisesRegex(ValueError, "agent_id and api_key"):
            await AgentAuthClient(URL, access_token="x").client_credentials()

    def test_a_token_for_one_task_without_an_event_loop(self) -> None:
        with new_sync_client(["sample:orders:read", "agentauth:tokens:introspect"]) as client:
            issued = client.client_credentials()
            self.assertTrue(client.introspect(issued.access_token)["active"])
            client.revoke_token(issued.access_token)
            self.assertEqual(client.introspect(issued.access_token), {"active": False})

    async def test_administration(self) -> None:
        admin = new_client([Permissions.Admin], BOOTSTRAP_TOKEN)
        async with admin:
            agent_id, _ = register(["github:issues:read"])
            agents = await admin.list_agents(limit=2)
            self.assertEqual((len(agents), agents.agents[0].agent_id, agents.has_more), (2, agent_id, True))
            self.assertGreaterEqual(agents.total, 2)
            self.assertEqual((await admin.update_agent_tier(agent_id, "pro")).tier, "pro")
            self.assertEqual((await admin.update_agent_status(agent_id, "suspended")).status, "suspended")
            changed = await admin.update_agent_permissions(agent_id, [Permissions.GitHub.All])
            self.assertEqual(changed.permissions, ["github:*:*"])
            limited = Grant("github:issues:write", where={"path.owner": "octo"}, expires_at="2099-01-01T00:00:00Z")
            before = await admin.get_agent_grants(agent_id)
            grants = await admin.set_agent_grants(agent_id, [limited], version=before.version)
            self.assertEqual(grants[0].where, {"path.owner": {"eq": "octo"}})
            self.assertEqual(await admin.set_agent_grants(agent_id, grants), grants)
            for refused in (
                admin.set_agent_grants(agent_id, [], version=before.version),
                admin.update_agent_permissions(agent_id, []),
            ):
                with self.assertRaises(AgentAuthError) as conflict:
                    await refused
                self.assertEqual(conflict.exception.status_code, 409)
            health = await admin.health_details()
            parts = {part.name: part for part in health.parts}
            self.assertEqual(parts["database"].status, "ok")
            self.assertGreaterEqual(parts["audit_database"].numbers["bytes"], 1)
            self.assertIn(health.status, ["ok", "lagging", "failing"])
            self.assertTrue((await admin.delete_agent(agent_id))["success"])

    async def test_everybodys_webhooks(self) -> None:
        admin = new_client([Permissions.Admin], BOOTSTRAP_TOKEN)
        async with admin, new_client(["github:issues:read"]) as client:
            webhook = await client.register_webhook("https://example.com/hook", ["agent.verified"])
            theirs = await admin.list_webhooks(webhook.agent_id)
            self.assertEqual([one.id for one in theirs], [webhook.id])
            page = await admin.list_webhooks("*", limit=1)
            self.assertEqual(len(page), 1)
            delivery = (await client.test_webhook(webhook.id))["delivery"]
            found = await admin.list_deliveries(
                webhook.id, event="webhook.test", since="2020-01-01T00:00:00Z", until="2100-01-01T00:00:00Z"
            )
            self.assertEqual([(one.id, one.agent_id) for one in found], [(delivery["id"], webhook.agent_id)])
            self.assertIsNone(found.next_cursor)
            counted = await admin.redeliver_all(webhook_id=webhook.id, event="agent.verified")
            self.assertEqual((counted.matched, counted.redelivered, counted.next_cursor), (0, 0, None))
            with self.assertRaises(AgentAuthError) as empty:
                await admin.redeliver_all()
            self.assertEqual(empty.exception.status_code, 400)
            with self.assertRaises(AgentAuthError) as unknown:
                await client.redeliver(webhook.id, "msg/../0")
            self.assertEqual(unknown.exception.status_code, 404)

    async def test_what_owners_ask_for(self) -> None:
        admin = new_client([Permissions.Admin], BOOTSTRAP_TOKEN)
        async with admin:
            owner = f"python-{uuid.uuid4().hex}@example.com"
            made = await admin.register_agent("asked", owner, ["github:issues:read"], metadata={"team": "billing"})
            agent_id = made.agent.agent_id
            async with AgentAuthClient(URL, agent_id=agent_id, api_key=made.credentials.api_key) as client:
                changed = await client.update_agent(agent_id, description="What it is for")
                self.assertEqual((changed.description, changed.metadata), ("What it is for", {"team": "billing"}))
                self.assertEqual((await admin.update_agent(agent_id, rate_limit=120)).rate_limit, 120)
                created_by = (await client.get_agent_details(agent_id)).created_by
                assert created_by is not None
                self.assertEqual(created_by["type"], "agent")

                second = await client.create_agent_key(agent_id, label="Second", expires_in=3600)
                self.assertNotIn(second.credentials.api_key, repr(second))
                self.assertIn(second.key, await client.list_agent_keys(agent_id))
                async with AgentAuthClient(URL, agent_id=agent_id, api_key=second.credentials.api_key) as other:
                    verified = await other.verify_agent(scope=["github:issues:read"], expires_in=60)
                    self.assertEqual(verified.token.expires_in, 60)
                    sessions = await client.list_agent_sessions(agent_id)
                    opened = next(one for one in sessions if one.key_id == second.key.id)
                    self.assertEqual(opened.scope, ["github:issues:read"])
                    self.assertTrue((await client.end_agent_session(agent_id, opened.id))["success"])
                    # The next session is limited as the first was.
                    self.assertEqual((await other.get_agent(agent_id)).agent_id, agent_id)
                    again = next(
                        one for one in await client.list_agent_sessions(agent_id) if one.key_id == second.key.id
                    )
                    self.assertEqual(again.scope, ["github:issues:read"])
                rotated = await client.rotate_agent_key(agent_id, 0, key_id=second.key.id)
                self.assertNotEqual(rotated.credentials.api_key, second.credentials.api_key)
                replaced = next(one for one in await client.list_agent_keys(agent_id) if one.label == "Second")
                self.assertTrue((await client.delete_agent_key(agent_id, replaced.id))["success"])
                with self.assertRaises(AgentAuthError) as gone:
                    await client.delete_agent_key(agent_id, replaced.id)
                self.assertEqual(gone.exception.status_code, 404)
                self.assertTrue((await admin.revoke_agent_tokens(agent_id))["success"])

            found = await admin.list_agents(owner_email=owner, tier="free", permission="github:issues:read")
            self.assertEqual([one.agent_id for one in found], [agent_id])
            self.assertEqual((found.details[agent_id].rate_limit, found.next_cursor), (120, None))
            counted = await admin.bulk_revoke_agents({"owner_email": owner})
            self.assertEqual((counted.matched, counted.revoked), (1, 0))
            done = await admin.bulk_revoke_agents({"owner_email": owner}, dry_run=False, expected=1)
            self.assertEqual((done.revoked, done.remaining), (1, 0))

    async def test_webhooks(self) -> None:
        async with new_client(["github:issues:read"]) as client:
            webhook = await client.register_webhook(url="https://example.com/hook", events=["agent.verified"])
            self.assertTrue(webhook.webhook.secret.startswith("whsec_"))
            listed = await client.list_webhooks()
            self.assertEqual([one.secret for one in listed], ["***"])
            self.assertEqual((listed.details[webhook.id]["is_active"], listed.next_cursor), (True, None))
            sent = (await client.test_webhook(webhook.id))["delivery"]
            self.assertEqual([one.id for one in await client.list_deliveries(webhook.id, limit=1)], [sent["id"]])
            with self.assertRaises(AgentAuthError) as refused:
                await client.list_deliveries(agent_id="agt_0")
            self.assertEqual(refused.exception.status_code, 403)
            again = await client.regenerate_webhook_secret(webhook.webhook.id)
            self.assertNotEqual(again.secret, webhook.secret)
            self.assertEqual((await client.get_webhook(webhook.id)).url, "https://example.com/hook")
            changed = await client.update_webhook(webhook.id, events=["agent.revoked"])
            self.assertEqual(changed.events, ["agent.revoked"])
            self.assertTrue((await client.delete_webhook(webhook.webhook.id))["success"])
            self.assertIn("agent.verified", await client.get_webhook_events())

    async def test_without_credentials(self) -> None:
        async with AgentAuthClient(URL) as client:
            self.assertEqual((await client.health_check()).status, "healthy")
            self.assertIn("zendesk", (await client.list_permissions())["permissions"])
            with self.assertRaisesRegex(AgentAuthError, "Give the client agent_id and api_key"):
                await client.get_agent("agt_0123456789")

    async def test_a_refusal_has_every_field(self) -> None:
        async with AgentAuthClient(URL) as client:
            with self.assertRaises(AgentAuthError) as refused:
                await client.register_agent("Test", "you@example.com", ["invalid:permission"])
        error = refused.exception
        self.assertEqual((error.status_code, error.code), (400, "unknown_permission"))
        self.assertEqual(error.details, error.response.json())
        self.assertEqual(error.faults[0]["permission"], "invalid:permission")
        self.assertTrue(error.request_id)
        self.assertIn(error.message, str(error))

    async def test_an_id_cannot_leave_its_path(self) -> None:
        async with new_client(["github:issues:read"]) as client:
            for one in ("", ".", ".."):
                with self.assertRaises(ValueError):
                    await client.get_agent(one)
            with self.assertRaises(AgentAuthError) as refused:
                await client.get_agent("../health?x=1")
            self.assertIn(refused.exception.status_code, (400, 403, 404))

    def test_a_client_outlives_an_event_loop(self) -> None:
        client = new_client(["github:issues:read"])
        agent_id = client._core.session.agent_id
        assert agent_id

        async def use() -> str:
            async with client:
                return (await client.get_agent(agent_id)).agent_id

        self.assertEqual([asyncio.run(use()), asyncio.run(use())], [agent_id, agent_id])


class SyncTwin(unittest.TestCase):
    def test_every_method_is_there(self) -> None:
        names = {name for name in dir(AgentAuthClient) if not name.startswith("_")}
        self.assertEqual(names - set(dir(SyncAgentAuthClient)), set())

    def test_it_does_the_same(self) -> None:
        with new_sync_client(["github:issues:read"]) as client:
            agent_id = client.verify_agent().agent.agent_id
            self.assertEqual(client.get_agent(agent_id).agent_id, agent_id)
            self.assertEqual(client.get_activity(agent_id).pagination.offset, 0)
            records = eventually(lambda: list(client.audit(limit=1)), lambda found: len(found) >= 2)
            self.assertEqual({record.agent_id for record in records}, {agent_id})
            self.assertEqual(client.get_audit_record(records[0].id), records[0])
            self.assertEqual(list(client.audit(agent_id=agent_id, outcome="denied")), [])
            page = client.get_audit(limit=1, action="token.issued")
            self.assertEqual([record.action for record in page], ["token.issued"])
            before = client.access_token
            self.assertNotEqual(client.refresh_token().token.access_token, before)
            self.assertTrue(client.rotate_agent_key(agent_id, overlap_seconds=0).credentials.api_key)
            self.assertTrue(client.revoke_tokens()["success"])
            # It opens a new session with the new key.
            self.assertEqual(client.get_agent(agent_id).agent_id, agent_id)

    def test_base_url(self) -> None:
        self.assertEqual(SyncAgentAuthClient("https://a.example.com/").base_url, "https://a.example.com")
        for wrong in ("", "a.example.com", "ftp://a.example.com", None, "ak_secret"):
            with self.assertRaises(ValueError) as refused:
                SyncAgentAuthClient(wrong)  # type: ignore[arg-type]
            self.assertNotIn("ak_secret", str(refused.exception))


class Secrets(unittest.TestCase):
    def test_no_repr_and_no_error_shows_one(self) -> None:
        agent_id, api_key = register(["github:issues:read"])
        with SyncAgentAuthClient(URL, agent_id=agent_id, api_key=api_key) as client:
            verified = client.verify_agent()
            webhook = client.register_webhook("https://example.com/hook", ["agent.verified"])
            with self.assertRaises(AgentAuthError) as refused:
                client.list_agents()
            secrets = (api_key, verified.token.access_token, verified.token.refresh_token, webhook.secret)
            shown = repr((client, client._api._core.session, verified, webhook, refused.exception, str(refused.exception)))
        for secret in secrets:
            self.assertNotIn(secret, shown)


class Tokens(unittest.TestCase):
    def test_a_due_token_is_renewed_before_the_call(self) -> None:
        pairs = []
        with new_sync_client(["github:issues:read"], on_tokens=pairs.append) as client:
            first = client.get_access_token()
            client._api._core.session.renew_at = client._io.now()
            second = client.get_access_token()
        self.assertNotEqual(first, second)
        self.assertEqual([one.access_token for one in pairs], [first, second])

    def test_on_tokens_of_the_synchronous_client_is_an_ordinary_function(self) -> None:
        async def store(token: object) -> None:
            raise AssertionError("never runs")

        with new_sync_client(["github:issues:read"], on_tokens=store) as client:
            with self.assertRaisesRegex(TypeError, "ordinary function"):
                client.get_access_token()

    def test_threads_share_one_renewal(self) -> None:
        transport = FaultyTransport(lambda request: None)
        with new_sync_client(["github:issues:read"], transport=transport) as client:
            client.get_access_token()
            client._api._core.session.renew_at = client._io.now()
            tokens = []
            threads = [threading.Thread(target=lambda: tokens.append(client.get_access_token())) for _ in range(8)]
            for one in threads:
                one.start()
            for one in threads:
                one.join()
        self.assertEqual((len(tokens), len(set(tokens))), (8, 1))
        self.assertEqual(transport.paths.count("/agents/refresh"), 1)

    def test_tasks_share_one_renewal_and_one_of_them_may_give_up(self) -> None:
        async def use() -> None:
            async with new_client(["github:issues:read"]) as client:
                agent_id = client._core.session.agent_id
                assert agent_id
                await client.get_access_token()
                refused = client.access_token
                client._core.session.access_token = "not.a.token"
                calls = [asyncio.create_task(client.get_agent(agent_id)) for _ in range(8)]
                await asyncio.sleep(0)
                calls[0].cancel()
                answers = await asyncio.gather(*calls, return_exceptions=True)
                self.assertIsInstance(answers[0], asyncio.CancelledError)
                self.assertEqual([one.agent_id for one in answers[1:]], [agent_id] * 7)  # type: ignore[union-attr]
                self.assertNotEqual(client.access_token, refused)

        asyncio.run(use())

    def test_a_lost_answer_to_a_refresh_costs_nobody_the_session(self) -> None:
        lost = [httpx.ReadError("lost")]
        fault = lambda request: lost.pop() if request.url.path == "/agents/refresh" and lost else None  # noqa: E731
        transport = FaultyTransport(fault)
        with mock.patch.object(SyncIO, "sleep", _no_sleep), new_sync_client(
            ["github:issues:read"], transport=transport
        ) as client:
            client.verify_agent()
            client.refresh_token()
            self.assertEqual(transport.paths.count("/agents/refresh"), 2)
            client.refresh_token()

    def test_a_session_that_ended_is_opened_again(self) -> None:
        with new_sync_client(["github:issues:read"]) as client:
            agent_id = client.verify_agent().agent.agent_id
            with SyncAgentAuthClient(URL, access_token=client.access_token) as other:
                other.revoke_tokens()
            self.assertEqual(client.get_agent(agent_id).agent_id, agent_id)

    def test_without_the_key_the_end_of_the_session_is_an_error(self) -> None:
        with new_sync_client(["github:issues:read"]) as client:
            token = client.verify_agent().token
            client.revoke_tokens()
        with SyncAgentAuthClient(URL, access_token=token.access_token, refresh_token=token.refresh_token) as other:
            with self.assertRaises(AgentAuthError) as refused:
                other.get_agent(agent_sdk_id(token.access_token))
            self.assertEqual(refused.exception.status_code, 401)


class OwnTokens(unittest.IsolatedAsyncioTestCase):
    """One client that serves the requests of many callers."""

    async def test_no_task_calls_with_the_token_of_another(self) -> None:
        callers = [new_client(["github:issues:read"]) for _ in range(2)]
        tokens = [(await one.verify_agent()).token.access_token for one in callers]
        ids = [one._core.session.agent_id for one in callers]
        async with AgentAuthClient(URL) as shared:
            both_set = asyncio.Barrier(2) if hasattr(asyncio, "Barrier") else None

            async def request(index: int) -> str:
                shared.set_access_token(tokens[index])
                if both_set:
                    await both_set.wait()
                return (await shared.get_agent(str(ids[index]))).agent_id

            self.assertEqual(await asyncio.gather(request(0), request(1)), ids)
            with self.assertRaises(AgentAuthError) as refused:
                await shared.get_agent(str(ids[0]))
            self.assertEqual(refused.exception.status_code, 401)
        for one in callers:
            await one.close()

    async def test_who_verified_last_registers_for_nobody(self) -> None:
        admin_id, admin_key = register([Permissions.Admin], BOOTSTRAP_TOKEN)
        async with AgentAuthClient(URL) as shared:
            await shared.verify_agent(admin_id, admin_key)
            with self.assertRaises(AgentAuthError) as refused:
                await shared.register_agent("Escalated", "you@example.com", [Permissions.Admin])
            self.assertEqual(refused.exception.status_code, 403)
        async with AgentAuthClient(URL, agent_id=admin_id, api_key=admin_key) as admin:
            made = await admin.register_agent("Second administrator", "you@example.com", [Permissions.Admin])
            self.assertEqual(made.agent.permissions, ["*:*:*"])


class Retries(unittest.TestCase):
    def failing(self, *faults: "httpx.Response | httpx.TransportError", reaches: bool = True, **options: object):
        left = list(faults)
        transport = FaultyTransport(lambda request: left.pop(0) if left else None, reaches)
        waits: "list[float]" = []

        async def sleep(self: SyncIO, seconds: float) -> None:
            waits.append(seconds)

        patch = mock.patch.multiple(SyncIO, sleep=sleep)
        patch.start()
        self.addCleanup(patch.stop)
        client = SyncAgentAuthClient(URL, transport=transport, **options)  # type: ignore[arg-type]
        self.addCleanup(client.close)
        return client, transport, waits

    def test_1_2_and_4_seconds(self) -> None:
        client, transport, waits = self.failing(httpx.Response(503), httpx.ReadTimeout("slow"), httpx.Response(429))
        client.list_permissions()
        self.assertEqual(len(transport.paths), 4)
        for wait, promised in zip(waits, (1, 2, 4)):
            self.assertTrue(promised <= wait <= promised * 1.1, waits)

    def test_the_last_failure_is_raised(self) -> None:
        client, transport, waits = self.failing(*[httpx.Response(502, text="<html>")] * 9)
        with self.assertRaises(AgentAuthError) as failed:
            client.list_permissions()
        self.assertEqual((failed.exception.code, len(transport.paths), len(waits)), ("unavailable", 4, 3))
        client, transport, waits = self.failing(*[httpx.ReadTimeout("slow")] * 9, max_retries=0)
        with self.assertRaises(httpx.TimeoutException):
            client.list_permissions()
        self.assertEqual(len(transport.paths), 1)

    def test_retry_after_is_honoured_and_bounded(self) -> None:
        client, _, waits = self.failing(httpx.Response(429, headers={"retry-after": "7"}))
        client.list_permissions()
        self.assertTrue(7 <= waits[0] <= 7.7, waits)
        client, _, waits = self.failing(httpx.Response(429, headers={"retry-after": "3600"}))
        with self.assertRaises(AgentAuthError) as failed:
            client.list_permissions()
        self.assertEqual((failed.exception.retry_after, waits), (3600, []))
        client, _, waits = self.failing(httpx.Response(503, headers={"retry-after": "Wed, 01 Jan 2020 00:00:00 GMT"}))
        client.list_permissions()
        self.assertTrue(1 <= waits[0] <= 1.1, waits)

    def test_a_creation_whose_answer_was_lost(self) -> None:
        for fault in (httpx.ReadError("lost"), httpx.Response(502), httpx.Response(409, json={"error": "x", "code": "idempotency_in_flight"})):
            client, transport, _ = self.failing(fault)
            made = client.register_agent("Once", "you@example.com", ["github:issues:read"])
            self.assertTrue(made.credentials.api_key.startswith("ak_"))
            self.assertEqual((len(transport.paths), len(set(transport.keys))), (2, 1))
        # The answer is that of the attempt whose answer was lost.
        client, transport, _ = self.failing(httpx.ReadError("lost"))
        made = client.register_agent("Once", "you@example.com", ["github:issues:read"])
        self.assertEqual(transport.lost[0]["agent"]["agent_id"], made.agent.agent_id)
        self.assertEqual(transport.lost[0]["credentials"]["api_key"], made.credentials.api_key)

    def test_what_must_not_happen_twice(self) -> None:
        client, transport, _ = self.failing(httpx.ReadError("lost"))
        with self.assertRaises(httpx.ReadError):
            client.test_webhook("whk_x")
        self.assertEqual(len(transport.paths), 1)
        # The server did not see, or did not act on, these.
        for fault in (httpx.ConnectError("refused"), httpx.Response(429)):
            client, transport, _ = self.failing(fault, reaches=False)
            client.register_agent("Once", "you@example.com", ["github:issues:read"])
            self.assertEqual(len(transport.paths), 2)

    def test_a_revocation_whose_answer_was_lost(self) -> None:
        agent_id, api_key = register(["github:issues:read"])
        lost = [httpx.ReadError("lost")]
        transport = FaultyTransport(lambda request: lost.pop() if request.url.path.endswith("/revoke") and lost else None)
        with mock.patch.object(SyncIO, "sleep", _no_sleep):
            with SyncAgentAuthClient(URL, agent_id=agent_id, api_key=api_key, transport=transport) as client:
                self.assertEqual(client.revoke_agent(agent_id)["agent"]["status"], "revoked")

    def test_a_revocation_by_an_older_token(self) -> None:
        agent_id, api_key = register(["github:issues:read"])
        with SyncAgentAuthClient(URL, agent_id=agent_id, api_key=api_key) as client:
            token = client.verify_agent().token.access_token
        head, payload, signature = token.split(".")
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        claims["auth_time"] -= 301
        older = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
        # What the client says of a lost answer depends on its token alone.
        revoked = httpx.Response(
            401, json={"error": "revoked", "message": "revoked", "code": "token_revoked", "status": 401, "request_id": "r"}
        )
        faults: List[Any] = [revoked, httpx.ReadError("lost")]
        transport = FaultyTransport(lambda request: faults.pop() if faults else None)
        with mock.patch.object(SyncIO, "sleep", _no_sleep):
            token = f"{head}.{older}.{signature}"
            with SyncAgentAuthClient(URL, access_token=token, transport=transport) as client:
                self.assertEqual(client.revoke_agent(agent_id)["agent"]["status"], "suspended")

    def test_what_is_not_agentauth_is_said(self) -> None:
        client, _, _ = self.failing(httpx.Response(200, text="<html>"))
        with self.assertRaisesRegex(AgentAuthError, "Check base_url") as failed:
            client.list_permissions()
        self.assertEqual(failed.exception.code, "not_agentauth")


class Exports(unittest.TestCase):
    def test_all_names_are_there(self) -> None:
        self.assertEqual([name for name in agentauth_sdk.__all__ if not hasattr(agentauth_sdk, name)], [])


async def _no_sleep(self: SyncIO, seconds: float) -> None:
    return None


def agent_sdk_id(token: str) -> str:
    from agentauth_sdk._core import _claims_of

    return str(_claims_of(token)[0])
