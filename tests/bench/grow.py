"""Make the history of a warehouse longer: so many times its jobs, each copy older than the one before.

Nobody waits until an API has served ten million jobs; the rows are stored as a first load of them would have left them.
"""

import sys
from pathlib import Path

from pipelines import settings
from pipelines.stores.duckdb import DuckDBStore
from pipelines.tables import SCHEMA


def main() -> None:
    path, times = Path(sys.argv[1]), int(sys.argv[2])
    store = DuckDBStore(settings.load({}, path=str(path)))
    with store.lock(0), store.open():
        columns = [name for (name,) in store.query(f"select column_name from (describe {SCHEMA}.jobs)")]
        [(span,)] = store.query(
            f"select epoch_us(max(created_at)) - epoch_us(min(created_at)) + 1000000 from {SCHEMA}.jobs"
        )
        store.query(f"create temp table first as from {SCHEMA}.jobs")
        for copy in range(1, times):
            mark, back = f"md5(id || '{copy}')", f"to_microseconds({copy * span})"
            made = {
                "id": f"cast(cast({mark} as uuid) as varchar)",  # as hard to compress as one of the API's
                "result": f"cast(replace(result, 'results/', 'results/' || {mark}[:8]) as json)",
                "created_at": f"created_at - {back}",
                "completed_at": f"completed_at - {back}",
            }
            store.query(
                f"insert into {SCHEMA}.jobs select {', '.join(made.get(name, name) for name in columns)} from first"
            )
        store.query(
            f"update {SCHEMA}.sync_runs set jobs_new = (select count(*) from {SCHEMA}.jobs) where mode = 'first'"
        )
        store.publish()


if __name__ == "__main__":
    main()
