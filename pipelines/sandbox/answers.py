"""What the sandbox answers to each request: who may ask, the pages of the list, one job, the account, the catalogue."""

import hashlib
import re
from typing import Final, Self
from urllib.parse import unquote

import orjson

from pipelines.sandbox.catalogue import MODELS
from pipelines.sandbox.faults import Fault
from pipelines.sandbox.lives import MINE, OTHERS, STATUSES, Job, uuid_text
from pipelines.sandbox.moods import Moods
from pipelines.sandbox.protocol import UUID, Cursor, Filter, Refused, invalid, one_of, parameters

_PARAMETERS: Final = ("status", "model", "limit", "cursor", "scope", "search", "include_models")


class Answers(Moods):
    """Keys, and what is answered to them."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.api_key, self.member_key, self.inactive_key, self.second_key = (
            _key(f"{who} {seed}") for who in ("admin", "member", "former", "second")
        )
        self._guests: dict[str, Self] = {}
        self._ids = {name: _uuid(f"{name} {seed}") for name in ("team", *self._keys)}

    @property
    def _keys(self) -> tuple[str, ...]:
        return self.api_key, self.second_key, self.member_key

    def host(self, other: Self) -> None:
        """Answer the keys of another account too, from its own jobs, as one API does. It need not be started."""
        self._guests |= dict.fromkeys(other._keys, other)

    def clock_and_number(self) -> tuple[float, int]:
        """For the headers: seconds since the epoch, and the number of this answer."""
        with self._lock:
            return self._world.now / 1000 + self.skew.total_seconds(), next(self._numbers)

    def answer(self, path: str, query: list[tuple[str, str]], key: str | None, fault: Fault | None) -> Job:
        """The body of a 200, or Refused. `fault` is one that changes a page, None for a true one."""
        if key in self._guests:
            return self._guests[key].answer(path, query, key, fault)
        with self._lock:
            self._tick()
            if path == "/models":
                return self._models(parameters(query, ("modality",)))
            if path not in ("/jobs", "/me") and not re.fullmatch(r"/jobs/[^/]+", path):
                raise Refused(404, "Not found")
            caller = self._caller(key)
            if path == "/me":
                return self._me(caller, str(key), fault)
            if path == "/jobs":
                return self._page(parameters(query, _PARAMETERS), caller, fault)
            return self._job(unquote(path.removeprefix("/jobs/")), caller)

    def _caller(self, key: str | None) -> int:
        if not key:
            raise Refused(401, "API key is required")
        if key == self.inactive_key:
            raise Refused(403, "API key is inactive")
        if key not in self._keys:
            raise Refused(401, "Invalid API key")
        return OTHERS if key == self.member_key else MINE

    def _models(self, query: dict[str, str]) -> Job:
        modality = query.get("modality")
        one_of(query, "modality", ("image", "video", "music"))
        return {
            "models": [
                {
                    "id": model.id,
                    "label": model.label,
                    "modality": model.modality,
                    "pricingMode": model.pricing,
                    "costMin": min(model.costs),
                    "costMax": max(model.costs),
                }
                for model in MODELS
                if modality in (None, model.modality)
            ]
        }

    def _me(self, caller: int, key: str, fault: Fault | None) -> Job:
        name, role, first = (
            ("owner", "ADMIN", self.api_key) if caller == MINE else ("member", "MEMBER", self.member_key)
        )
        return {
            "user": {"id": _uuid(f"user {first}"), "email": f"{name}@example.com", "role": role},
            "team": {
                "id": self._ids["team"],
                "name": "Sandbox",
                "credits": orjson.Fragment(self._world.ledger.number()),
                "plan": self._world.ledger.plan,
                "customerId": None,
            }
            if fault is None or fault.kind != "no_team"
            else None,
            "apiKey": {"id": self._ids[key], "name": f"{name}'s key", "prefix": key[:8]},
        }

    def _job(self, job_id: str, caller: int) -> Job:
        if not UUID.fullmatch(job_id):
            raise Refused(400, "Invalid job id: must be a UUID")
        try:
            row = self._world.row(job_id)
        except KeyError:
            row = None
        if row is None or self._world.owner[row] != caller:
            raise Refused(404, "Job not found")
        return self._world.input(row) | self._world.render(row)

    def _page(self, query: dict[str, str], caller: int, fault: Fault | None) -> Job:
        size = _size(query)
        asked = self._cursor(query["cursor"]) if "cursor" in query else None
        if query.get("scope") == "team" and caller != MINE:
            raise Refused(403, "Only team admins can list the team's jobs")
        owner = None if query.get("scope") == "team" else caller
        narrowed = Filter(owner, None, None, None)
        if not self.ignore_filters:
            narrowed = Filter(owner, query.get("status"), query.get("model"), query.get("search"))
        narrowed, after, offset = self._behind(narrowed, asked)
        rows = self._slice(narrowed, after, offset, size + 1)
        more, rows = len(rows) > size, rows[:size]
        last = self._world.position(rows[-1]) if rows else after
        cursor = Cursor(self._epoch, last, offset + len(rows), narrowed, 0).text() if more else None
        page: Job = {"jobs": [self._world.encoded(row) for row in rows], "nextCursor": cursor, "hasMore": more}
        if query.get("include_models") == "true":
            page["models"] = self._world.models(owner)
        if fault is not None:
            here = asked or Cursor(self._epoch, None, 0, narrowed, 0)
            self._spoil(page, fault, rows, size, here)
        return page

    def _cursor(self, text: str) -> Cursor:
        cursor = Cursor.read(text)
        if cursor is None or cursor.epoch != self._epoch:
            raise invalid("cursor", "Invalid cursor")
        return cursor


def _size(query: dict[str, str]) -> int:
    """The size of the page; Refused where a parameter is not as documented."""
    one_of(query, "status", STATUSES)
    one_of(query, "scope", ("user", "team"))
    one_of(query, "include_models", ("true", "false"))
    limit = query.get("limit", "20")
    if not re.fullmatch(r"[0-9]{1,9}", limit, re.ASCII) or not 1 <= int(limit) <= 100:
        raise invalid("limit", "Must be an integer from 1 to 100")
    if "search" in query and not UUID.fullmatch(query["search"]):
        raise invalid("search", "Invalid uuid")
    return int(limit)


def _uuid(name: str) -> str:
    return uuid_text(int.from_bytes(hashlib.sha256(name.encode()).digest()[:15], "big"))


def _key(name: str) -> str:
    return f"afk_{hashlib.sha256(name.encode()).hexdigest()[:40]}"
