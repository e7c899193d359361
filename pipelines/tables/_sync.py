"""What a table may ask of the sync that fills it."""

from typing import Any, Protocol

from pipelines.apiframe.account import Account
from pipelines.apiframe.client import Client
from pipelines.settings import Settings
from pipelines.warehouse import Warehouse


class Sync(Protocol):
    """A sync that is under way."""

    client: Client
    settings: Settings
    warehouse: Warehouse
    account: Account  # whose key it is, as far as that is known
    models: dict[str, tuple[str | None, int]]  # known before, or named by a job: (modality, when it was asked for)
    catalogue: list[dict[str, Any]] | None  # of models, where this sync has asked for it

    @property
    def started_at(self) -> int:
        """The sync's own time, in microseconds since 1970."""
