"""httpx transports that call one service through the gateway with the client's token."""

from __future__ import annotations

from typing import Awaitable, Callable, Optional
from urllib.parse import unquote_to_bytes

import httpx

from ._core import Core
from ._io import run_now
from .errors import ProxyTargetError

UPSTREAM_HEADER = "x-agentauth-upstream"
"""The gateway sets it on a response that the service itself gave."""


class _Proxy:
    def __init__(self, core: Core, service: str, base_url: Optional[str]) -> None:
        self._core = core
        self._service = service
        self._root = httpx.URL(f"{core.base_url}/proxy/{service}")
        if not _is_below(self._root, httpx.URL(f"{core.base_url}/proxy")) or "/" in service or not service:
            raise ValueError("service must be the name of one service, such as github.")
        self._base = httpx.URL(base_url.rstrip("/")) if base_url else None

    async def handle(
        self, request: httpx.Request, forward: Callable[[httpx.Request], Awaitable[httpx.Response]]
    ) -> httpx.Response:
        """Sends a request, and sends it once more with a new token if that is what the gateway refused it for."""
        core = self._core
        target = self._target(request)
        own = core.context_token.get()
        token = own if own is not None else await core.get_token()
        # A stream has been read once it was sent, and cannot be sent again.
        repeatable = isinstance(request.stream, httpx.ByteStream)

        async def send(one: Optional[str]) -> httpx.Response:
            def make() -> httpx.Request:
                return _with_token(core, request, target, one)

            if core.dpop is None or one is None:
                return await forward(make())
            return await core.dpop.send(make, one, forward, core.io.close_response, repeatable)

        response = await send(token)
        if own is None and response.status_code in (401, 403) and UPSTREAM_HEADER not in response.headers:
            await core.io.read(response)
            renewed = await core.renew_for(response.status_code, _json_object(response), token)
            # With a stream, the new token is for the next call.
            if renewed is not None and repeatable:
                await core.io.close_response(response)
                response = await send(renewed)
        location = response.headers.get("location")
        if location is not None:
            # Relative to where the request went, not to the URL that the service's own SDK has asked for.
            try:
                response.headers["location"] = str(target.join(location))
            except (httpx.InvalidURL, ValueError):
                pass
        return response

    def _target(self, request: httpx.Request) -> httpx.URL:
        """
        The URL at the gateway for a URL of the service. The token is sent nowhere else.

        :raises ProxyTargetError: the URL is neither the gateway's for this service nor below `base_url`.
        """
        url = request.url
        if _is_below(url, self._root):
            return url
        if self._base is not None and _is_below(url, self._base):
            rest = url.raw_path[len(self._base.raw_path.rstrip(b"/")) :]
            target = self._root.copy_with(raw_path=self._root.raw_path + rest)
            if _is_below(target, self._root):
                return target
        shown = url.copy_with(query=None, fragment=None, username=None, password=None)
        where = str(self._root) if self._base is None else f"{self._root} or {self._base}"
        raise ProxyTargetError(
            f"{shown} is not below {where}, so it is not sent with the token. "
            "Give the service's base_url to proxy(), or call it with a client of your own.",
            request=request,
        )


def _is_below(url: httpx.URL, root: httpx.URL) -> bool:
    if (url.scheme, url.host, url.port) != (root.scheme, root.host, root.port) or url.userinfo:
        return False
    path = url.raw_path.split(b"?")[0]
    base = root.raw_path.rstrip(b"/")
    if path != base and not path.startswith(base + b"/"):
        return False
    # Servers resolve these to a path outside.
    return b"\\" not in path and not any(unquote_to_bytes(one) in (b".", b"..") for one in path.split(b"/"))


def _with_token(core: Core, request: httpx.Request, target: httpx.URL, token: Optional[str]) -> httpx.Request:
    headers = httpx.Headers(request.headers)
    headers["Host"] = target.netloc.decode("ascii")
    headers.pop("Authorization", None)
    headers.pop("DPoP", None)
    if token is not None:
        headers["Authorization"] = core.authorization(token)
    return httpx.Request(
        request.method, target, headers=headers, stream=request.stream, extensions=request.extensions
    )


def _json_object(response: httpx.Response) -> "dict[str, object]":
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


class AsyncProxyTransport(_Proxy, httpx.AsyncBaseTransport):
    """The transport that `AgentAuthClient.proxy` makes."""

    def __init__(
        self, core: Core, service: str, base_url: Optional[str], inner: Optional[httpx.AsyncBaseTransport]
    ) -> None:
        super().__init__(core, service, base_url)
        self._inner = httpx.AsyncHTTPTransport() if inner is None else inner
        self._is_own = inner is None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self.handle(request, self._inner.handle_async_request)

    async def aclose(self) -> None:
        if self._is_own:
            await self._inner.aclose()


class ProxyTransport(_Proxy, httpx.BaseTransport):
    """The transport that `SyncAgentAuthClient.proxy` makes."""

    def __init__(self, core: Core, service: str, base_url: Optional[str], inner: Optional[httpx.BaseTransport]) -> None:
        super().__init__(core, service, base_url)
        self._inner = httpx.HTTPTransport() if inner is None else inner
        self._is_own = inner is None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        async def forward(one: httpx.Request) -> httpx.Response:
            return self._inner.handle_request(one)

        return run_now(self.handle(request, forward))

    def close(self) -> None:
        if self._is_own:
            self._inner.close()
