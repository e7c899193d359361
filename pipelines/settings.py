"""All settings: dlt's files, names and precedence, read without importing dlt (which takes half a second).

The environment comes before secrets.toml before config.toml, the project's `.dlt` before the one in the
home folder. Only full names count (`SOURCES__APIFRAME__SCOPE`, never `SCOPE`): short ones collide with
what else lives in an environment.
"""

import os
import re
import socket
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pipelines.errors import ConfigurationError

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
#: Schemas of every warehouse: DuckDB takes `name.x` for either, a database or a schema, and refuses.
SCHEMAS = ("apiframe", "apiframe_staging", "reports", "information_schema")
NAME_BYTES = 255  # of a file, on every file system in use
#: Settings whose values are never shown: keys, and addresses that hold one.
SECRETS = ("api_key", "slack_hook", "webhook_url", "mail_server", "heartbeat_url")
DEFAULT_PATH = "data/warehouse.duckdb"
LONGEST_ENDING = ".checkpoint.wal"  # of the files that are made beside it


class Budget(NamedTuple):
    """What may be spent: credits, or money where a currency is named. 0 is none."""

    amount: Decimal
    currency: str | None


class Impact(NamedTuple):
    """From which size on something is worth saying: credits, or a share (0 to 1) of the account's expected day."""

    amount: Decimal
    is_share: bool


NO_BUDGET = Budget(Decimal(0), None)
WORTH_SAYING = Impact(Decimal("0.05"), is_share=True)


@dataclass(frozen=True)
class Settings:
    """Every setting, checked. `project` is the folder that holds `.dlt`; `path` is absolute."""

    project: Path
    api_key: str | None = field(repr=False)
    base_url: str
    scope: str
    settle_after: timedelta
    workers: int
    max_requests_per_minute: int
    balance_every: timedelta
    inputs: bool
    inputs_per_sync: int
    inputs_keep: tuple[str, ...]
    inputs_drop: tuple[str, ...]
    path: Path
    destination: str
    timezone: str
    labels_from: Path | None
    max_age: timedelta
    failure_rate: float
    failure_window: timedelta
    failure_min_jobs: int
    monthly_credits: Decimal
    stuck_jobs: int
    webhook_failure_rate: float
    min_credits: Decimal
    min_days: int
    monthly_budget: Budget
    min_impact: Impact
    refunds_due_after: timedelta
    max_residual: Decimal
    max_turnaround_growth: float
    slack_hook: str | None = field(repr=False)
    webhook_url: str | None = field(repr=False)
    mail_to: str | None
    mail_from: str
    mail_server: str = field(repr=False)
    heartbeat_url: str | None = field(repr=False)
    request_timeout: float
    request_max_attempts: int
    request_backoff_factor: float
    request_max_retry_delay: float

    @property
    def budget(self) -> Budget:
        """What a calendar month may cost: `checks.monthly_budget`, else `checks.monthly_credits`."""
        return self.monthly_budget if self.monthly_budget.amount else Budget(self.monthly_credits, None)

    def require_key(self) -> str:
        """Return the API key, or say how to set it."""
        if not self.api_key:
            raise ConfigurationError(
                "no API key: set APIFRAME_API_KEY, or api_key in .dlt/secrets.toml (see .dlt/example.secrets.toml)"
            )
        return self.api_key


def load(environment: Mapping[str, str] | None = None, **overrides: object) -> Settings:
    """Read and check every setting.

    `overrides` take the place of what is configured, by field name of `Settings` (the command's options).
    Raises ConfigurationError with the setting's full name, its value and what is allowed; never the key.
    """
    environment = os.environ if environment is None else environment
    project = Path(environment.get("DLT_PROJECT_DIR") or Path.cwd()).absolute()
    lookup = _Lookup(project, environment)
    values: dict[str, object] = {
        own: overrides.get(own) if overrides.get(own) is not None else lookup(name, default)
        for own, (name, default, _) in _SETTINGS.items()
    }
    if not values["api_key"]:  # unset, or set to nothing, as CI does with a secret that it lacks
        values["api_key"] = environment.get("APIFRAME_API_KEY")
    checked: dict[str, Any] = {}
    for own, (name, _, check) in _SETTINGS.items():
        try:
            checked[own] = check(values[own])
        except ValueError as problem:
            # An address may hold a password.
            shown = "" if own in SECRETS else re.sub("//.*@", "//***@", f" = {values[own]!r}")
            raise ConfigurationError(f"{name}{shown}: {problem}") from None
    if checked["inputs_keep"] and checked["inputs_drop"]:
        raise ConfigurationError(
            "sources.apiframe.inputs_keep and sources.apiframe.inputs_drop: set one of them, not both"
        )
    checked["path"] = project / checked["path"]
    return Settings(project=project, **checked)


