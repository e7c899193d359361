"""A sign of life after each good sync, for a service that calls when it stays away: `checks.heartbeat_url`."""

import requests

SECONDS = 10


def beat(url: str) -> str | None:
    """Ask for the address once; returns what went wrong, without the address, which may hold a secret."""
    try:
        # What it answers beside its status may never end.
        with requests.get(url, timeout=SECONDS, allow_redirects=False, stream=True) as answer:
            status = answer.status_code
    except (requests.RequestException, ValueError) as problem:
        return f"the heartbeat was not taken ({type(problem).__name__}): see checks.heartbeat_url"
    return None if 200 <= status < 300 else f"the heartbeat was not taken (answered {status}): see checks.heartbeat_url"
