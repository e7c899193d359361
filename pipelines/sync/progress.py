"""How far a first load or a full sync has come: kept in dlt's state with the rows that it stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

VERSION = 1


@dataclass(frozen=True)
class Progress:
    """What a sync that was cut short has left; `slices` is what it had still to read (none: nothing to go on from)."""

    mode: str | None = None
    since: int | None = None
    base_url: str | None = None
    number: int = 0
    user_id: str | None = None
    team_id: str | None = None
    started_at: int = 0
    high_water_mark: int | None = None
    slices: Sequence[Mapping[str, Any]] = ()
    version: int = VERSION


def understood(kept: Mapping[str, Any]) -> Progress:
    """Return what was kept. Of another version only whose jobs they are counts: the reading starts over."""
    names = {field.name for field in fields(Progress)}
    if kept.keys() <= names and kept.get("version", VERSION) == VERSION:
        return Progress(**kept)
    return Progress(base_url=kept.get("base_url"), user_id=kept.get("user_id"), team_id=kept.get("team_id"))
