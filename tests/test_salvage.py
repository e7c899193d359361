"""One odd job keeps no other out: what can be read of a page that cannot be decoded, or held, as a whole."""

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import exact
from pipelines.apiframe.salvage import read_page

CREATED = "2026-03-15T10:00:00.000Z"
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)


def page_of(*jobs: bytes) -> bytes:
    return b'{"jobs": [%s], "nextCursor": "c", "hasMore": true}' % b",".join(jobs)


def job(**fields: bytes) -> bytes:
    held = {"id": b'"a"', "createdAt": json.dumps(CREATED).encode()} | fields
    return b"{" + b",".join(b'"%s": %s' % (name.encode(), value) for name, value in held.items()) + b"}"


def read(body: bytes, size: int = 2**18, **limits: int) -> dict[str, Any]:
    parts = (body[at : at + size] for at in range(0, len(body), size))
    return read_page(parts, **({"most": len(body)} | limits))


@given(st.lists(st.dictionaries(st.text(), VALUES, max_size=3), max_size=3), VALUES, st.integers(1, 40), st.booleans())
@settings(max_examples=40, deadline=None)
def test_what_can_be_decoded_is_what_decoding_gives_however_it_comes_in(
    jobs: list[dict[str, Any]], other: Any, size: int, escaped: bool
) -> None:
    body = json.dumps({"jobs": jobs, "other": other}, ensure_ascii=escaped, indent=size % 3 or None)
    encoded = body.encode(errors="replace")
    assert read(encoded, size) == exact.decode(encoded)


@pytest.mark.parametrize(
    ("value", "reason", "text"),
    [
        (b"[" * 5000 + b"]" * 5000, "nested too deeply", "[" * 5000 + "]" * 5000),
        (b'{"a":[' * 900 + b"1" + b"]}" * 900, "nested too deeply", '{"a":[' * 900 + "1" + "]}" * 900),
        (b'"\xff\xfe"', "'utf-8' codec can't decode", '"\ufffd\ufffd"'),
        (b'"line\nline"', "Invalid control character", '"line\nline"'),
        (b"NaN", "NaN is not JSON", "NaN"),
        (b"1e99999999999999999999", "a number in it is too large", "1e99999999999999999999"),
        (b"[1 2]", "Expecting ',' delimiter", "[1 2]"),
    ],
)
@pytest.mark.parametrize("field", ["error", "result", "creditCost", "novelty"])
def test_a_value_that_cannot_be_read_is_kept_as_text_with_the_reason(
    field: str, value: bytes, reason: str, text: str
) -> None:
    odd, sound = job(**{field: value}, status=b'"FAILED"'), job(id=b'"b"', result=b'{"images": ["x"]}')
    page = read(page_of(sound, odd, sound))
    assert page["jobs"][0] == page["jobs"][2] == exact.decode(sound)
    assert (page["nextCursor"], page["hasMore"]) == ("c", True)
    kept = page["jobs"][1].pop(f"unread_{field}")
    assert page["jobs"][1] == {"id": "a", "createdAt": CREATED, "status": "FAILED"}
    assert reason in kept["reason"]
    assert kept["text"] == text


def test_of_too_many_bytes_the_beginning_the_number_and_a_digest_are_kept() -> None:
    value = b'"' + b"x" * 100_000 + b'"'
    page = read(page_of(job(error=value, status=b'"FAILED"', result=b'"https://x/1.png"')), most=50_000, most_jobs=1)
    kept = page["jobs"][0].pop("unread_error")
    assert page["jobs"][0] == {"id": "a", "createdAt": CREATED, "status": "FAILED", "result": "https://x/1.png"}
    assert kept == {
        "reason": "too many bytes",
        "bytes": 100_002,
        "sha256": hashlib.sha256(value).hexdigest(),
        "text": '"' + "x" * 999,
    }


@pytest.mark.parametrize("size", [1, 7, 999, 1001, 40_000])
def test_the_same_job_is_read_the_same_however_it_comes_in(size: int) -> None:
    body = page_of(job(error=b'"' + b"\\u00e9\\\\" * 9000 + b'"', novelty=b"[" * 3000 + b"]" * 3000))
    assert read(body, size, most=20_000) == read(body, most=20_000)


def test_millions_of_small_fields_take_no_room() -> None:
    fields = {f"f{number}": b"1" * 50 for number in range(5000)}
    page = read(page_of(job(**fields, status=b'"FAILED"', error=b'"why"')), most=10_000)
    found = page["jobs"][0]
    assert (found["status"], found["error"]) == ("FAILED", "why")
    assert len(exact.encode(found)) < 30_000
    assert found["unread_fields"] > 4000


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b'{"jobs": [',
        b'{"jobs": [{"id": "a"',
        b'{"jobs": [{"id": "a}], "hasMore": false}',
        b'{"jobs": []} {}',
        b'{"jobs": [], "hasMore": NaN}',
        b'{"jobs": [], "nextCursor": ' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"jobs": [{"id" "a"}]}',
        b'{"jobs": [{7: "a"}]}',
        b'{"jobs": [{"id": "a"} {"id": "b"}]}',
    ],
)
def test_what_is_no_page_is_not_made_one(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read(body)


def test_more_jobs_than_were_asked_for_are_refused() -> None:
    with pytest.raises(ValueError, match="more jobs on it than the 1 asked for"):
        read(page_of(job(), job()), most_jobs=1)
