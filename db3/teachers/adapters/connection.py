"""The way to a remote teacher: limits, retries, deadlines and the token, for every request alike.

Requests run in one event loop in a thread of its own. All teachers of one process that share an address share its
limits. What is retried is safe to repeat: a question changes nothing on the server. It may be billed again, so every
attempt is announced before it is sent.
"""

import asyncio
import gzip
import http.client
import os
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from http import HTTPStatus
from math import ceil
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx2
import orjson
from pyrate_limiter import Limiter, Rate
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from db3.errors import ConfigError, TeacherError
from db3.settings.teacher import Link

T = TypeVar("T")
R = TypeVar("R")
_MAY_PASS = frozenset({408, 425, 429, 500, 502, 503, 504})
_LARGEST = 1 << 28  # bytes of an answer: more is no decision
_IDLE = 4.0  # seconds that a connection is kept: many servers close theirs after five
_BACKOFF = wait_random_exponential(multiplier=0.25, max=20.0)


@dataclass(frozen=True)
class Access:
    """How a request proves who it is.

    Attributes:
        token: NAME of the environment variable that holds the token; None: no token.
        header: that carries it.
        scheme: word before it, as in `Bearer TOKEN`; empty: none.
    """

    token: str | None = None
    header: str = "Authorization"
    scheme: str = "Bearer"

    @classmethod
    def declared(cls, http: Mapping[str, Any]) -> "Access":
        """As the settings of a remote teacher say; what they leave out is as above."""
        return cls(**{field.name: http[field.name] for field in fields(cls) if field.name in http})

    def secret(self) -> str | None:
        """The token, read now.

        Raises:
            ConfigError: the variable is not set, or holds what no header can; its value is never told.
        """
        if self.token is None:
            return None
        value = os.environ.get(self.token, "").strip()
        if not value or not value.isascii() or not value.isprintable():
            raise ConfigError(f"the environment variable {self.token} holds no token; expected printable ASCII: set it")
        return value


@dataclass(frozen=True)
class Reply:
    """A whole answer with status 200."""

    content: bytes
    headers: Mapping[str, str]


class PassingError(Exception):
    """A fault that may pass: the request is tried again.

    Attributes:
        after: seconds that the server asked to wait.
    """

    def __init__(self, reason: str, after: float = 0.0) -> None:
        super().__init__(reason)
        self.after = after


@dataclass(frozen=True)
class Question:
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


class _Shared:
    """What all questions to one server share: the client, its limits, and until when the server asked to wait."""

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


