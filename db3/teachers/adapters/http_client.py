"""The client of a remote teacher: limits, deadlines and the token, for every request alike.

Requests run in one event loop in a thread of its own. All teachers of one process that share an address share its
limits. What is tried again, and when, is in `db3.teachers.adapters.http_retries`.
"""

import asyncio
import gzip
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from math import ceil
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

import httpx2
import orjson
from pyrate_limiter import Limiter, Rate

from db3.errors import TeacherError, one_line
from db3.teachers.adapters.http_retries import broken_exchange, refused, retry
from db3.teachers.adapters.http_settings import Auth, Link
from db3.teachers.adapters.retries import RetryableError
from db3.teachers.base import Sending

T = TypeVar("T")
_GUARD = threading.Lock()
_LARGEST = 1 << 28  # bytes of an answer: more is no decision
_SHOWN = 240  # characters of a server's own words
_IDLE = 4.0  # seconds that a connection is kept: many servers close theirs after five


@dataclass(frozen=True)
class Request:
    """One request.

    Attributes:
        method: GET or POST.
        url: whole address.
        content: body.
        headers: beside the token's.
        images: how many it sends; 0: it is none that is charged.
    """

    method: str
    url: str | httpx2.URL
    content: bytes | None = None
    headers: Mapping[str, str] | None = None
    images: int = 0


@dataclass(frozen=True)
class Reply:
    """A whole answer with status 200."""

    content: bytes
    headers: Mapping[str, str]


class Client:
    """The way to one server; all of one process with the same server, link and token share its limits.

    Args:
        url: any address on the server.
        link: limits, retries, compression.
        auth: the token's variable.
        who: names the teacher in errors.
    """

    def __init__(self, url: str, link: Link, auth: Auth, who: str) -> None:
        parts = urlsplit(url)
        self.link, self.who, secret, self._signer = link, who, auth.secret(), auth.signer()
        self._secrets = (*((secret,) if secret else ()), *(self._signer.secrets if self._signer else ()))
        token = f"{auth.scheme} {secret}".strip() if secret else ""
        with _GUARD:  # two threads that meet a server at once would each have limits of their own
            self.shared = _shared(f"{parts.scheme}://{parts.netloc}", link, auth.header, token)

    def ask(self, request: Callable[[], Request], read: Callable[[Reply], T]) -> T:
        """One request; see `ask_all`."""
        results, error = self.ask_all([request], lambda _, reply: read(reply))
        if error:
            raise error
        return results[0]  # type: ignore[return-value]

    def ask_all(
        self,
        requests: Sequence[Callable[[], Request]],
        read: Callable[[int, Reply], T],
        sending: Sending | None = None,
    ) -> tuple[list[T | None], BaseException | None]:
        """Send several requests, `link.concurrency` at a time, each until it is answered or its attempts are spent.

        After a failure nothing more is begun; what is in flight is waited for.

        Args:
            requests: each is made anew for every attempt.
            read: of a request's place and its reply; raises RetryableError to try again, any other error to stop.
            sending: called before each attempt that sends images, one at a time; what it raises stops all.

        Returns:
            What `read` made of each reply, in the order of the requests (None: not answered), and the first error.
        """
        return _run(_Batch(self, requests, read, sending).answers())

    async def permitted(self, stopped: asyncio.Event) -> None:
        """Wait until the limits, and the server, allow one more request."""
        while (wait := self.shared.resume - time.monotonic()) > 0 and not stopped.is_set():
            await asyncio.sleep(min(wait, 0.5))
        if self.shared.limiter:
            acquired = self.shared.limiter.try_acquire_async("requests")
            if isinstance(acquired, Awaitable):
                await acquired

    async def exchange(self, request: Request, unsent: Callable[[], None]) -> Reply:
        """Send a request once; `unsent` is called where not a byte of it was sent: no connection came about.

        Raises:
            RetryableError: a failure that may pass.
            TeacherError: one that will not.
        """
        begun = asyncio.Event()
        try:
            async with asyncio.timeout(self.link.timeout):
                status, reply = await self._send(request, begun)
        except TimeoutError:
            what = "answered in full" if begun.is_set() else "accepted a connection"
            raise RetryableError(f"it had not {what} after {self.link.timeout:g} s", down=not begun.is_set()) from None
        except httpx2.HTTPError as error:
            reason = self._clean(str(error)) or type(error).__name__
            raise broken_exchange(error, reason, begun.is_set(), self.who) from None
        finally:
            if not begun.is_set():
                unsent()
        if status == HTTPStatus.OK:
            return reply
        retry_after = reply.headers.get("Retry-After", "")
        if "Throttling" in reply.headers.get("x-amzn-ErrorType", ""):
            status = HTTPStatus.TOO_MANY_REQUESTS  # which AWS tells as 400
        refusal = refused(status, self._message(reply), retry_after, self.link.patience, self.who)
        if isinstance(refusal, RetryableError) and refusal.after:
            self.shared.resume = max(self.shared.resume, time.monotonic() + refusal.after)
        raise refusal

    async def _send(self, request: Request, begun: asyncio.Event) -> tuple[int, Reply]:
        """Status and reply; `begun` is set as soon as something is sent."""

        async def trace(event: str, _: object) -> None:
            if event.endswith("send_request_headers.started"):
                begun.set()

        headers, content = dict(request.headers or {}), request.content
        if content is not None and self.link.compress:
            headers["Content-Encoding"] = "gzip"
            content = gzip.compress(content, 1, mtime=0)
        if self._signer:
            headers = self._signer.sign(request.method, str(request.url), headers, content)
        stream = self.shared.client.stream(
            request.method,
            request.url,
            content=content,
            headers=headers,
            extensions={"trace": trace},
        )
        async with stream as response:
            parts, size = [], 0
            async for part in response.aiter_bytes():
                parts.append(part)
                size += len(part)
                if size > _LARGEST:
                    raise TeacherError(
                        f"{self.who} answered with more than {_LARGEST >> 20} MiB: check teacher.http.url"
                    )
            return response.status_code, Reply(b"".join(parts), response.headers)

    def _message(self, reply: Reply) -> str:
        """The server's own words, where it has any in JSON."""
        try:
            content = orjson.loads(reply.content)
        except orjson.JSONDecodeError:
            return ""
        return self._clean(_words(content)) if isinstance(content, dict) else ""

    def redacted(self, value: Any) -> Any:
        """JSON that a server sent, without token and keys: it may echo what it was sent, and what it says is stored."""
        if isinstance(value, str):
            for secret in self._secrets:
                value = value.replace(secret, "***")
            return value
        if isinstance(value, dict):
            return {self.redacted(name): self.redacted(inner) for name, inner in value.items()}
        return [self.redacted(inner) for inner in value] if isinstance(value, list) else value

    def _clean(self, text: str) -> str:
        """One line, without the token; of a long one the end too, since servers repeat what they were sent first."""
        words = " ".join(str(self.redacted(text)).split())
        return words if len(words) <= _SHOWN else f"{one_line(words, _SHOWN // 3)} {words[-_SHOWN * 2 // 3 :]}"


