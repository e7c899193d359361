"""`export`: what report and notebooks show can be taken along, every value exact."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from pipelines.errors import ApiframeWarehouseError, ConfigurationError
from pipelines.export import export
from pipelines.sandbox import Sandbox
from pipelines.settings import Settings
from pipelines.stores import connect
from pipelines.sync import sync

pytestmark = pytest.mark.everywhere


@pytest.fixture
def account(settings_for: Callable[..., Settings]) -> Iterator[tuple[Settings, Any]]:
    with Sandbox(jobs=0) as api:
        api.add(3, creditCost=0.1, status="COMPLETED", model="a,b", result={"images": ["x"]})
        api.add(1, creditCost=None, status="FAILED", error='=1+1 "quoted"\nline', model="c")
        chosen = settings_for(api)
        sync(chosen)
    with closing(connect(chosen)) as connection:
        yield chosen, connection


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".json"])
def test_a_view_is_a_file(account: tuple[Settings, Any], tmp_path: Path, ending: str) -> None:
    _, connection = account
    file = tmp_path / "new folder" / f"jobs{ending}"
    assert export(connection, "jobs", file) == 4
    assert file.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in file.parent.iterdir()] == [file.name]
    if ending == ".parquet":
        rows = pq.read_table(file).to_pylist()
        assert sum(row["credits"] for row in rows) == Decimal("0.3")
    elif ending == ".csv":
        rows = pd.read_csv(file, dtype=str).to_dict("records")
        assert sum(Decimal(row["credits"]) for row in rows) == Decimal("0.3")
    else:
        rows = json.loads(file.read_text(), parse_float=Decimal)
        assert sum(row["credits"] for row in rows) == Decimal("0.3")
    assert {row["model"] for row in rows} == {"a,b", "c"}
    assert '=1+1 "quoted"\nline' in {row["error"] for row in rows}


def test_a_table_has_its_full_name(account: tuple[Settings, Any], tmp_path: Path) -> None:
    _, connection = account
    assert export(connection, "apiframe.sync_runs", tmp_path / "x.csv") == 1
    assert export(connection, "reports.daily_spend", tmp_path / "y.csv") > 0


def test_what_cannot_be_written_is_told_and_leaves_what_was_there(
    account: tuple[Settings, Any], tmp_path: Path
) -> None:
    _, connection = account
    for name in ("nothing", "jobs; drop table x", "apiframe.nothing", ""):
        with pytest.raises(ConfigurationError, match=f"there is no view or table {name}; there are jobs|there are "):
            export(connection, name, tmp_path / "x.csv")
    with pytest.raises(ConfigurationError, match=r"x\.xlsx: the file must end in \.parquet, \.csv, \.json"):
        export(connection, "jobs", tmp_path / "x.xlsx")
    (tmp_path / "file").write_text("")
    with pytest.raises(ApiframeWarehouseError, match="cannot write"):
        export(connection, "jobs", tmp_path / "file" / "x.csv")
    assert sorted(each.name for each in tmp_path.iterdir() if each.is_file()) == ["file"]
