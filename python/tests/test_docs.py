"""Runs every Python block of docs/python.md against the gateway, in order and in one namespace, as a reader would."""

from __future__ import annotations

import ast
import inspect
import os
import re
import types
import unittest
from pathlib import Path
from unittest import mock

import httpx

from .support import BOOTSTRAP_TOKEN, URL, new_client, register
from .test_verify import BODY, jwt

PAGE = Path(__file__).parents[2] / "docs/python.md"
missing = []
for name in ("fastapi", "django"):
    try:
        __import__(name)
    except ImportError:
        missing.append(name)


@unittest.skipIf(missing or jwt is None, f"missing: {missing or 'jwt'}")
class Page(unittest.IsolatedAsyncioTestCase):
    async def test_every_block(self) -> None:
        agent_id, api_key = register(["sample:orders:read", "zendesk:tickets:read"])
        admin_id, admin_key = register(["*:*:*"], BOOTSTRAP_TOKEN)
        env = {
            "AGENTAUTH_AGENT_ID": agent_id,
            "AGENTAUTH_API_KEY": api_key,
            "AGENTAUTH_ADMIN_ID": admin_id,
            "AGENTAUTH_ADMIN_KEY": admin_key,
        }
        module = types.ModuleType("docs")
        blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
        self.assertGreaterEqual(len(blocks), 12)
        with mock.patch.dict(os.environ, env), mock.patch("builtins.print") as printed:
            for block in blocks:
                code = compile(
                    block.replace("https://agentauth.example.com", URL),
                    str(PAGE),
                    "exec",
                    flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
                )
                with self.subTest(block[:60]):
                    result = eval(code, module.__dict__)
                    if inspect.iscoroutine(result):
                        await result
        said = [str(call.args[0]) for call in printed.call_args_list]
        self.assertIn("The token is valid for 3600 seconds.", said)
        self.assertIn("{'id': 1, 'item': 'lamp'}", said)
        self.assertIn("400", said)
        self.assertEqual(module.response.json()["item"], "lamp")
        self.assertEqual(module.saved[-1], module.client._core.session.refresh_token)
        await self.fastapi(module, agent_id, api_key)
        await self.receiver(module)
        await self.django(module, agent_id, api_key)
        for one in (module.client, module.django_client, module.patient):
            await one.close()

    async def fastapi(self, module: types.ModuleType, agent_id: str, api_key: str) -> None:
        token = (await module.client.verify_agent()).token.access_token
        other = new_client(["github:issues:read"])
        verified = await other.verify_agent()
        transport = httpx.ASGITransport(app=module.app)
        async with other, httpx.AsyncClient(transport=transport, base_url="http://app") as http:

            async def get(path: str, token: str = "") -> "tuple[int, dict[str, str]]":
                response = await http.get(path, headers={"Authorization": f"Bearer {token}"} if token else {})
                return response.status_code, response.json()

            self.assertEqual(await get("/tickets", token), (200, {"agent_id": agent_id}))
            self.assertEqual((await get("/tickets", verified.token.access_token))[0], 403)
            self.assertEqual([(await get(path))[0] for path in ("/tickets", "/agents/x")], [401, 401])
            self.assertEqual((await get("/tickets", "not.a.token"))[0], 401)
            self.assertEqual((await get(f"/agents/{agent_id}", token))[1]["agent_id"], agent_id)
            self.assertEqual((await get(f"/agents/{agent_id}", verified.token.access_token))[0], 403)
        await module.auth_client.close()

    async def receiver(self, module: types.ModuleType) -> None:
        from .test_verify import signed

        import time

        transport = httpx.ASGITransport(app=module.receiver)
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as http:
            headers = signed(BODY, module.secret, int(time.time()))
            response = await http.post("/hooks/agentauth", content=BODY, headers=headers)
            self.assertEqual(response.json(), {"received": "agent.verified"})
            response = await http.post("/hooks/agentauth", content=BODY + " ", headers=headers)
            self.assertEqual((response.status_code, response.json()["detail"]), (400, "wrong_signature"))

    async def django(self, module: types.ModuleType, agent_id: str, api_key: str) -> None:
        import sys

        from django.conf import settings

        sys.modules["docs_middleware"] = module
        urls = types.ModuleType("docs_urls")
        sys.modules["docs_urls"] = urls
        settings.configure(
            SECRET_KEY="for this test",
            ALLOWED_HOSTS=["*"],
            ROOT_URLCONF="docs_urls",
            MIDDLEWARE=["docs_middleware.agentauth_middleware"],
            USE_TZ=True,
        )
        import django
        from django.test import AsyncClient
        from django.urls import path

        django.setup()
        urls.urlpatterns = [path("agents/<agent_id>", module.agent_view)]  # type: ignore[attr-defined]
        http = AsyncClient()
        token = module.client.access_token
        answer = await http.get(f"/agents/{agent_id}", AUTHORIZATION=f"Bearer {token}")
        self.assertEqual(answer.json(), {"agent_id": agent_id, "status": "active"})
        self.assertEqual((await http.get(f"/agents/{agent_id}")).status_code, 401)
        answer = await http.get("/agents/agt_000000000000000000000000", AUTHORIZATION=f"Bearer {token}")
        self.assertIn(answer.status_code, (403, 404))
        self.assertTrue(answer.json()["error"])