class _Lookup:
    """Finds a dotted name in the environment, secrets.toml, then config.toml, as dlt does."""

    def __init__(self, project: Path, environment: Mapping[str, str]) -> None:
        self.environment = environment
        folder = environment.get("DLT_CONFIG_FOLDER", ".dlt")
        # DLT_DATA_DIR moves dlt's data, not its configuration.
        home = Path(os.path.expanduser("~/.dlt"))  # noqa: PTH111 - Path fails where a user has no home
        self.documents = [
            _read_toml(place / file) for file in ("secrets.toml", "config.toml") for place in (project / folder, home)
        ]

    def __call__(self, name: str, default: object) -> object:
        variable = name.replace(".", "__").upper()
        if variable in self.environment:
            return self.environment[variable]
        for document in self.documents:
            node: Any = document
            for part in name.split("."):
                node = node.get(part) if isinstance(node, dict) else None
            if node is not None:
                return node
        return default


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as problem:
        raise ConfigurationError(f"cannot read {file}: {problem}") from None


def _key(value: object) -> str | None:
    text = str(value or "").strip()
    if not re.fullmatch(r"[!-~]*", text):
        raise ValueError("the key holds characters that no key has; copy it again")
    return text or None


def _url(value: object) -> str:
    text = str(value).strip().rstrip("/")
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("must be an address like https://api.apiframe.ai/v2")
    return text


def _choice(*allowed: str) -> Callable[[object], str]:
    def check(value: object) -> str:
        if value not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}")
        return str(value)

    return check


def _name(value: object) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", str(value)):
        raise ValueError("must be the name of a destination, for example duckdb")
    return str(value)


def duration(value: object) -> timedelta:
    """Return a duration given as seconds, or as a number with s, m, h or d behind it. Raises ValueError."""
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,6})?)\s*([smhd]?)", str(value).strip())
    if not found or isinstance(value, bool):
        raise ValueError("must be a duration like 30m, 1h or 2d")
    span = timedelta(**{UNITS[found[2] or "s"]: float(found[1])})
    if span > timedelta(days=3650):
        raise ValueError("must be at most 3650d")
    return span


def _number(least: float, most: float, kind: Callable[[str], Any]) -> Callable[[object], Any]:
    def check(value: object) -> Any:
        try:
            number = kind(str(value).strip().replace("_", ""))
            usable = not isinstance(value, bool) and least <= number <= most
        except (ValueError, InvalidOperation):  # also the comparison with a Decimal NaN
            usable = False
        if not usable:
            whole = "a whole number" if kind is int else "a number"
            raise ValueError(f"must be {whole} from {least:g} to {most:g}")
        return number

    return check


def _budget(value: object) -> Budget:
    found = re.fullmatch(r"(\d[\d_]{0,20}(?:\.\d{1,4})?)\s*([A-Z]{3})?", str(value).strip())
    amount = Decimal(found[1].replace("_", "")) if found else None
    if found is None or amount is None or amount > 10**13 or isinstance(value, bool):
        raise ValueError('must be credits like 120000, or money like "1200 USD"')
    return Budget(amount, found[2])


def _impact(value: object) -> Impact:
    found = re.fullmatch(r"(\d[\d_]{0,20}(?:\.\d{1,4})?)\s*(%?)", str(value).strip())
    amount = Decimal(found[1].replace("_", "")) if found else None
    if found is None or amount is None or amount > (100 if found[2] else 10**13) or isinstance(value, bool):
        raise ValueError('must be credits like 500, or a share of the expected day like "5%"')
    return Impact(amount / 100, is_share=True) if found[2] else Impact(amount, is_share=False)


def _path(value: object) -> Path:
    text = str(value).strip()
    if not text or "\0" in text:
        raise ValueError("must be the path of a file")
    try:
        path = Path(text).expanduser()
    except RuntimeError as problem:  # ~somebody who does not exist
        raise ValueError(str(problem)) from None
    if re.match(r"[A-Za-z]:[\\/]|\\\\", text):
        raise ValueError("is a path of Windows; write it as this system does, /folder/warehouse.duckdb")
    if len(os.fsencode(path.name)) + len(LONGEST_ENDING) > NAME_BYTES:
        raise ValueError(f"the name of the file is too long: at most {NAME_BYTES - len(LONGEST_ENDING)} bytes")
    name = path.name.split(".")[0].lower()  # what DuckDB calls it, whatever its capitals
    if name in SCHEMAS:
        raise ValueError(f"DuckDB cannot tell a file of this name from the schema {name} in it; choose another name")
    return path


def _table_file(value: object) -> Path | None:
    text = _optional(value)
    if text is None:
        return None
    if Path(text).suffix not in (".csv", ".parquet") or "\0" in text:
        raise ValueError("must be the path of a .csv or .parquet file")
    return Path(os.path.expanduser(text))  # noqa: PTH111 - Path fails where a user has no home


def _zone(value: object) -> str:
    try:
        if value == "localtime":  # this machine's, which no database knows by that name
            raise ValueError
        return ZoneInfo(str(value)).key
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("must be a time zone like UTC or Europe/Berlin") from None


def _switch(value: object) -> bool:
    found = {"true": True, "false": False}.get(str(value).strip().lower())
    if found is None or not isinstance(value, bool | str):
        raise ValueError("must be true or false")
    return found


