"""dlt's rest_api source as its tutorial shows it: merge on the id, an incremental cursor on createdAt."""

import os
import sys

import dlt
from dlt.sources.rest_api import rest_api_source


def main() -> None:
    source = rest_api_source(
        {
            "client": {
                "base_url": sys.argv[1],
                "auth": {"type": "api_key", "name": "X-API-Key", "api_key": os.environ["APIFRAME_API_KEY"]},
                "paginator": {"type": "cursor", "cursor_path": "nextCursor", "cursor_param": "cursor"},
            },
            "resources": [
                {
                    "name": "jobs",
                    "primary_key": "id",
                    "write_disposition": "merge",
                    "endpoint": {
                        "path": "jobs",
                        "data_selector": "jobs",
                        "params": {"limit": 100},
                        "incremental": {"cursor_path": "createdAt"},
                    },
                }
            ],
        }
    )
    dlt.pipeline("tutorial", destination=dlt.destinations.duckdb("jobs.duckdb"), dataset_name="peer").run(source)


if __name__ == "__main__":
    main()
