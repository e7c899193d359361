"""Slack, by an incoming webhook: `runtime.slack_incoming_hook`."""

from html import escape

from pipelines.alarms import Message
from pipelines.errors import ApiframeWarehouseError
from pipelines.settings import Settings


def is_set(settings: Settings) -> bool:
    """Tell whether there is an address."""
    return settings.slack_hook is not None


def send(settings: Settings, message: Message) -> None:
    """Send it. The address, which is a secret, is never shown."""
    from dlt.common.runtime.slack import send_slack_message  # half a second that only an alarm costs

    try:
        send_slack_message(str(settings.slack_hook), escape(message.text, quote=False), is_markdown=False)
    except Exception as problem:
        # The message of the fault holds the address, and so does its traceback.
        raise ApiframeWarehouseError(
            f"Slack did not take the message ({type(problem).__name__}): see runtime.slack_incoming_hook"
        ) from None
