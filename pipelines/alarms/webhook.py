"""Any program that takes JSON by POST: `checks.webhook_url`."""

import requests

from pipelines.alarms import Message
from pipelines.errors import ApiframeWarehouseError
from pipelines.exact import encode
from pipelines.settings import Settings

SECONDS = 30


def is_set(settings: Settings) -> bool:
    """Tell whether there is an address."""
    return settings.webhook_url is not None


def send(settings: Settings, message: Message) -> None:
    """Post `{"warehouse", "host", "text", "changes": [{"change", "check", "state", "message", ...}]}`.

    Of a digest `"digest": {"first_day", "last_day", "lines", ...}` takes the place of the changes.

    The address, which may hold a secret, is never shown.
    """
    try:
        with requests.post(
            str(settings.webhook_url),
            data=encode(message.facts).encode(),
            headers={"Content-Type": "application/json"},
            timeout=SECONDS,
            allow_redirects=False,
            stream=True,  # what it answers beside its status may never end
        ) as answer:
            refused = f"it answered {answer.status_code}" if not 200 <= answer.status_code < 300 else None
    except (requests.RequestException, ValueError) as problem:
        refused = type(problem).__name__
    if refused:
        raise ApiframeWarehouseError(f"the webhook did not take the message ({refused}): see checks.webhook_url")
