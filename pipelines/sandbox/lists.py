"""The jobs of the sandbox as lists: every filter's rows, newest first, kept in order while jobs are born and end."""

from __future__ import annotations  # array[int] is for type checkers only before Python 3.12

from array import array
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator

import orjson

from pipelines.sandbox.catalogue import DAY_MS
from pipelines.sandbox.lives import FOREVER, OPEN, Lives, Position

_KEPT = 200_000  # encoded jobs, about 100 MB


class Lists(Lives):
    """Which jobs are listed where."""

    def __init__(self, days: int, seed: int, now: int, mix: str) -> None:
        super().__init__(days, seed, now, mix)
        # Sorted rows, oldest first, by (owner, settled status, model), None being any; made when asked for.
        self._lists: dict[tuple[int | None, int | None, int | None], array[int]] = {}
        self._encoded: dict[int, tuple[orjson.Fragment, int]] = {}  # with the moment until which it holds

    def _keys(self, row: int) -> Iterator[tuple[int | None, int | None, int | None]]:
        for owner in (None, self.owner[row]):
            for status in (None, self._settled[row]):
                for model in (None, self._model[row]):
                    yield owner, status, model

    def _list(self, row: int) -> None:
        position = self.position(row)
        for key in self._keys(row):
            rows = self._lists.get(key)
            if rows is None:
                continue
            if not rows or self.position(rows[-1]) < position:
                rows.append(row)
            else:
                insort(rows, row, key=self.position)

    def _unlist(self, row: int) -> None:
        self._encoded.pop(row, None)
        position = self.position(row)
        for key in self._keys(row):
            if (rows := self._lists.get(key)) is not None:
                del rows[bisect_left(rows, position, key=self.position)]

    def _resettle(self, row: int) -> None:
        """Put a row whose plan has come to its end from the open lists into those of its final status."""
        if self._gone[row] or self._settled[row] != OPEN or self._ended[row] > self.now:
            return
        position = self.position(row)
        for key in self._keys(row):
            if key[1] is not None and (rows := self._lists.get(key)) is not None:
                del rows[bisect_left(rows, position, key=self.position)]
        self._settled[row] = self._outcome[row]
        for key in self._keys(row):
            if key[1] is not None and (rows := self._lists.get(key)) is not None:
                insort(rows, row, key=self.position)

    def _rows(self, owner: int | None, status: int | None, model: int | None) -> array[int]:
        """The sorted rows of one filter, kept up to date once it was asked for."""
        key = (owner, status, model)
        if key not in self._lists:
            owners, settled, models = self.owner, self._settled, self._model
            base = self._lists[None, None, None]
            if owner is not None and key != (owner, None, None):
                base = self._rows(owner, None, None)
            chosen: Iterable[int] = base
            if owner is not None:
                chosen = (row for row in chosen if owners[row] == owner)
            if status is not None:
                chosen = (row for row in chosen if settled[row] == status)
            if model is not None:
                chosen = (row for row in chosen if models[row] == model)
            self._lists[key] = array("I", chosen)
        return self._lists[key]

    def page(
        self, owner: int | None, status: str | None, model: str | None, after: Position | None, limit: int
    ) -> list[int]:
        """At most `limit` rows that follow a position (None: the top), newest first."""
        if model is not None and model not in self._models:
            return []
        which = None if model is None else self._models.index(model)
        if status is None:
            return self._before(self._rows(owner, None, which), after, limit)
        if status not in self._statuses:
            return []
        settled = self._before(self._rows(owner, self._statuses.index(status), which), after, limit)
        open_ = self._before(self._rows(owner, OPEN, which), after, FOREVER)
        moving = [row for row in open_ if self.status(row) == status]
        return sorted(settled + moving, key=self.position, reverse=True)[:limit]

    def find(self, job_id: str, owner: int | None, status: str | None, model: str | None) -> list[int]:
        """The row of one id, where the filter lets it through."""
        try:
            row = self.row(job_id)
        except KeyError:
            return []
        fits = (
            owner in (None, self.owner[row])
            and status in (None, self.status(row))
            and model in (None, self._models[self._model[row]])
        )
        return [row] if fits else []

    def _before(self, rows: array[int], after: Position | None, limit: int) -> list[int]:
        end = len(rows) if after is None else bisect_left(rows, after, key=self.position)
        return rows[max(0, end - limit) : end].tolist()[::-1]

    def models(self, owner: int | None) -> list[str]:
        """The names of the models that an owner's jobs are served with."""
        used = (name for i, name in enumerate(self._models) if self._rows(owner, None, i))
        return sorted(name for name in used if isinstance(name, str))

    def encoded(self, row: int) -> orjson.Fragment:
        """The same as JSON, kept for as long as it stays the same."""
        kept, until = self._encoded.get(row, (None, 0))
        if kept is not None and self.now < until:
            return kept
        # A copy: what orjson returns stays as large as its working buffer (400 MB for 100,000 jobs, not 50).
        fresh = orjson.Fragment(bytes(memoryview(orjson.dumps(self.render(row)))))
        ended = self._ended[row]
        if self.now >= ended + self._webhook[row] * 1000 and row not in self._refunds:
            if len(self._encoded) >= _KEPT:
                self._encoded.clear()
            expires = ended + DAY_MS
            self._encoded[row] = (fresh, expires if self.now < expires else FOREVER)
        return fresh
