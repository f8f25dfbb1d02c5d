"""
What the SDK does to the world: send, wait, lock. Everything else is written once, as coroutines over these.

The coroutines of `SyncIO` block instead of suspending, so that `run_now` takes a coroutine that awaits nothing else to its end.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
import weakref
from types import TracebackType
from typing import Any, AsyncContextManager, Callable, Coroutine, Optional, Type, TypeVar

import httpx

Result = TypeVar("Result")

_NO_AUTH = httpx.Auth()
"""Keeps httpx from adding credentials of its own, from the URL or from a .netrc file."""


class IO:
    async def send(self, request: httpx.Request) -> httpx.Response:
        """Sends a request and reads the whole response."""
        raise NotImplementedError

    async def sleep(self, seconds: float) -> None:
        raise NotImplementedError

    async def read(self, response: httpx.Response) -> None:
        raise NotImplementedError

    async def close_response(self, response: httpx.Response) -> None:
        raise NotImplementedError

    async def call(self, callback: Callable[[Any], Any], value: Any) -> None:
        """Calls a function of the user's, which may be a coroutine function where that makes sense."""
        raise NotImplementedError

    def lock(self) -> AsyncContextManager[Any]:
        raise NotImplementedError

    def now(self) -> float:
        """Seconds of a clock that is never set."""
        return time.monotonic()


class _OfLoop:
    """Connections and locks belong to the event loop that they were first used in."""

    def __init__(self, transport: Optional[httpx.AsyncBaseTransport]) -> None:
        self.http = httpx.AsyncClient(transport=transport)
        self.lock = asyncio.Lock()


class AsyncIO(IO):
    def __init__(self, transport: Optional[httpx.AsyncBaseTransport] = None) -> None:
        self._transport = transport
        # A client may outlive a loop: asyncio.run and asgiref's async_to_sync make a new one for every call.
        self._of_loop: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _OfLoop]" = weakref.WeakKeyDictionary()

    def _here(self) -> _OfLoop:
        loop = asyncio.get_running_loop()
        if loop not in self._of_loop:
            self._of_loop[loop] = _OfLoop(self._transport)
        return self._of_loop[loop]

    async def send(self, request: httpx.Request) -> httpx.Response:
        return await self._here().http.send(request, auth=_NO_AUTH)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def read(self, response: httpx.Response) -> None:
        await response.aread()

    async def close_response(self, response: httpx.Response) -> None:
        await response.aclose()

    async def call(self, callback: Callable[[Any], Any], value: Any) -> None:
        result = callback(value)
        if inspect.isawaitable(result):
            await result

    def lock(self) -> AsyncContextManager[Any]:
        return self._here().lock

    async def close(self) -> None:
        here = self._of_loop.pop(asyncio.get_running_loop(), None)
        if here:
            await here.http.aclose()


class _ThreadLock:
    def __init__(self) -> None:
        self._lock = threading.Lock()

    async def __aenter__(self) -> None:
        self._lock.acquire()

    async def __aexit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self._lock.release()


class SyncIO(IO):
    def __init__(self, transport: Optional[httpx.BaseTransport] = None) -> None:
        self._transport = transport
        self._http: Optional[httpx.Client] = None
        self._renewal = _ThreadLock()
        self._opening = threading.Lock()

    async def send(self, request: httpx.Request) -> httpx.Response:
        with self._opening:
            if self._http is None:
                self._http = httpx.Client(transport=self._transport)
            http = self._http
        return http.send(request, auth=_NO_AUTH)

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    async def read(self, response: httpx.Response) -> None:
        response.read()

    async def close_response(self, response: httpx.Response) -> None:
        response.close()

    async def call(self, callback: Callable[[Any], Any], value: Any) -> None:
        result = callback(value)
        if inspect.iscoroutine(result):
            result.close()
            raise TypeError("on_tokens of SyncAgentAuthClient must be an ordinary function.")

    def lock(self) -> AsyncContextManager[Any]:
        return self._renewal

    def close(self) -> None:
        with self._opening:
            http, self._http = self._http, None
        if http:
            http.close()


def run_now(work: Coroutine[Any, Any, Result]) -> Result:
    """Runs a coroutine over `SyncIO`, which never suspends, and returns its result."""
    try:
        work.send(None)
    except StopIteration as end:
        result: Result = end.value
        return result
    work.close()
    raise RuntimeError("A synchronous call has suspended.")
