"""Label rules of the user's (`.dlt/label_rules.csv`), read and put into the words of an engine.

A rule gives the jobs that it meets a value of a label: `label,value,field,contains`. The first rule of a label that a
job meets wins. Rules are part of the view, so a new one holds for every job there is, and no sync evaluates any.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

from pipelines.own_files import Line, read_lines, refuse, require_names
from pipelines.tables import tables

MOST_RULES = 1000  # the view holds them all
TEXTS = ("model", "modality", "error", "scope")  # fields that are columns of reports.jobs
TIMES = {"created_after": ">=", "created_before": "<"}  # so that both with one time leave no job out, and none in two
INPUT = re.compile(r"input((?:\.[A-Za-z_][A-Za-z0-9_-]*)+)")
TIME = re.compile(r"\d{4}-\d\d-\d\d(?P<clock>[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(?P<offset>Z|[+-]\d\d:\d\d)?)?")
INPUTS = "job_inputs"
#: Postgres has no text with NUL: one in an input would fail the whole view.
WITHOUT_NUL = r"regexp_replace({}, '(?<!\\)((?:\\\\)*)\\u0000', '\1\\ufffd', 'g')"


class LabelRule(NamedTuple):
    """A line of the file; `field` is one of TEXTS, TIMES or INPUT, `contains` a text in lower case, or a time."""

    label: str
    value: str
    field: str
    contains: str


def read_label_rules(file: Path | None) -> list[LabelRule]:
    """Read the rules, none where there is no file. Raises ConfigurationError with file and line."""
    if file is None or not file.exists():
        return []
    return [_rule(file, line) for line in read_lines(file, LabelRule._fields, MOST_RULES)]


def _rule(file: Path, line: Line) -> LabelRule:
    require_names(file, line.number, line.cells)
    rule = LabelRule(*line.cells)
    if rule.field in TIMES:
        try:
            _time(rule.contains)
        except (ValueError, OverflowError):
            refuse(file, line.number, f"{rule.contains!r} must be a date, or a time like 2026-03-01T12:00+01:00")
        return rule
    if rule.field not in TEXTS and not INPUT.fullmatch(rule.field):
        known = f"{', '.join(TEXTS)}, input.<path>, {' or '.join(TIMES)}"
        refuse(file, line.number, f"field {rule.field!r} must be {known}")
    return rule._replace(contains=rule.contains.lower())


def _time(text: str) -> date | datetime:
    """Return a day, a time on the user's clock, or one in UTC. Raises ValueError or OverflowError."""
    found = TIME.fullmatch(text)
    if not found:
        raise ValueError(text)
    if found["clock"] is None:
        return date.fromisoformat(text)
    at = datetime.fromisoformat(text)
    return at.astimezone(UTC) if found["offset"] else at


def macros(
    rules: Sequence[LabelRule], timezone: str, engine: str, quote: Callable[[str], str]
) -> dict[str, Callable[..., str]]:
    """Return what the view of labels is made of; `quote` makes a text a literal.

    labels_of_rules(): a select of the labels that rules give
    label_by_rule(label): the value that rules give of this label; over model, modality, error and scope in lower case,
    day, created_at and input
    inputs_for_rules(): a select of id and input of the jobs, without rows where no rule asks for it
    """
    meet = partial(_condition, timezone=timezone, engine=engine, quote=quote)
    return {
        "labels_of_rules": partial(_labels, rules, quote),
        "label_by_rule": partial(_value, rules, meet, quote),
        "inputs_for_rules": partial(_inputs, rules, engine),
    }


def _labels(rules: Sequence[LabelRule], quote: Callable[[str], str]) -> str:
    labels = dict.fromkeys(rule.label for rule in rules)
    selects = [f"select {quote(label)} as label" for label in labels]
    return " union all ".join(selects) or "select '' as label where false"


def _value(
    rules: Sequence[LabelRule], meet: Callable[[LabelRule], str], quote: Callable[[str], str], label: str
) -> str:
    cases: dict[str, list[str]] = {}
    for rule in rules:
        cases.setdefault(rule.label, []).append(f"when {meet(rule)} then {quote(rule.value)}")
    chains = [f"when {label} = {quote(name)} then case {' '.join(whens)} end" for name, whens in cases.items()]
    return " ".join(["case when false then ''", *chains, "end"])


def _condition(rule: LabelRule, *, timezone: str, engine: str, quote: Callable[[str], str]) -> str:
    if rule.field in TIMES:
        at, sign = _time(rule.contains), TIMES[rule.field]
        if not isinstance(at, datetime):
            return f"day {sign} date {quote(at.isoformat())}"
        zone = "" if at.tzinfo else f" {timezone}"
        kind = "timestamp" if engine == "spark" else "timestamptz"
        return f"created_at {sign} {kind} {quote(at.isoformat(' ') + zone)}"
    if not (found := INPUT.fullmatch(rule.field)):
        return f"position({quote(rule.contains)} in {rule.field}) > 0"
    if INPUTS not in tables():
        return "false"
    return f"position({quote(rule.contains)} in lower({_text_at(found[1][1:].split('.'), engine, quote)})) > 0"


def _text_at(path: list[str], engine: str, quote: Callable[[str], str]) -> str:
    """Return SQL for the text at a path of the input: of what is no text, its JSON; null where there is nothing."""
    if engine == "postgres":
        return f"input #>> {quote('{' + ','.join(path) + '}')}"
    if engine == "spark":
        return f"get_json_object(input, {quote('.'.join(['$', *path]))})"
    return "(input ->> " + quote("$" + "".join(f'."{name}"' for name in path)) + ")"


def _inputs(rules: Sequence[LabelRule], engine: str) -> str:
    if INPUTS not in tables() or not any(INPUT.fullmatch(rule.field) for rule in rules):
        return "select '' as id, '' as input where false"
    # One a job, whatever the table holds: a job that came twice would be counted twice.
    text = f"max(cast(input as {'string' if engine == 'spark' else 'text'}))"
    json = f"cast({WITHOUT_NUL.format(text)} as json)" if engine == "postgres" else text
    return f"select id, {json} as input from apiframe.{INPUTS} group by id"
