"""The failures of remote teachers: which may pass (`db3.teachers.adapters.retries`), and what the others mean.

What is retried is safe to repeat: a request changes nothing on the server. It may be billed again, so every attempt is
announced before it is sent.
"""

import asyncio
import http.client
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

import httpx2
from tenacity import AsyncRetrying, retry_if_exception_type

from db3.errors import TeacherError
from db3.settings.teacher import Link
from db3.teachers.adapters.retries import Policy, RetryableError

T = TypeVar("T")
_MAY_PASS = frozenset({408, 425, 429, 500, 502, 503, 504})
_DOWN = frozenset({429, 502, 503, 504})  # nobody worked on it
_REMEDIES = {
    400: "check teacher.input, dtype, layout and http.request",
    401: "check the token and teacher.http.token",
    403: "check the rights of the token, or of the AWS keys, and the clock",
    404: "check teacher.http.url, teacher.http.model and teacher.version",
    413: "lower teacher.call_batch",
    415: "set runtime.link.compress=false and check teacher.http.body",
    422: "check teacher.input, dtype, layout and http.request",
}


async def retry(attempt: Callable[[], Awaitable[T]], link: Link, stopped: asyncio.Event, who: str) -> T:
    """Try until there is an answer; pauses are at least as long as the server asked to wait.

    Args:
        attempt: raises RetryableError to be called again, any other error to end it.
        link: how often, and how long.
        stopped: once it is set nothing is tried again, nor waited for.
        who: names the teacher in errors.

    Raises:
        TeacherError: the attempts are spent.
    """

    async def pause(seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(stopped.wait(), seconds)

    async def once() -> T:
        return await attempt()

    policy = Policy(link, stopped.is_set)
    retrying = AsyncRetrying(
        retry=retry_if_exception_type(RetryableError), stop=policy.stop, wait=policy.wait, sleep=pause, reraise=True
    )
    try:
        return await retrying(once)
    except RetryableError as error:
        raise TeacherError(
            f"{who} gave no answer {policy.told(error)}; the last time {error}: check the server and runtime.link, "
            "then run again"
        ) from None


def broken_exchange(error: httpx2.HTTPError, reason: str, sent: bool, who: str) -> TeacherError:
    """What a failure of the exchange itself means; `reason` is its message, without the token.

    Where nothing had been sent there is no server.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return TeacherError(
                f"{who} shows a TLS certificate that is not trusted ({cause.verify_message}): "
                "correct teacher.http.url, or name your authority's file in SSL_CERT_FILE"
            )
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx2.UnsupportedProtocol | httpx2.LocalProtocolError):
        return TeacherError(f"{who} cannot be asked ({reason}): correct teacher.http")
    return RetryableError(f"the exchange broke ({reason})", down=not sent)


def refused(status: int, message: str, retry_after: str, patience: float, who: str) -> TeacherError:
    """What a status other than 200 means.

    Args:
        status: of the reply.
        message: the server's own words, without the token; may be empty.
        retry_after: the header, or nothing.
        patience: longest wait, in seconds.
        who: names the teacher in errors.
    """
    answer = f"{status} {http.client.responses.get(status, '')}".strip() + (f" ({message})" if message else "")
    if status not in _MAY_PASS:
        return TeacherError(f"{who} answered {answer}: {_REMEDIES.get(status, 'check teacher.http')}")
    after = _seconds(retry_after)
    if after > patience:
        return TeacherError(
            f"{who} answered {answer} and asks to wait {after:,.0f} s; runtime.link.patience is {patience:g} s: "
            "run again later"
        )
    return RetryableError(f"it answered {answer}", after, status in _DOWN)


def _seconds(retry_after: str) -> float:
    """Of a Retry-After header, which holds seconds or a date; 0 where it holds neither."""
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        return max(0.0, (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return 0.0
