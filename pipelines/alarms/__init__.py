"""What `check --notify` tells: once when something begins, changes or is over, and once a day while it lasts.

What was told is remembered beside the warehouse. Where that goes, and `digest` too, is one file each in this folder,
found by listing it: a channel that `is_set` in the settings, and `send`.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import socket
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from pipelines import files
from pipelines.checks import Finding
from pipelines.errors import ApiframeWarehouseError, ConfigurationError
from pipelines.exact import encode
from pipelines.settings import Settings

AGAIN_AFTER = timedelta(days=1)
TO_SET = "runtime.slack_incoming_hook, checks.webhook_url or checks.mail_to"
Change = Literal["new", "changed", "still", "over"]


@dataclass(frozen=True)
class Alarm:
    """A finding that is to be told, and why now."""

    change: Change
    finding: Finding

    def __str__(self) -> str:
        """Say it on one line."""
        state = "over" if self.change == "over" else f"{self.change}, {self.finding.state}"
        return f"{self.finding.check} ({state}): {self.finding.message}"


@dataclass(frozen=True)
class Message:
    """What is sent. `text` is plain text of other people's words, each channel escapes it; `facts` are for programs."""

    subject: str
    text: str
    facts: dict[str, Any]
    attachment: Path | None = None  # an HTML file, where a channel can take one along


def of_alarms(warehouse: str, host: str, alarms: list[Alarm]) -> Message:
    """Return the message that tells them: of which warehouse on which machine, what, and what to do."""
    place = f"Apiframe warehouse {warehouse} on {host}"
    checks = ", ".join(dict.fromkeys(alarm.finding.check for alarm in alarms))
    lines = dict.fromkeys(map(str, alarms))  # where nothing can be measured, all say the same
    todo = "apiframe-warehouse check there shows everything; README, When something is wrong, says what to do."
    text = "\n".join([place, *lines, todo])
    changes = [{"change": alarm.change, **asdict(alarm.finding)} for alarm in alarms]
    return Message(f"{place}: {checks}", text, {"warehouse": warehouse, "host": host, "text": text, "changes": changes})


def due(
    told: Mapping[str, Mapping[str, Any]], findings: Iterable[Finding], now: datetime
) -> tuple[list[Alarm], dict[str, dict[str, Any]]]:
    """Return what is to be told, given what was, and what to remember once it is. Pure."""
    alarms: list[Alarm] = []
    kept: dict[str, dict[str, Any]] = {}
    fine = {finding.check: finding for finding in findings if finding.state == "ok"}
    for finding in findings:
        if finding.state == "ok":
            continue
        key = f"{finding.check} {finding.subject}".rstrip()
        before = told.get(key)
        change: Change | None = None
        if before is None:
            change = "new"
        elif before["state"] != finding.state:
            change = "changed"
        elif now - datetime.fromisoformat(before["told_at"]) >= AGAIN_AFTER:
            change = "still"
        if change:
            alarms.append(Alarm(change, finding))
        at = now.isoformat() if change or before is None else before["told_at"]
        kept[key] = {"check": finding.check, "state": finding.state, "message": finding.message, "told_at": at}
    blind = {finding.check for finding in findings if finding.state == "unmeasured"}
    for key, before in told.items():
        if key in kept:
            continue
        if before["check"] in blind:  # whether it is over is not known
            kept[key] = dict(before)
        else:
            ended = fine.get(before["check"]) or Finding(before["check"], "ok", None, None, f"was: {before['message']}")
            alarms.append(Alarm("over", ended))
    return alarms, kept


def channels(settings: Settings) -> list[ModuleType]:
    """Return the channels that are set."""
    found = [importlib.import_module(f"{__name__}.{each.name}") for each in pkgutil.iter_modules(__path__)]
    return [channel for channel in found if channel.is_set(settings)]


def require_channels(settings: Settings) -> list[ModuleType]:
    """Return the channels that are set. Raises ConfigurationError where there is none."""
    if not (chosen := channels(settings)):
        raise ConfigurationError(f"--notify needs somewhere to send to: {TO_SET}")
    return chosen


def send(settings: Settings, message: Message) -> list[str]:
    """Send a message through every channel that is set; return their names.

    Raises ApiframeWarehouseError where one did not take it; the others have it then.
    """
    chosen = {_name(channel): _sent(channel, settings, message) for channel in channels(settings)}
    if problems := list(filter(None, chosen.values())):
        raise ApiframeWarehouseError("; ".join(problems))
    return list(chosen)


def tell(settings: Settings, findings: list[Finding], now: datetime, *, folder: Path, every_time: bool = False) -> None:
    """Send what is due through every channel that is set; nothing where nothing has changed.

    `folder` is the private one of the warehouse. With `every_time` all that is not in order is sent. Raises
    ApiframeWarehouseError where a channel did not take it: the next check then tells that one again, and no other.
    """
    memory = folder / f"{settings.path.name}.told.json"
    told = {} if every_time else _remembered(memory)
    problems = []
    for channel in require_channels(settings):
        name = _name(channel)
        alarms, kept = due(told.get(name, {}), findings, now)
        message = of_alarms(str(settings.path), socket.gethostname(), alarms)
        if problem := _sent(channel, settings, message) if alarms else "":
            problems.append(problem)
        else:
            told[name] = kept
    if not every_time and (any(told.values()) or memory.exists()):
        files.replace(memory, lambda file: file.write_text(encode(told), encoding="utf-8"))
    if problems:
        raise ApiframeWarehouseError("; ".join(problems))


def _sent(channel: ModuleType, settings: Settings, message: Message) -> str:
    """Send by one channel; return why it did not take it."""
    try:
        channel.send(settings, message)
    except ApiframeWarehouseError as problem:
        return str(problem)
    except Exception as problem:  # what it says may hold a secret
        return f"{_name(channel)} could not be used ({type(problem).__name__}): see its settings"
    return ""


def _name(channel: ModuleType) -> str:
    return channel.__name__.rpartition(".")[2]


def _remembered(memory: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Return what was told, by channel; where that is lost, everything is new."""
    try:
        found = json.loads(memory.read_text(encoding="utf-8"))
        return {
            channel: {
                key: {**each, "told_at": _moment(each["told_at"])}
                for key, each in told.items()
                if each["state"] and each["check"] and each["message"]
            }
            for channel, told in found.items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _moment(text: str) -> str:
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError("a time without a zone")
    return text
