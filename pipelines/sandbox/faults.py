"""For tests alone: the faults that can be ordered from the sandbox, and which request each one meets."""

import threading
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

# Options with their defaults, by kind.
KINDS: Final[dict[str, dict[str, Any]]] = {
    "429": {"retry_after": 1},  # seconds, or any text; None: no such header
    "401": {},
    "403": {},
    "404": {},
    "500": {},
    "502": {},
    "503": {"retry_after": None},
    "timeout": {"seconds": None},  # None: until the client goes away
    "drip": {},  # a body that comes byte by byte, until the client goes away
    "reset": {},
    "truncated": {},
    "html": {},
    "error_body": {},
    "garbage": {"body": b"{}"},  # an answer of these bytes
    "no_team": {},  # of /me
    "redirect": {"location": "/login"},
    "missing_cursor": {},
    "repeated_cursor": {"back": 0},  # pages: 0 leads to this one again, 1 to the one before
    "no_jobs": {},
    "unordered": {},
    "empty_page": {},
    # A moment: the list ends above it; None: this page is the last. Searches find nothing where they are `blind`.
    "early_end": {"before": None, "blind": False},
    "empty_end": {},
    "oversize": {"limit": 0, "job": None},  # pages of more than `limit` jobs; of those, only the ones with this id
    "skewed_date": {"seconds": 0},  # ahead; behind where negative
}
#: More than a client has to take in one answer.
OVERSIZE_BYTES: Final = 2**26 + 1


@dataclass
class Fault:
    """One order: `times` requests (None: every one) to `path`, after `after` that go unharmed."""

    kind: str
    times: int | None
    after: int
    path: str
    options: dict[str, Any]


class Faults:
    """All orders that stand. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._orders: list[Fault] = []

    def order(self, kind: str, times: int | None, after: int, path: str, options: dict[str, Any]) -> None:
        """Add one; ValueError where the kind, or one of its options, is unknown."""
        if kind not in KINDS:
            raise ValueError(f"unknown fault {kind!r}: one of {', '.join(KINDS)}")
        if unknown := set(options) - set(KINDS[kind]):
            raise ValueError(f"fault {kind!r} has no option {', '.join(sorted(unknown))}")
        with self._lock:
            self._orders.append(Fault(kind, times, after, path, KINDS[kind] | options))

    def clear(self) -> None:
        """Forget all orders."""
        with self._lock:
            self._orders.clear()

    def meet(self, path: str) -> Fault | None:
        """The fault that this request meets: the first order that is due; `after` of the others runs on."""
        met = None
        with self._lock:
            for order in self._orders:
                if not fnmatchcase(path, order.path):
                    continue
                if order.after:
                    order.after -= 1
                elif met is None and order.times != 0:
                    met = order
                    if order.times is not None:
                        order.times -= 1
        return met