def _paths(value: object) -> tuple[str, ...]:
    """Return a list of dotted names; in the environment, which has no lists, they are set apart by commas."""
    if isinstance(value, str):
        texts = value.strip().removeprefix("[").removesuffix("]").split(",")
        value = [name for text in texts if (name := text.strip(" \"'"))]
    if not isinstance(value, list | tuple) or not all(isinstance(path, str) and all(path.split(".")) for path in value):
        raise ValueError('must be a list of names like ["model", "options.seed"]')
    return tuple(value)


def _optional(value: object) -> str | None:
    return str(value).strip() or None if value is not None else None


def _address(*schemes: str) -> Callable[[object], str | None]:
    def check(value: object) -> str | None:
        text = _optional(value)
        if text is None:
            return None
        try:
            parts = urlsplit(text)
            usable = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable or not re.fullmatch("[!-~]+", text):
            raise ValueError(f"must be an address that begins with {' or '.join(f'{each}://' for each in schemes)}")
        return text

    return check


def _mailbox(value: object) -> str | None:
    one = r"[\w.!#$%&'*+/=?^{|}~-]+@[A-Za-z0-9.-]+"
    text = _optional(value)
    if text is not None and not (isinstance(value, str) and re.fullmatch(rf"{one}(,\s*{one})*", text, re.ASCII)):
        raise ValueError("must be addresses like ops@example.com, with commas between them")
    return text


def _sender(value: object) -> str:
    return _mailbox(value) or f"apiframe-warehouse@{socket.gethostname()}"


def _mail_server(value: object) -> str:
    return "sendmail" if value == "sendmail" else _address("smtp", "smtps")(value) or "sendmail"


_SETTINGS: dict[str, tuple[str, object, Callable[[object], Any]]] = {
    # field: (name, default, check); .dlt/config.toml says what each means
    "api_key": ("sources.apiframe.api_key", None, _key),
    "base_url": ("sources.apiframe.base_url", "https://api.apiframe.ai/v2", _url),
    "scope": ("sources.apiframe.scope", "user", _choice("user", "team")),
    "settle_after": ("sources.apiframe.settle_after", "1h", duration),
    "workers": ("sources.apiframe.workers", 8, _number(1, 64, int)),
    "max_requests_per_minute": ("sources.apiframe.max_requests_per_minute", 0, _number(0, 60_000, int)),
    "balance_every": ("sources.apiframe.balance_every", "1h", duration),
    "inputs": ("sources.apiframe.inputs", False, _switch),
    "inputs_per_sync": ("sources.apiframe.inputs_per_sync", 200, _number(0, 10**6, int)),
    "inputs_keep": ("sources.apiframe.inputs_keep", [], _paths),
    "inputs_drop": ("sources.apiframe.inputs_drop", [], _paths),
    "path": ("warehouse.path", DEFAULT_PATH, _path),
    "destination": ("warehouse.destination", "duckdb", _name),
    "timezone": ("reports.timezone", "UTC", _zone),
    "labels_from": ("reports.labels_from", "", _table_file),
    "max_age": ("checks.max_age", "26h", duration),
    "failure_rate": ("checks.failure_rate", 0.2, _number(0, 1, float)),
    "failure_window": ("checks.failure_window", "24h", duration),
    "failure_min_jobs": ("checks.failure_min_jobs", 20, _number(1, 10**9, int)),
    "monthly_credits": ("checks.monthly_credits", 0, _number(0, 10**13, Decimal)),
    "stuck_jobs": ("checks.stuck_jobs", 0, _number(0, 10**9, int)),
    "webhook_failure_rate": ("checks.webhook_failure_rate", 0.05, _number(0, 1, float)),
    "min_credits": ("checks.min_credits", 0, _number(0, 10**13, Decimal)),
    "min_days": ("checks.min_days", 0, _number(0, 365, int)),
    "monthly_budget": ("checks.monthly_budget", 0, _budget),
    "min_impact": ("checks.min_impact", "5%", _impact),
    "refunds_due_after": ("checks.refunds_due_after", "48h", duration),
    "max_residual": ("checks.max_residual", 0, _number(0, 10**13, Decimal)),
    "max_turnaround_growth": ("checks.max_turnaround_growth", 0, _number(0, 1000, float)),
    "slack_hook": ("runtime.slack_incoming_hook", None, _address("http", "https")),
    "webhook_url": ("checks.webhook_url", None, _address("http", "https")),
    "mail_to": ("checks.mail_to", "", _mailbox),
    "mail_from": ("checks.mail_from", "", _sender),
    "mail_server": ("checks.mail_server", "sendmail", _mail_server),
    "heartbeat_url": ("checks.heartbeat_url", None, _address("http", "https")),
    "request_timeout": ("runtime.request_timeout", 60, _number(0.01, 3600, float)),
    "request_max_attempts": ("runtime.request_max_attempts", 5, _number(1, 100, int)),
    "request_backoff_factor": ("runtime.request_backoff_factor", 1, _number(0, 60, float)),
    "request_max_retry_delay": ("runtime.request_max_retry_delay", 300, _number(0, 86400, float)),
}
