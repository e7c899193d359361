"""The API's catalogue of models: the modality of a job, asked for no more than is needed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from pipelines.apiframe.answers import ApiError
from pipelines.apiframe.client import Client
from pipelines.apiframe.records import Row
from pipelines.exact import microseconds

AGE = microseconds(timedelta(days=1))


class Catalogue:
    """What is known of models. One that cannot be read is a note, no error."""

    def __init__(self, client: Client, models: Mapping[str, tuple[str | None, int]] | None = None) -> None:
        self.models = dict(models or {})  # known before, or named by a job: (modality, when it was asked for)
        self.modalities = {model: modality for model, (modality, _) in self.models.items() if modality}
        self.listed: list[dict[str, Any]] | None = None  # as served, where it was asked for
        self.note: str | None = None
        self._client = client
        self._asked = False

    def ask(self) -> bool:
        """Ask for it; tells whether it came."""
        self._asked = True
        try:
            self.listed = self._client.models()
        except ApiError as problem:
            self.note = f"the catalogue of models could not be read: {problem}"
            return False
        found = {model["id"]: kind for model in self.listed if isinstance(kind := model.get("modality"), str)}
        now = self._client.now()
        self.models = {model["id"]: (found.get(model["id"]), now) for model in self.listed}
        self.modalities.update(found)
        return True

    def completed(self, rows: list[Row]) -> list[Row]:
        """Return rows with their modality: asks where one names an unknown model, at most once a day otherwise."""
        unknown = {row.model for row in rows if row.model is not None} - self.models.keys()
        now = self._client.now()
        oldest = min((asked for _, asked in self.models.values()), default=0)
        if rows and not self._asked and (unknown or now - oldest > AGE) and self.ask():
            rows = [row._replace(modality=self.modalities.get(row.model or "", row.modality)) for row in rows]
        # A model that the catalogue does not list is remembered too, so as not to ask for it at every sync.
        self.models |= dict.fromkeys(unknown - self.models.keys(), (None, now))
        return rows