def _words(told: Any, deep: int = 4) -> str:
    """What an error in JSON says in a text: of Google's and OpenAI's, of MLflow's, of FastAPI's with its list."""
    if isinstance(told, str):
        return told
    if isinstance(told, list):
        return _words(told[0], deep - 1) if told and deep else ""
    if not isinstance(told, dict) or not deep:
        return ""
    if isinstance(told.get("msg"), str) and isinstance(told.get("loc"), list):
        return f"{'.'.join(map(str, told['loc']))}: {told['msg']}"
    return ": ".join(
        filter(None, (_words(told.get(name), deep - 1) for name in ("error", "message", "Message", "detail")))
    )


class _Batch(Generic[T]):
    """The requests of one `Client.ask_all`."""

    def __init__(
        self,
        client: Client,
        requests: Sequence[Callable[[], Request]],
        read: Callable[[int, Reply], T],
        sending: Sending | None,
    ) -> None:
        self._client, self._requests, self._read, self._sending = client, requests, read, sending
        self._ready: dict[int, Request] = {}
        self._stopped = asyncio.Event()
        self._error: BaseException | None = None

    async def answers(self) -> tuple[list[T | None], BaseException | None]:
        return await asyncio.gather(*map(self._answer, range(len(self._requests)))), self._error

    async def _answer(self, place: int) -> T | None:
        client = self._client
        async with client.shared.ahead:
            if self._stopped.is_set():
                return None
            try:
                self._ready[place] = self._requests[place]()
                async with client.shared.slots:
                    return await retry(lambda: self._attempt(place), client.link, self._stopped, client.who)
            except BaseException as error:  # raised by the caller, in its own thread
                self._error = self._error or error
                self._stopped.set()
                return None

    async def _attempt(self, place: int) -> T:
        request = self._ready.pop(place, None) or self._requests[place]()
        await self._client.permitted(self._stopped)
        if self._stopped.is_set():
            raise RetryableError("another request failed")
        self._announce(request.images)
        return self._read(place, await self._client.exchange(request, lambda: self._announce(-request.images)))

    def _announce(self, images: int) -> None:
        if images and self._sending:
            self._sending(images)


class _Shared:
    """What all requests to one server share: the connections, its limits, and until when the server asked to wait."""

    def __init__(self, link: Link, headers: Mapping[str, str]) -> None:
        self.client = httpx2.AsyncClient(
            headers={"Accept": "application/json", **headers},
            timeout=None,  # each attempt has its deadline as a whole
            limits=httpx2.Limits(max_connections=link.concurrency, keepalive_expiry=_IDLE),
        )
        self.slots = asyncio.Semaphore(link.concurrency)
        self.ahead = asyncio.Semaphore(2 * link.concurrency)  # made while others fly: a free slot waits for nothing
        self.limiter = _limiter(link.per_second) if link.per_second else None
        self.resume = 0.0


@cache
def _shared(origin: str, link: Link, header: str, token: str) -> _Shared:  # noqa: ARG001  (a key)
    async def make() -> _Shared:  # inside the loop, which its parts belong to
        return _Shared(link, {header: token} if token else {})

    return _run(make())


def _limiter(per_second: float) -> Limiter:
    """Evenly spaced below 20 a second; above, so many in any one second."""
    rate = Rate(1, ceil(1000 / per_second)) if per_second < 20 else Rate(int(per_second), 1000)
    return Limiter(rate, buffer_ms=0)


def _run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run_coroutine_threadsafe(work, _loop()).result()


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="remote teachers", daemon=True).start()
    return loop