class Connection:
    """The way to one server; all of one process with the same server, link and access share its limits.

    Args:
        url: any address on the server.
        link: limits, retries, compression.
        access: the token's variable.
        who: names the teacher in errors.
    """

    def __init__(self, url: str, link: Link, access: Access, who: str) -> None:
        parts = urlsplit(url)
        self._link, self._who, self._secret = link, who, access.secret()
        token = f"{access.scheme} {self._secret}".strip() if self._secret else ""
        self._shared = _shared(f"{parts.scheme}://{parts.netloc}", link, access.header, token)

    def ask(self, question: Callable[[], Question], read: Callable[[Reply], T]) -> T:
        """One question; see `ask_all`."""
        told, error = self.ask_all([question], lambda _, reply: read(reply))
        if error:
            raise error
        return told[0]  # type: ignore[return-value]

    def ask_all(
        self,
        questions: Sequence[Callable[[], Question]],
        read: Callable[[int, Reply], T],
        sending: Callable[[int], None] | None = None,
    ) -> tuple[list[T | None], BaseException | None]:
        """Ask several questions, `link.concurrency` at a time, each until it is answered or its attempts are spent.

        After a failure nothing more is begun; what is in flight is waited for.

        Args:
            questions: each makes its request anew for every attempt.
            read: of a question's place and its reply; raises PassingError to try again, any other error to stop.
            sending: called before each attempt that sends images, one at a time; what it raises stops all.

        Returns:
            What `read` made of each reply, in the order of the questions (None: not answered), and the first error.
        """
        return _run(self._ask_all(questions, read, sending or (lambda _: None)))

    async def _ask_all(
        self,
        questions: Sequence[Callable[[], Question]],
        read: Callable[[int, Reply], T],
        sending: Callable[[int], None],
    ) -> tuple[list[T | None], BaseException | None]:
        failed = asyncio.Event()
        errors: list[BaseException] = []

        async def one(place: int) -> T | None:
            async with self._shared.ahead:
                if failed.is_set():
                    return None
                try:
                    ready = [questions[place]()]
                    async with self._shared.slots:
                        return await self._until_answered(
                            lambda: ready.pop() if ready else questions[place](),
                            lambda reply: read(place, reply),
                            sending,
                            failed,
                        )
                except BaseException as error:  # told by the caller, in its own thread
                    errors.append(error)
                    failed.set()
                    return None

        told = await asyncio.gather(*(one(place) for place in range(len(questions))))
        return told, errors[0] if errors else None

    async def _until_answered(
        self,
        question: Callable[[], Question],
        read: Callable[[Reply], R],
        sending: Callable[[int], None],
        failed: asyncio.Event,
    ) -> R:
        async def pause(seconds: float) -> None:
            with suppress(TimeoutError):
                await asyncio.wait_for(failed.wait(), seconds)

        attempts = AsyncRetrying(
            retry=retry_if_exception_type(PassingError),
            stop=lambda state: failed.is_set() or stop_after_attempt(self._link.attempts)(state),
            wait=_wait,
            sleep=pause,
            reraise=True,
        )
        try:
            return await attempts(self._attempt, question, read, sending, failed)
        except PassingError as error:
            count = attempts.statistics.get("attempt_number", 1)
            raise TeacherError(
                f"{self._who} gave no answer in {count} attempts; the last time {error}: "
                "check the server and runtime.link, then run again"
            ) from None

    async def _attempt(
        self,
        question: Callable[[], Question],
        read: Callable[[Reply], R],
        sending: Callable[[int], None],
        failed: asyncio.Event,
    ) -> R:
        made = question()
        while (wait := self._shared.resume - time.monotonic()) > 0 and not failed.is_set():
            await asyncio.sleep(min(wait, 0.5))
        if self._shared.limiter:
            await _acquired(self._shared.limiter)
        if failed.is_set():
            raise PassingError("another request failed")
        if made.images:
            sending(made.images)
        try:
            async with asyncio.timeout(self._link.timeout):
                status, reply = await self._send(made)
        except TimeoutError:
            raise PassingError(f"it had not answered in full after {self._link.timeout:g} s") from None
        except httpx2.HTTPError as error:
            raise self._fault(error) from None
        if status != HTTPStatus.OK:
            raise self._refusal(status, reply)
        return read(reply)

    async def _send(self, question: Question) -> tuple[int, Reply]:
        headers, content = dict(question.headers or {}), question.content
        if content is not None and self._link.compress:
            headers["Content-Encoding"] = "gzip"
            content = gzip.compress(content, 1, mtime=0)
        async with self._shared.client.stream(
            question.method, question.url, content=content, headers=headers
        ) as response:
            parts, size = [], 0
            async for part in response.aiter_bytes():
                parts.append(part)
                size += len(part)
                if size > _LARGEST:
                    raise TeacherError(
                        f"{self._who} answered with more than {_LARGEST >> 20} MiB: check teacher.http.url"
                    )
            return response.status_code, Reply(b"".join(parts), response.headers)

    def _fault(self, error: httpx2.HTTPError) -> Exception:
        """What a broken exchange means."""
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return TeacherError(
                    f"{self._who} shows a TLS certificate that is not trusted ({cause.verify_message}): "
                    "correct teacher.http.url, or name your authority's file in SSL_CERT_FILE"
                )
            cause = cause.__cause__ or cause.__context__
        reason = self.clean(str(error)) or type(error).__name__
        if isinstance(error, httpx2.UnsupportedProtocol | httpx2.LocalProtocolError):
            return TeacherError(f"{self._who} cannot be asked ({reason}): correct teacher.http")
        return PassingError(f"the exchange broke ({reason})")

    def _refusal(self, status: int, reply: Reply) -> Exception:
        """What a status other than 200 means."""
        phrase = http.client.responses.get(status, "")
        told = f"{status} {phrase}".strip() + self._message(reply)
        if status not in _MAY_PASS:
            return TeacherError(f"{self._who} answered {told}: {_REMEDIES.get(status, 'check teacher.http')}")
        after = _retry_after(reply.headers.get("Retry-After", ""))
        if after > self._link.patience:
            return TeacherError(
                f"{self._who} answered {told} and asks to wait {after:,.0f} s; runtime.link.patience is "
                f"{self._link.patience:g} s: run again later"
            )
        if after:
            self._shared.resume = max(self._shared.resume, time.monotonic() + after)
        return PassingError(f"it answered {told}", after)

    def _message(self, reply: Reply) -> str:
        """The server's own words, where it has any that are short."""
        try:
            content = orjson.loads(reply.content)
        except orjson.JSONDecodeError:
            return ""
        message = content.get("error") or content.get("detail") if isinstance(content, dict) else None
        return f" ({self.clean(message)})" if isinstance(message, str) and message else ""

    def clean(self, text: str) -> str:
        """One line of at most 160 characters, without the token."""
        words = " ".join((text.replace(self._secret, "***") if self._secret else text).split())
        return words if len(words) <= 160 else f"{words[:157]}..."


_REMEDIES = {
    400: "check teacher.input, dtype and layout",
    401: "check the token and teacher.http.token",
    403: "check the token's rights",
    404: "check teacher.http.url, teacher.http.model and teacher.version",
    413: "lower teacher.call_batch",
    415: "set runtime.link.compress=false and check teacher.http.body",
    422: "check teacher.input, dtype and layout",
}


@cache
def _shared(origin: str, link: Link, header: str, token: str) -> _Shared:  # noqa: ARG001  (a key)
    async def make() -> _Shared:  # inside the loop, which its parts belong to
        return _Shared(link, {header: token} if token else {})

    return _run(make())


def _run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run_coroutine_threadsafe(work, _loop()).result()


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="remote teachers", daemon=True).start()
    return loop


def _limiter(per_second: float) -> Limiter:
    """Evenly spaced below 20 a second; above, so many in any one second."""
    rate = Rate(1, ceil(1000 / per_second)) if per_second < 20 else Rate(int(per_second), 1000)
    return Limiter(rate, buffer_ms=0)


async def _acquired(limiter: Limiter) -> None:
    acquired = limiter.try_acquire_async("requests")
    if isinstance(acquired, Awaitable):
        await acquired


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    return max(_BACKOFF(state), error.after if isinstance(error, PassingError) else 0.0)


def _retry_after(value: str) -> float:
    """Seconds of a Retry-After header, which holds seconds or a date; 0 where it holds neither."""
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return 0.0
