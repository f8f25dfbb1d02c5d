"""The running gateway, and a transport that loses and spoils responses of the real one."""

from __future__ import annotations

import os
import time
from typing import Any, Callable, List, Optional, Tuple, Union

import httpx

from agentauth_sdk import AgentAuthClient, SyncAgentAuthClient

URL = os.environ["AGENTAUTH_TEST_URL"]
BOOTSTRAP_TOKEN = os.environ["AGENTAUTH_TEST_BOOTSTRAP_TOKEN"]
SAMPLE_URL = os.environ["AGENTAUTH_TEST_SAMPLE_URL"]
RECEIVER_URL = os.environ["AGENTAUTH_TEST_RECEIVER_URL"]


def register(permissions: List[str], token: Optional[str] = None) -> Tuple[str, str]:
    """The id and the API key of a new agent."""
    with SyncAgentAuthClient(URL, access_token=token) as client:
        made = client.register_agent("python", "owner@example.com", permissions)
    return made.agent.agent_id, made.credentials.api_key


def new_client(permissions: List[str], token: Optional[str] = None, **options: Any) -> AgentAuthClient:
    agent_id, api_key = register(permissions, token)
    return AgentAuthClient(URL, agent_id=agent_id, api_key=api_key, **options)


def new_sync_client(permissions: List[str], token: Optional[str] = None, **options: Any) -> SyncAgentAuthClient:
    agent_id, api_key = register(permissions, token)
    return SyncAgentAuthClient(URL, agent_id=agent_id, api_key=api_key, **options)


def eventually(look: Callable[[], Any], is_there: Callable[[Any], bool]) -> Any:
    """What `look` returns once it is there: records come through a queue."""
    for _ in range(300):
        found = look()
        if is_there(found):
            return found
        time.sleep(0.2)
    raise AssertionError(f"not there: {found}")


Fault = Union[httpx.Response, httpx.TransportError, None]


class FaultyTransport(httpx.BaseTransport):
    """
    Sends requests to the gateway, and lets `fault` decide what becomes of each: None passes the real response on, an error stands
    for a response that was lost after the request had its effect, a response for one that something in between gave.
    """

    def __init__(self, fault: Callable[[httpx.Request], Fault], reaches: bool = True) -> None:
        self._inner = httpx.HTTPTransport()
        self._fault = fault
        self._reaches = reaches
        self.paths: List[str] = []
        self.keys: List[Optional[str]] = []
        self.lost: List[Any] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.paths.append(request.url.path)
        self.keys.append(request.headers.get("Idempotency-Key"))
        fault = self._fault(request)
        if fault is None or (self._reaches and isinstance(fault, httpx.TransportError)):
            response = self._inner.handle_request(request)
            if fault is None:
                return response
            response.read()
            self.lost.append(response.json())
        if isinstance(fault, httpx.Response):
            return fault
        assert fault is not None
        raise fault

    def close(self) -> None:
        self._inner.close()
