"""Promise 5: what the API does not document is kept as it came, or refused with its content."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from support import JOBS, query, stale, stored

import pipelines.tables
from pipelines import settings
from pipelines.errors import ApiframeWarehouseError
from pipelines.sandbox import REMOVED, Sandbox
from pipelines.settings import Settings
from pipelines.sync import sync

Make = Callable[..., Settings]


#: What a job is served with, and what its row has to say.
CASES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"prompt": "a cat", "nested": {"a": [1, {}]}}, {"extra": {"prompt": "a cat", "nested": {"a": [1, {}]}}}),
    ({"status": "ARCHIVED"}, {"status": "ARCHIVED"}),
    ({"status": None}, {"status": None}),
    ({"status": REMOVED}, {"status": None}),
    ({"webhookStatus": "sent"}, {"webhook_status": "sent"}),
    ({"webhookStatus": {"state": "sent"}}, {"webhook_status": '{"state":"sent"}'}),
    ({"creditCost": 10.5}, {"credit_cost": Decimal("10.5000"), "extra": None}),
    ({"creditCost": "12"}, {"credit_cost": Decimal("12.0000")}),
    ({"creditCost": "a dozen"}, {"credit_cost": None, "extra": {"creditCost": "a dozen"}}),
    ({"creditCost": 0.00001}, {"extra": {"creditCost": 0.00001}}),
    ({"creditCost": 10**15}, {"credit_cost": None, "extra": {"creditCost": 10**15}}),
    ({"creditCost": True}, {"credit_cost": None, "extra": {"creditCost": True}}),
    ({"progress": "55"}, {"progress": 55.0}),
    ({"progress": 33.25}, {"progress": 33.25}),
    ({"progress": {"step": 3}}, {"progress": None, "extra": {"progress": {"step": 3}}}),
    ({"expired": "true"}, {"expired": True}),
    ({"expired": "perhaps"}, {"expired": None, "extra": {"expired": "perhaps"}}),
    ({"error": {"code": 7, "text": "x"}}, {"error": '{"code":7,"text":"x"}'}),
    ({"model": ["a", "b"]}, {"model": '["a","b"]'}),
    ({"completedAt": "soon"}, {"completed_at": None, "extra": {"completedAt": "soon"}}),
    ({"completedAt": 1767225600}, {"completed_at": None, "extra": {"completedAt": 1767225600}}),
    ({"result": "https://x/y.mp4"}, {"result": "https://x/y.mp4", "asset_count": 1}),
    ({"result": ["https://x/1.png"]}, {"result": ["https://x/1.png"], "asset_count": None}),
    ({"result": {"meshes": [{"url": "u"}]}}, {"result": {"meshes": [{"url": "u"}]}, "asset_count": None}),
    ({"result": {"images": "https://x/1.png"}}, {"result": {"images": "https://x/1.png"}, "asset_count": None}),
    ({"result": 7}, {"result": 7}),
    ({"result": {"text": "null \u0000 byte, 🎉, \u2028"}}, {"result": {"text": "null \u0000 byte, 🎉, \u2028"}}),
    ({"result": {"seed": 18446744073709551615}}, {"result": {"seed": 18446744073709551615}}),
]  # fmt: skip


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A warehouse that was loaded with all of them, and their ids."""
    path = tmp_path_factory.mktemp("drift") / "w.duckdb"
    with Sandbox(jobs=20, days=5) as api:
        ids = [api.add(1, **({"status": "COMPLETED"} | fields))[0] for fields, _ in CASES]
        sync(settings.load({}, api_key=api.api_key, base_url=api.base_url, path=str(path)))
    return path, ids


@pytest.mark.parametrize("number", range(len(CASES)))
def test_what_is_not_documented_is_kept(warehouse: tuple[Path, list[str]], number: int) -> None:
    path, ids = warehouse
    found = stored(path)[ids[number]]
    expected = CASES[number][1]
    assert {name: found[name] for name in expected} == expected


def test_no_column_comes_or_changes_with_the_data(warehouse: tuple[Path, list[str]]) -> None:
    described = query(warehouse[0], "describe apiframe.jobs")
    assert {name: kind for name, kind, *_ in described} == JOBS


def test_fields_that_come_and_go_are_no_new_columns(settings_for: Make) -> None:
    with Sandbox(jobs=30, days=2) as api:
        chosen = settings_for(api)
        sync(chosen)
        job = api.add(1, status="PROCESSING")[0]
        for fields in (
            {"creditCost": None},
            {"creditCost": 2.5},
            {"prompt": "x"},
            {"prompt": REMOVED, "creditCost": 3},
        ):
            api.put(job, **fields)
            sync(chosen)
            assert stale(chosen.path, api) == {}
        described = query(chosen.path, "describe apiframe.jobs")
        assert {name: kind for name, kind, *_ in described} == JOBS
        tables = query(chosen.path, "select table_name from duckdb_tables() where schema_name = 'apiframe'")
        assert {name for (name,) in tables if not name.startswith("_dlt")} == set(pipelines.tables.tables())


def test_ids_that_are_no_uuids_are_ids(settings_for: Make) -> None:
    with Sandbox(jobs=130, days=9) as api:
        odd = api.listing()[-1]["id"]
        api.put(odd, id="job/ä 1", status="PROCESSING")
        chosen = settings_for(api)
        sync(chosen)
        api.put(odd, progress=42)
        api.add(50)
        sync(chosen)
        assert stale(chosen.path, api) == {}
        assert stored(chosen.path)["job/ä 1"]["progress"] == 42


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"id": None}, "no id"),
        ({"id": ""}, "no id"),
        ({"id": REMOVED}, "no id"),
        ({"createdAt": None}, "no createdAt"),
        ({"createdAt": "yesterday"}, "no createdAt"),
        ({"createdAt": REMOVED}, "no createdAt"),
    ],
)
def test_a_job_without_id_or_creation_is_refused_with_its_content(
    settings_for: Make, fields: dict[str, Any], words: str
) -> None:
    with Sandbox(jobs=20, days=2) as api:
        chosen = settings_for(api)
        sync(chosen)
        before = chosen.path.read_bytes()
        odd = api.add(1, status="COMPLETED", model="the very one", error="long " * 300)[0]
        api.put(odd, **fields)
        with pytest.raises(ApiframeWarehouseError, match=words) as problem:
            sync(chosen)
        assert '"model":"the very one"' in str(problem.value)
        assert len(str(problem.value)) < 500
        assert chosen.path.read_bytes() == before
        api.delete([odd])
        sync(chosen)
        assert stale(chosen.path, api) == {}
