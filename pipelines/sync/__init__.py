"""One sync: lock, read, load, record, publish."""

from pipelines.sync.conductor import Outcome, sync

__all__ = ["Outcome", "sync"]
