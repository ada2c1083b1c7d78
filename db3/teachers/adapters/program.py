"""A running program that answers lines with lines, in their order: kept from one call to the next, ended with us."""

import atexit
import os
import selectors
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from typing import IO

from db3.errors import ConfigError, TeacherError, one_line
from db3.teachers.adapters.retries import RetryableError
from db3.teachers.base import Sending

_PIECE, _LONGEST, _TAIL = 1 << 16, 1 << 16, 400  # bytes read at once, of an answer, of its errors that are shown
_PATIENCE = 1.0  # seconds that a program has to end when its input has ended
Told = Callable[[str], None]
"""Called with each answer, in the order of the lines."""


class Program:
    """One program for all threads, which take turns.

    Args:
        command: program and arguments; no shell reads them.

    Attributes:
        guard: held by whoever asks.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._command, self.guard = list(command), threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._errors = b""

    def exchange(self, lines: Sequence[bytes], sending: Sending, told: Told, timeout: float, window: int) -> None:
        """Send lines and tell their answers, while at most `window` are under way.

        Args:
            lines: without their ends.
            sending: called with 1 before each line, and with −1 where the program cannot have had it. What it raises
                ends the sending; the answers under way are waited for.
            told: what it raises ends the program, whose further answers could not be told apart.
            timeout: seconds until the next answer.
            window: lines under way at most.

        Raises:
            RetryableError: the program ended, or was ended because it did not answer; a new one may be asked.
            ConfigError: it cannot be started.
        """
        process = self._running()
        try:
            _Exchange(process, lines, sending, told, window, self._keep_errors).run(timeout)
        except _SendingError as error:
            raise error.cause from None
        except _BrokenError as error:
            raise RetryableError(f"{error}{self._last_words(process)}") from None
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the program, and whatever it has started."""
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream:
                with suppress(OSError):
                    stream.close()

    def close(self) -> None:
        """Let the program end: its input ends, and what then still runs is ended."""
        if self._process is not None and self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_PATIENCE)
        self.stop()

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.stop()
        self._errors = b""
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the user's own command
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
            )
        except OSError as error:
            raise ConfigError(
                f"the program {self._command[0]} cannot be started ({error.strerror}): correct teacher.command, or "
                "make it executable"
            ) from None
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            os.set_blocking(_number(stream), False)
        return self._process

    def _keep_errors(self, content: bytes) -> None:
        self._errors = (self._errors + content)[-_TAIL:]

    def _last_words(self, process: "subprocess.Popen[bytes]") -> str:
        """Its exit status, where it has one, and the end of what it wrote to stderr; it is ended."""
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.2)
        status = process.poll()
        with suppress(OSError):
            while content := os.read(_number(process.stderr), _PIECE):
                self._keep_errors(content)
        self.stop()
        words = one_line(self._errors.decode("utf-8", "replace"), _TAIL)
        ended = f"; its exit status was {status}" if status is not None else ""
        return f"{ended}; it wrote to stderr: {words}" if words else f"{ended}; it wrote nothing to stderr"


class _BrokenError(Exception):
    """The program ended or hangs."""


class _SendingError(Exception):
    """Sending was forbidden; what was under way has been answered."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__()
        self.cause = cause


class _Exchange:
    """One `Program.exchange`: a loop over three pipes, none of which blocks it."""

    def __init__(
        self,
        process: "subprocess.Popen[bytes]",
        lines: Sequence[bytes],
        sending: Sending,
        told: Told,
        window: int,
        errors: Callable[[bytes], None],
    ) -> None:
        self._process, self._lines, self._sending, self._told = process, lines, sending, told
        self._window, self._errors = window, errors
        self._sent = self._answered = 0
        self._out, self._in, self._shut = b"", b"", False
        self._forbidden: BaseException | None = None

    def run(self, timeout: float) -> None:
        read, write = selectors.EVENT_READ, selectors.EVENT_WRITE
        with selectors.DefaultSelector() as ready:
            ready.register(_number(self._process.stdout), read, self._read)
            ready.register(_number(self._process.stderr), read, self._read_errors)
            if any(key.fd == _number(self._process.stdout) for key, _ in ready.select(0)):
                self._read()
            end = time.monotonic() + timeout
            while self._answered < self._sent or (self._sent < len(self._lines) and not self._forbidden):
                self._take_line()
                inlet, waiting = _number(self._process.stdin), bool(self._out)
                if waiting != (inlet in ready.get_map()):
                    ready.register(inlet, write, self._write) if waiting else ready.unregister(inlet)
                before = self._answered
                for key, _ in ready.select(max(0.0, end - time.monotonic())):
                    if key.data():
                        ready.unregister(key.fd)
                end = time.monotonic() + timeout if self._answered > before else end
                if time.monotonic() >= end:
                    self._take_back()
                    raise _BrokenError(
                        f"it printed no answer for {timeout:g} s, its runtime.link.timeout (does it flush each line?)"
                    )
        if self._forbidden:
            raise _SendingError(self._forbidden)

    def _take_line(self) -> None:
        """Announce the next line, where the last one is written and there may be one more under way."""
        under_way = self._sent - self._answered
        if self._out or self._forbidden or self._sent == len(self._lines) or under_way >= self._window:
            return
        if self._shut and not under_way:
            raise _BrokenError("it reads no more")
        if self._shut:
            return
        try:
            self._sending(1)
        except BaseException as error:
            self._forbidden = error
            return
        self._out = self._lines[self._sent] + b"\n"
        self._sent += 1

    def _take_back(self) -> None:
        """A line that was not written to its end has reached nobody."""
        if self._out:
            self._out, self._sent = b"", self._sent - 1
            self._sending(-1)

    def _write(self) -> bool:
        try:
            self._out = self._out[os.write(_number(self._process.stdin), self._out) :]
        except BlockingIOError:
            pass
        except OSError:  # a broken pipe; what it answered before is still to be read
            self._take_back()
            self._shut = True
        return False

    def _read(self) -> bool:
        content = os.read(_number(self._process.stdout), _PIECE)
        if not content:
            self._take_back()
            raise _BrokenError(f"it ended, {self._sent - self._answered} images unanswered")
        *lines, self._in = (self._in + content).split(b"\n")
        for line in lines:
            if self._answered == self._sent:
                raise TeacherError(_more(line))
            self._told(line.decode("utf-8", "replace").strip())
            self._answered += 1
        if len(self._in) > _LONGEST:
            raise TeacherError(
                f"it printed a line of more than {_LONGEST:,} bytes; expected one class a line: print all else to "
                "stderr"
            )
        if self._in and self._answered == self._sent:
            raise TeacherError(_more(self._in))
        return False

    def _read_errors(self) -> bool:
        """Whether there will be no more."""
        content = os.read(_number(self._process.stderr), _PIECE)
        self._errors(content)
        return not content


def _more(line: bytes) -> str:
    shown = one_line(repr(line.decode("utf-8", "replace")), 60)
    return f"it printed {shown}, which answers no image; expected one line for each: print all else to stderr"


def _number(stream: IO[bytes] | None) -> int:
    assert stream is not None  # noqa: S101 - all three are pipes
    return stream.fileno()


def program(command: tuple[str, ...]) -> Program:
    """The program that all teachers of this process with this command share."""
    return _program(command, os.getpid())


@cache
def _program(command: tuple[str, ...], process: int) -> Program:  # noqa: ARG001 - a forked process needs its own
    made = Program(command)
    atexit.register(made.close)
    return made
