"""Faults that a test server commits on request, and the schedule that says when.

Sizes are in bytes of the body, times in seconds. Each fault is a value; the server that serves an
exchange acts on it.
"""

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class HangUp:
    """No answer at all: the connection ends; with `processed`, after the request was obeyed."""

    processed: bool = False
    reset: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """The connection ends after so many body bytes; `reset` sends RST instead of FIN."""

    after: int
    of: Literal["sent", "received"] = "sent"
    reset: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Stall:
    """The answer stands still for a time after so many body bytes, then goes on."""

    seconds: float
    after: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyStatus:
    """The answer comes after so many bytes of the request's body; then the connection ends.

    With `reset` the client's unread bytes make the kernel send RST at once, which can destroy the
    answer; without, the server half-closes first and waits half a second, as Go's does.
    """

    status: int
    after: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    reset: bool = False


@dataclass(frozen=True, slots=True)
class WrongLength:
    """Content-Length is off by so many bytes; all real bytes are sent, then the connection ends."""

    by: int


@dataclass(frozen=True, slots=True)
class ExtraBytes:
    """The body is longer than it should be, and Content-Length agrees with it."""

    data: bytes = b"extra"


@dataclass(frozen=True, slots=True)
class FlippedByte:
    """One byte of the body has all its bits inverted."""

    at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Another answer; the request's body is read, and nothing is done."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Delay:
    """The request is obeyed after a time."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Drip:
    """The body comes byte by byte, with a pause after each."""

    seconds: float


Fault = (
    HangUp
    | Drop
    | Stall
    | EarlyStatus
    | WrongLength
    | ExtraBytes
    | FlippedByte
    | Status
    | Delay
    | Drip
)


@dataclass(slots=True)
class _Planned:
    method: str
    pattern: re.Pattern[str]
    fault: Fault
    times: int
    after: int


class Schedule:
    """Which requests meet which fault. Safe to use from several threads."""

    def __init__(self) -> None:
        self._plans: list[_Planned] = []
        self._lock = threading.Lock()

    def add(self, method: str, pattern: str, fault: Fault, times: int, after: int) -> None:
        """Plan a fault for `times` matching requests, once `after` others have passed."""
        with self._lock:
            self._plans.append(_Planned(method, re.compile(pattern), fault, times, after))

    def take(self, method: str, target: str) -> Fault | None:
        """Return the fault that this request meets; plans are asked in their order."""
        with self._lock:
            for plan in self._plans:
                if plan.method not in (method, "*") or not plan.pattern.search(target):
                    continue
                if plan.after:
                    plan.after -= 1
                elif plan.times:
                    plan.times -= 1
                    return plan.fault
        return None
