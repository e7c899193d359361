"""The views of `reports` in a Spark session, over the Delta tables of a lake: for more than one machine.

Views live as long as the session: `apiframe_jobs`, `reports_jobs`, `reports_daily_spend`, ... Those that are not
common to all engines (assets, focus, input_values, reconciliation) are left out. Spark itself is the caller's: any
session will do, local or cluster.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from deltalake import DeltaTable

from pipelines import reports
from pipelines.errors import ApiframeWarehouseError
from pipelines.settings import WORTH_SAYING, Impact
from pipelines.tables import tables

#: What a table may ask of its readers, without their files alone telling something else than the table.
HARMLESS = {"timestampNtz", "v2Checkpoint"}


def register(
    spark: Any,
    lake: str,
    timezone: str = "UTC",
    error_classes: Path | None = None,
    storage_options: Mapping[str, str] | None = None,
    own: Path | None = None,
    label_rules: Path | None = None,
    min_impact: Impact = WORTH_SAYING,
) -> list[str]:
    """Make the views over the tables in `lake` (the folder `apiframe` of the bucket) and return their names.

    Where the session has the Delta connector, tables are read with it and views show what is live when they are
    asked. Without it, the files that are live now are read: call this again after a sync. `storage_options` are
    deltalake's, for listing those files; the session needs its own access to the store. `own` is a folder of your views
    (`.dlt/views`); one that Spark does not take is left out with a warning. `error_classes` and `label_rules` are your
    files of rules, `min_impact` is `checks.min_impact`.
    """
    for name in tables():
        _read(spark, f"{lake.rstrip('/')}/{name}", storage_options).createOrReplaceTempView(f"apiframe_{name}")
    found = reports.definitions(timezone, error_classes, "spark", own, label_rules, min_impact)
    made, notes = [], list(found.notes)
    for view in found.views:
        try:
            spark.sql(_named(found.queries[view.name])).createOrReplaceTempView(f"reports_{view.name}")
        except Exception as problem:  # Spark's errors have no class of their own without Spark
            if not view.own:
                raise
            notes.append(reports.left_out(reports.mistake(view, str(problem))))
        else:
            made.append(f"reports_{view.name}")
    for note in notes:
        warnings.warn(note, stacklevel=2)
    return made


def _read(spark: Any, location: str, storage_options: Mapping[str, str] | None) -> Any:
    if "DeltaSparkSessionExtension" in (spark.conf.get("spark.sql.extensions", None) or ""):
        return spark.read.format("delta").load(location)
    table = DeltaTable(location, storage_options=dict(storage_options or {}))
    protocol = table.protocol()
    asked = set(protocol.reader_features or ()) - HARMLESS
    if asked or protocol.min_reader_version == 2:
        raise ApiframeWarehouseError(
            f"{location} uses {', '.join(sorted(asked)) or 'column mapping'}: its files alone do not tell what it "
            "holds; start Spark with the Delta connector"
        )
    fields = [f"`{field.name}` {_type(field.type)}" for field in table.schema().fields]
    files = [unquote(file) for file in table.file_uris()]  # Spark takes a path as it is written
    schema = ", ".join(fields)
    return spark.read.schema(schema).parquet(*files) if files else spark.createDataFrame([], schema)


def _type(kind: Any) -> str:
    return {"long": "bigint", "integer": "int"}.get(kind.type, str(kind.type))


def _named(query: str) -> str:
    """Name tables as a session can: without a schema, which views of a session cannot have."""

    def name(found: re.Match[str]) -> str:
        keyword, schema, table, alias = found.groups()
        return f"{keyword} {schema}_{table}{alias or f' as {table}'}"

    return re.sub(r"\b(from|join)\s+(apiframe|reports)\.(\w+)(\s+as\s+\w+)?", name, query)
