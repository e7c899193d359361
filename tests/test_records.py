"""Promise 5: whatever a job holds is found again in its row, exactly."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import JOBS, NAMES

from pipelines.apiframe import records
from pipelines.apiframe.records import InvalidJobError, Row, position, to_row
from pipelines.exact import decode, encode, moment, timestamp
from pipelines.tables.jobs import TABLE

MODALITIES = {"midjourney": "image"}
CREATED = "2026-03-15T10:00:00.000Z"


def row_of(body: str | dict[str, Any], **fields: Any) -> Row:
    """The row of a job, as JSON text or as a dict, that has an id and a createdAt."""
    text = body if isinstance(body, str) else json.dumps(body | fields)
    job = {"id": "a", "createdAt": CREATED} | decode(text.encode())
    return rows_of([job])[0]


def rows_of(jobs: list[dict[str, Any]]) -> list[Row]:
    """The rows of a page. However they are made, they are the same: one by one, or column by column."""
    places, rest = [position(job) for job in jobs], {"scope": "user", "synced_at": 1, "modalities": MODALITIES}
    rows = records.to_rows(jobs, places, **rest)
    assert rows == [to_row(job, place, **rest) for job, place in zip(jobs, places, strict=True)]
    return rows


def in_duckdb(*rows: Row) -> list[dict[str, Any]]:
    """Rows as DuckDB gives them back in the types of the contract; times as microseconds."""
    columns = ", ".join(f"{name} {JOBS[name]}" for name in Row._fields)
    names = ", ".join(f"epoch_us({name})" if "TIME ZONE" in JOBS[name] else name for name in Row._fields)
    jobs = TABLE.to_arrow(rows)
    with duckdb.connect() as connection:
        connection.execute(f"create table stored ({columns})")
        connection.from_arrow(jobs).insert_into("stored")
        found = connection.execute(f"select {names} from stored").fetchall()
    return [dict(zip(Row._fields, values, strict=True)) for values in found]


# The contract


def test_columns_are_those_of_the_contract_in_their_order() -> None:
    assert [*TABLE.types, "_dlt_load_id"] == list(JOBS)


def test_arrow_types_are_those_of_the_contract() -> None:
    with duckdb.connect() as connection:
        described = connection.from_arrow(TABLE.to_arrow([])).columns, connection.from_arrow(TABLE.to_arrow([])).types
    arrow = dict(zip(described[0], map(str, described[1]), strict=True))
    assert arrow == {name: kind.replace("JSON", "VARCHAR") for name, kind in JOBS.items() if name != "_dlt_load_id"}
    assert [field.name for field in TABLE.arrow_schema if not field.nullable] == ["id"]


def test_every_column_is_there_without_rows_and_without_values() -> None:
    assert TABLE.to_arrow([]).schema == TABLE.to_arrow([row_of({})]).schema == TABLE.arrow_schema


def test_a_job_of_the_documentation() -> None:
    row = row_of(
        {
            "id": "0b1d",
            "status": "COMPLETED",
            "model": "midjourney",
            "progress": 100,
            "result": {"images": ["https://x/1.png", "https://x/2.png"], "gridUrl": "https://x/grid.png"},
            "error": None,
            "creditCost": 10,
            "webhookStatus": "sent",
            "createdAt": CREATED,
            "completedAt": "2026-03-15T10:00:42.500Z",
            "expired": False,
        }
    )
    created = 1_773_568_800_000_000
    assert row == Row(
        id="0b1d",
        status="COMPLETED",
        model="midjourney",
        modality="image",
        progress=100.0,
        credit_cost=10,
        error=None,
        webhook_status="sent",
        created_at=created,
        completed_at=created + 42_500_000,
        expired=False,
        asset_count=2,
        result='{"images":["https://x/1.png","https://x/2.png"],"gridUrl":"https://x/grid.png"}',
        extra=None,
        scope="user",
        synced_at=1,
        delisted_at=None,
    )


# Numbers


@pytest.mark.parametrize(
    ("served", "cost", "kept"),
    [
        ("10", "10", None),
        ("null", None, None),
        ("0", "0", None),
        ("-3", "-3", None),
        ("10.5", "10.5", None),
        ("0.1", "0.1", None),
        ("1e2", "100", None),
        ("12345678901234.5678", "12345678901234.5678", None),
        ("99999999999999", "99999999999999", None),
        ('"12.5"', "12.5", None),
        ('"12,5"', None, '"12,5"'),
        ('"free"', None, '"free"'),
        ('"NaN"', None, '"NaN"'),
        ('"Infinity"', None, '"Infinity"'),
        ("true", None, "true"),
        ("[10]", None, "[10]"),
        ('{"amount":10}', None, '{"amount":10}'),
        ("0.00001", "0", "0.00001"),
        ("10.123456", "10.1235", "10.123456"),
        ("100000000000000", None, "100000000000000"),
        ("123456789012345678901234567890", None, "123456789012345678901234567890"),
        ("1e400", None, "1E+400"),
    ],
)
def test_credits_are_exact_and_what_does_not_fit_is_kept(served: str, cost: str | None, kept: str | None) -> None:
    row = row_of(f'{{"creditCost": {served}}}')
    assert row.extra == (None if kept is None else f'{{"creditCost":{kept}}}')
    stored = in_duckdb(row)[0]["credit_cost"]
    assert stored == (None if cost is None else Decimal(cost))


@pytest.mark.parametrize("cost", [10**14, -(10**14), "99999999999999.99999", 99999999999999.99])
def test_credits_at_the_edge_of_their_column_are_stored_or_kept(cost: object) -> None:
    row = row_of({"creditCost": cost})
    in_duckdb(row)
    assert row.credit_cost is not None or json.loads(row.extra or "") == {"creditCost": cost}


@pytest.mark.parametrize(
    ("served", "progress", "kept"),
    [
        ("0", 0.0, False),
        ("42", 42.0, False),
        ("99.5", 99.5, False),
        ('"42"', 42.0, False),
        ("null", None, False),
        ('"half"', None, True),
        ("true", None, True),
        ("[1]", None, True),
        ("9007199254740993", None, True),
        ("0.1234567890123456789", None, True),
        ("1e999", None, True),
    ],
)
def test_progress_is_exact_or_also_kept(served: str, progress: float | None, kept: bool) -> None:
    row = row_of(f'{{"progress": {served}}}')
    assert (row.extra is not None) == kept
    if not kept:
        assert row.progress == progress
    else:
        assert decode((row.extra or "").encode()) == {"progress": decode(served.encode())}


@pytest.mark.parametrize(
    "number",
    [
        "0.1234567890123456789",
        "12345678901234567890123",
        "-9223372036854775809",
        "18446744073709551616",
        "1.7976931348623157e309",
        "3.14159265358979323846264338327950288",
    ],
)
def test_numbers_keep_every_digit_in_json(number: str) -> None:
    for name in ("result", "novelty"):
        row = row_of(f'{{"{name}": {{"n": [{number}]}}}}')
        text = row.result if name == "result" else row.extra
        found: Any = json.loads(text or "", parse_float=Decimal, parse_int=Decimal)
        found = found if name == "result" else found["novelty"]
        assert found == {"n": [Decimal(number)]}


@pytest.mark.parametrize("body", ["NaN", "[Infinity]", '{"a": -Infinity}', "1e99999999999999999999", "[" * 100_000, ""])
def test_what_is_no_json_is_refused(body: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode(body.encode())


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(ValueError, match=r"."):
        decode(b'{"a": "\xff"}')


# Text


@pytest.mark.parametrize("number", ["1", "12345678901234567890"])
def test_lone_surrogates_become_the_replacement_character_and_pairs_stay(number: str) -> None:
    odd = r'"error": "a\ud83dz", "result": {"\udc00": ["\ud83d\ude00", "\ud83d"]}, "no\ud800velty": '
    row = row_of(f"{{{odd}{number}}}")
    assert row.error == "a\ufffdz"
    assert json.loads(row.result or "") == {"\ufffd": ["\U0001f600", "\ufffd"]}
    assert json.loads(row.extra or "") == {"no\ufffdvelty": int(number)}
    in_duckdb(row)


def test_nul_is_text_like_any_other() -> None:
    row = row_of({"error": "a\0b", "result": {"a\0": "\0"}, "novelty\0": "\0"})
    stored = in_duckdb(row)[0]
    assert stored["error"] == "a\0b"
    assert json.loads(stored["result"]) == {"a\0": "\0"}
    assert json.loads(stored["extra"]) == {"novelty\0": "\0"}


@pytest.mark.parametrize("name", ["status", "model", "error", "webhookStatus"])
@pytest.mark.parametrize("value", [{"code": 7, "text": "é"}, ["a"], 7, 1.5, False, "", "ARCHIVING"])
def test_text_columns_take_any_value_as_text_or_json(name: str, value: object) -> None:
    row = row_of({name: value})
    found = getattr(row, NAMES[name])
    assert (found if isinstance(value, str) else json.loads(found)) == value
    assert row.extra is None


# Unknown and unfitting


def test_unknown_fields_go_to_extra_in_one_spelling() -> None:
    assert row_of({"zeta": 1, "alpha": {"b": None, "a": "é"}}).extra == '{"alpha":{"b":null,"a":"é"},"zeta":1}'
    assert row_of({"novelty": None}).extra == '{"novelty":null}'
    assert row_of({}).extra is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("completedAt", "yesterday"),
        ("completedAt", 1_773_568_800),
        ("completedAt", ""),
        ("completedAt", {"at": CREATED}),
        ("expired", "perhaps"),
        ("expired", 2),
        ("expired", []),
        ("creditCost", {"amount": 3}),
        ("progress", "half"),
    ],
)
def test_a_value_that_does_not_fit_its_column_is_kept_beside_unknown_fields(name: str, value: object) -> None:
    row = row_of({name: value, "novelty": 1})
    assert getattr(row, NAMES[name]) is None
    assert json.loads(row.extra or "") == {name: value, "novelty": 1}


@pytest.mark.parametrize(("value", "expired"), [(True, True), (False, False), ("true", True), ("FALSE", False)])
def test_expired_may_be_spelled(value: object, expired: bool) -> None:
    assert row_of({"expired": value})[10:11] == (expired,)


# Results


@pytest.mark.parametrize(
    ("result", "files", "modality"),
    [
        (None, 0, None),
        ("https://x/1.png", 1, "image"),
        ("https://x/1.JPEG?size=2.mp4", 1, "image"),
        ("https://x/1.mp4", 1, "video"),
        ("https://x/1.mp3", 1, "music"),
        ("https://x/1", 1, None),
        ({"images": ["a", "b", "c", "d"]}, 4, "image"),
        ({"images": ["a", "b", "c", "d"], "gridUrl": "g"}, 4, "image"),
        ({"images": []}, 0, "image"),
        ({"videoUrl": "v"}, 1, "video"),
        ({"videos": ["v", "w"]}, 2, "video"),
        ({"tracks": [{"audioUrl": "t", "imageUrl": "cover"}, {"audioUrl": "u"}]}, 2, "music"),
        ({"images": "https://x/1.png"}, None, None),
        ({"videoUrl": None}, None, None),
        ({"text": "a poem"}, None, None),
        ({}, None, None),
        (["https://x/1.png"], None, None),
        (7, None, None),
        (False, None, None),
    ],
)
def test_shapes_of_results(result: object, files: int | None, modality: str | None) -> None:
    row = row_of({"result": result})
    assert (row.asset_count, row.modality) == (files, modality)
    assert (None if row.result is None else json.loads(row.result)) == result


def test_the_catalogue_tells_the_modality_before_the_result_does() -> None:
    assert row_of({"model": "midjourney", "result": {"videoUrl": "v"}}).modality == "image"
    assert row_of({"model": "midjourney"}).modality == "image"
    assert row_of({"model": "novel", "result": {"videoUrl": "v"}}).modality == "video"
    assert row_of({"model": "novel"}).modality is None


# Times


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-03-15T10:00:00.000Z", datetime(2026, 3, 15, 10, tzinfo=UTC)),
        ("2026-03-15T10:00:00Z", datetime(2026, 3, 15, 10, tzinfo=UTC)),
        ("2026-03-15T10:00:00", datetime(2026, 3, 15, 10, tzinfo=UTC)),
        ("2026-03-15 10:00:00", datetime(2026, 3, 15, 10, tzinfo=UTC)),
        ("2026-03-15T12:00:00+02:00", datetime(2026, 3, 15, 10, tzinfo=UTC)),
        ("2026-03-15T04:30:00-0530", datetime(2026, 3, 15, 10, tzinfo=UTC)),
        ("2026-03-15T10:00:00.123456Z", datetime(2026, 3, 15, 10, 0, 0, 123456, tzinfo=UTC)),
        ("2026-03-15T10:00:00.1Z", datetime(2026, 3, 15, 10, 0, 0, 100000, tzinfo=UTC)),
        ("2026-03-15T10:00:00.123456789Z", datetime(2026, 3, 15, 10, 0, 0, 123456, tzinfo=UTC)),
        ("2026-03-15", datetime(2026, 3, 15, tzinfo=UTC)),
        ("1969-12-31T23:59:59.999Z", datetime(1969, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
    ],
)
def test_times(text: str, time: datetime) -> None:
    assert moment(timestamp(text)) == time


@pytest.mark.parametrize(
    "value",
    [None, "", "soon", "2026-13-01", "10:00", 1_773_568_800, 1.5, True, [CREATED], "2026-03-15T25:00"],
)
def test_what_is_no_time(value: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        timestamp(value)


# What cannot be stored


@pytest.mark.parametrize(
    ("job", "told"),
    [
        ({"createdAt": CREATED, "status": "FAILED"}, "a job has no id: "),
        ({"id": None, "createdAt": CREATED}, "a job has no id: "),
        ({"id": "", "createdAt": CREATED}, "a job has no id: "),
        ({"id": ["a"], "createdAt": CREATED}, "a job has no id: "),
        ({"id": True, "createdAt": CREATED}, "a job has no id: "),
        ({"id": "a"}, "a job has no createdAt: "),
        ({"id": "a", "createdAt": None}, "a job has no createdAt: "),
        ({"id": "a", "createdAt": "soon"}, "a job has no createdAt: "),
        ({"id": "a", "createdAt": 1_773_568_800}, "a job has no createdAt: "),
        ("job", "a job is not an object: "),
        (None, "a job is not an object: "),
        ([], "a job is not an object: "),
    ],
)
def test_a_job_without_id_or_created_at_is_refused_with_its_content(job: object, told: str) -> None:
    with pytest.raises(InvalidJobError) as problem:
        position(job)
    assert str(problem.value) == told + encode(job)


def test_content_in_an_error_is_short_and_one_printable_line() -> None:
    job = {"status": "FAILED\n\x1b[31m\u202e\u2028", "result": "x" * 10_000}
    with pytest.raises(InvalidJobError) as problem:
        position(job)
    line = str(problem.value)
    assert line.isprintable()
    assert len(line) <= 220
    assert "FAILED" in line
    assert line.endswith("…")


def test_an_id_that_is_a_number_is_taken_as_text() -> None:
    assert position({"id": 7, "createdAt": CREATED})[1] == "7"


# Differences


def test_only_what_the_api_says_makes_a_difference() -> None:
    kept = row_of({"status": "PROCESSING", "result": {"a": 1, "b": 2}, "creditCost": 10})
    same = row_of('{"status": "PROCESSING", "result": {"b": 2, "a": 1.0}, "creditCost": 10.0}')
    assert records.differences(same._replace(synced_at=9, modality="video", scope="team"), kept) == []
    changed = row_of({"status": "COMPLETED", "result": {"a": 1}, "creditCost": 11, "novelty": 1, "expired": True})
    assert set(records.differences(changed, kept)) == {"status", "result", "credit_cost", "extra", "expired"}


# Any job

text = st.text(st.characters(codec="utf-8"), max_size=8)
integers = st.integers(-(2**63), 2**63 - 1) | st.integers().map(Decimal)
floats = st.floats(allow_nan=False, allow_infinity=False)
decimals = st.decimals(allow_nan=False, allow_infinity=False, places=20)
values = st.recursive(
    st.none() | st.booleans() | text | integers | floats | decimals,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
times = st.datetimes(timezones=st.just(UTC)).map(lambda time: time.isoformat())
must = {"id": st.text(st.characters(codec="utf-8"), min_size=1, max_size=8), "createdAt": times}
wild = {name: values for name in NAMES if name != "createdAt"} | {"completedAt": values | times}
tame = {
    "status": text,
    "model": text | st.just("midjourney"),
    "progress": st.none() | integers | st.floats(0, 100),
    "creditCost": st.none() | integers,
    "error": st.none() | text,
    "webhookStatus": st.none() | text,
    "completedAt": st.none() | times,
    "expired": st.booleans(),
    "result": values,
}
jobs = st.fixed_dictionaries(must, optional=wild | {"novelty": values, "a b": values}) | st.fixed_dictionaries(
    must | tame
)


def plain(value: Any) -> str:
    """A value in one spelling: 1, 1.0 and 1.00 are one number."""
    if isinstance(value, dict):
        return "{" + ",".join(sorted(json.dumps(key) + ":" + plain(item) for key, item in value.items())) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(plain, value)) + "]"
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        return str(Decimal(repr(value)).as_integer_ratio() if isinstance(value, float) else value.as_integer_ratio())
    return json.dumps(value)


def fields_of(stored: dict[str, Any]) -> dict[str, Any]:
    """What the API had said of a job, got back from its row."""
    kept = decode((stored["extra"] or "{}").encode())
    found = {"id": stored["id"]}
    for name, column in NAMES.items():
        found[name] = stored[column]
    if stored["result"] is not None:
        found["result"] = decode(stored["result"].encode())
    return found | kept


def same(name: str, served: Any, found: Any) -> bool:
    if plain(served) == plain(found):
        return True
    if name in ("createdAt", "completedAt"):
        return isinstance(found, int) and isinstance(served, str) and timestamp(served) == found
    if name in ("status", "model", "error", "webhookStatus"):
        return plain(decode(found.encode())) == plain(served)
    if name in ("creditCost", "progress") and isinstance(served, str):
        return Decimal(served) == Decimal(found)
    return name == "expired" and isinstance(found, bool) and str(served).lower() == str(found).lower()


@settings(deadline=None, max_examples=50)
@given(st.lists(jobs, min_size=1, max_size=5))
def test_any_job_becomes_a_row_from_which_every_field_is_got_back(served: list[dict[str, Any]]) -> None:
    decoded = [decode(encode(job).encode()) for job in served]
    for job, stored in zip(decoded, in_duckdb(*rows_of(decoded)), strict=True):
        found = fields_of(stored)
        lost = {name: (value, found.get(name)) for name, value in job.items() if not same(name, value, found.get(name))}
        assert lost == {}


@settings(deadline=None)
@given(values)
def test_encoded_and_decoded_again_nothing_changes(value: Any) -> None:
    once = decode(encode(value).encode())
    assert plain(once) == plain(value)
    assert decode(encode(once).encode()) == once


def test_rows_go_to_arrow_column_by_column() -> None:
    table = TABLE.to_arrow([row_of({"status": "QUEUED"}), row_of({"creditCost": 1.5})])
    assert isinstance(table, pa.Table)
    assert table.column("status").to_pylist() == ["QUEUED", None]
    assert table.column("credit_cost").to_pylist() == [None, Decimal("1.5000")]


@pytest.mark.parametrize("depth", [300, 1000, 1020])
def test_json_that_is_nested_deeper_than_orjson_writes_is_kept(depth: int) -> None:
    deep = '{"a\\"":[1.5,' * (depth // 2) + "null" + "]}" * (depth // 2)
    assert encode(decode(deep.encode())) == deep
    exact = "[" * 300 + "123456789012345678901234567890" + "]" * 300
    assert encode(decode(exact.encode())) == exact


@pytest.mark.parametrize("depth", [250, 253, 254, 255, 256, 600, 1000, 1015, 1020])
@pytest.mark.parametrize("field", ["result", "error", "novelty", "creditCost", "status"])
def test_a_value_nested_deeper_than_is_written_is_kept_as_text(field: str, depth: int) -> None:
    deep = "[" * depth + "]" * depth
    row = row_of(f'{{"{field}": {deep}, "model": "midjourney"}}')
    assert row == row_of(f'{{"{field}": {deep}, "model": "midjourney"}}'), "the same each time"
    stored = in_duckdb(row)[0]
    extra = json.loads(stored["extra"] or "{}")
    if depth > 254:
        assert extra == {f"unread_{field}": {"reason": "nested too deeply", "text": deep}}
        assert records.unread_fields(row.extra or "") == field
        assert (row.model, row.modality) == ("midjourney", "image")
        assert row.result is row.error is row.status is row.credit_cost is None
        assert row.asset_count == (None if field == "result" else 0)
    elif field == "result":
        assert (row.result, row.extra) == (deep, None)
    assert records.differences(row, row._replace(result="[" * 1000 + "]" * 1000, extra=deep)) != []


def test_a_row_of_before_with_json_that_is_too_deep_to_compare_is_different() -> None:
    kept = row_of({})._replace(result="[" * 990 + "12345678901234567890123" + "]" * 990)
    assert records.differences(row_of({"result": [1]}), kept) == ["result"]
    assert records.differences(kept, kept._replace(result=f" {kept.result}")) == ["result"]
