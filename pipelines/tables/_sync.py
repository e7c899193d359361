"""What a table may ask of the sync that fills it."""

from collections.abc import Mapping
from typing import Any, Protocol

from pipelines.apiframe.account import Account
from pipelines.apiframe.catalogue import Catalogue
from pipelines.apiframe.client import Client
from pipelines.settings import Settings
from pipelines.stores import Store
from pipelines.warehouse import Warehouse


class Sync(Protocol):
    """A sync that is under way."""

    client: Client
    settings: Settings
    store: Store
    warehouse: Warehouse
    account: Account  # whose key it is, as far as that is known
    catalogue: Catalogue  # of models
    given: Mapping[str, Any]  # by table: what its check has returned

    @property
    def started_at(self) -> int:
        """The sync's own time, in microseconds since 1970."""
