"""What jobs that are looked up by id prove: that those which a list did not show are gone, or whose warehouse it is.

Promises that a list that was cut short is an error, and that jobs which were really deleted are not one for ever.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from typing import TypeVar

from pipelines.apiframe.answers import UndocumentedError
from pipelines.apiframe.client import Client
from pipelines.apiframe.fetch import Searches, read
from pipelines.errors import ConfigurationError

Item = TypeVar("Item")

SAMPLE = 5  # jobs that speak for all: the newest, the oldest, some between


class LeftOutError(UndocumentedError):
    """The API finds by id what its list leaves out."""


def require_gone(
    client: Client,
    ids: Sequence[str],
    *,
    found: Collection[str],
    absent: Collection[str],
    listed: str | None,
    whole: bool,
) -> None:
    """Raise UndocumentedError unless the API no longer knows these jobs, in order of their age.

    It is a LeftOutError where the API finds one of them.

    `found` and `absent` are what was looked up by id already, `listed` is a job that the list has shown: where a
    search does not find that one, the API contradicts itself. Where it cannot be asked (it lists nothing, does not
    search, or takes no such ids), `whole`, a list that was asked for from its top to its end, is believed, and any
    other is not.
    """
    if not ids:
        return
    contradicted = set(ids) & set(found)
    sample = [identity for identity in spread(ids, SAMPLE) if is_searchable(identity)]
    searches = Searches([] if contradicted else [job for job in sample if job not in absent], listed)
    for _ in read(client, searches, 0):
        pass
    contradicted |= searches.found & set(sample)
    jobs = "a job" if len(ids) == 1 else f"{len(ids):,} jobs"
    if contradicted:
        lasting = "begin another warehouse.path" if whole else "run sync --full"
        raise LeftOutError(
            f"{client.base_url}/jobs leaves out {jobs} known to exist, and finds {min(contradicted)} by its id: its "
            "list was cut short; nothing was taken for deleted, run again later. If the API really lists no further "
            f"back, {lasting}"
        )
    if searches.contradicted:
        raise UndocumentedError(
            f"{client.base_url}/jobs leaves out {jobs} known to exist, and does not find {listed} by its id, which it "
            "has just listed: nothing was taken for deleted, run again later"
        )
    proven = listed is not None and searches.honoured and bool(sample)
    if not proven and not whole:
        raise UndocumentedError(
            f"{client.base_url}/jobs leaves out {jobs} known to exist, and it cannot be asked for them by id: "
            "run again later; if they were really deleted, sync --full takes its word for it"
        )


def require_ours(client: Client, ids: Sequence[str], place: object) -> None:
    """Raise ConfigurationError where the API searches, and finds none of these jobs of `place`.

    For a warehouse of which nothing else tells whose it is. Usually one request.
    """
    sample = [identity for identity in spread(ids, SAMPLE) if is_searchable(identity)]
    for identity in sample:
        searches = Searches([identity])
        for _ in read(client, searches, 0):
            pass
        if searches.found or not searches.honoured:
            return
    if sample:
        raise ConfigurationError(
            f"this key finds none of the jobs in {place}: they are another account's, or all deleted; "
            "use the key that has loaded them, or set another warehouse.path"
        )


def spread(items: Sequence[Item], most: int) -> list[Item]:
    """Return the first, the last and some between."""
    if len(items) <= most:
        return list(items)
    return [items[place * (len(items) - 1) // (most - 1)] for place in range(most)]


def is_searchable(identity: str) -> bool:
    """Tell whether the API can search for this id: it takes nothing but UUIDs."""
    try:
        uuid.UUID(identity)
    except ValueError:
        return False
    return True
