"""What one would write in an afternoon: requests, pandas, DuckDB; later runs look back 24 hours and merge by id."""

import json
import os
import sys
from collections.abc import Iterator
from typing import Any

import duckdb
import pandas as pd
import requests

COLUMNS = {
    "id": "VARCHAR",
    "status": "VARCHAR",
    "model": "VARCHAR",
    "progress": "DOUBLE",
    "creditCost": "DECIMAL(18,4)",
    "error": "VARCHAR",
    "webhookStatus": "VARCHAR",
    "createdAt": "TIMESTAMPTZ",
    "completedAt": "TIMESTAMPTZ",
    "expired": "BOOLEAN",
    "result": "JSON",
}
NAMES = {"creditCost": "credit_cost", "webhookStatus": "webhook_status"} | {
    "createdAt": "created_at",
    "completedAt": "completed_at",
}


def read(base_url: str, since: str | None) -> Iterator[dict[str, Any]]:
    session = requests.Session()
    session.headers["X-API-Key"] = os.environ["APIFRAME_API_KEY"]
    parameters = {"limit": "100"}
    while True:
        response = session.get(f"{base_url}/jobs", params=parameters, timeout=60)
        response.raise_for_status()
        page = response.json()
        yield from page["jobs"]
        if not page["hasMore"] or (since and page["jobs"][-1]["createdAt"] < since):
            return
        parameters["cursor"] = page["nextCursor"]


def main() -> None:
    connection = duckdb.connect("jobs.duckdb")
    connection.execute("set TimeZone = 'UTC'")
    columns = ", ".join(f"{NAMES.get(name, name)} {kind}" for name, kind in COLUMNS.items())
    connection.execute(f"create table if not exists jobs ({columns})")
    since = connection.execute(
        "select strftime(max(created_at) - interval 24 hour, '%Y-%m-%dT%H:%M:%S.%gZ') from jobs"
    ).fetchall()[0][0]
    fresh = pd.DataFrame(read(sys.argv[1], since), columns=list(COLUMNS))
    fresh["result"] = fresh["result"].map(json.dumps, na_action="ignore")
    connection.register("fresh", fresh)
    chosen = ", ".join(f'"{name}"::{kind}' for name, kind in COLUMNS.items())
    connection.execute("begin")
    connection.execute("delete from jobs where id in (select id from fresh)")
    connection.execute(f"insert into jobs select {chosen} from fresh")
    connection.execute("commit")
    connection.close()


if __name__ == "__main__":
    main()
