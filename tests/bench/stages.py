"""Parts of a warehouse's life timed apart, in a process of their own; prints seconds as JSON."""

import json
import sys
import time
from pathlib import Path

from pipelines import reports, settings
from pipelines.stores.duckdb import DuckDBStore, connect_readonly


def main() -> None:
    path = Path(sys.argv[1])
    store = DuckDBStore(settings.load({}, path=str(path)))
    with store.lock(0), store.open():
        begun = time.perf_counter()
        store.publish()
        seconds = {"publish": time.perf_counter() - begun}
    connection = connect_readonly(path)
    for view in reports.read_views():
        begun = time.perf_counter()
        connection.sql(f"select * from reports.{view.name}").to_arrow_table()
        seconds[view.name] = time.perf_counter() - begun
    connection.close()
    sys.stdout.write(json.dumps(seconds))


if __name__ == "__main__":
    main()
