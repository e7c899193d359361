"""Whether results reach our systems."""

from collections.abc import Callable
from typing import Any

from pipelines.pages.webhooks import Webhooks

Make = Callable[..., Any]


def test_states_with_their_newest_job(add: Make, answer: Make, cells: Make) -> None:
    add(3, "COMPLETED", webhook_status="delivered", hours=2)
    add(1, "COMPLETED", webhook_status="failed")
    add(1, "COMPLETED")
    section = answer(Webhooks)
    assert section.sentence() == "25.0 % of 4 webhooks failed."
    assert cells(section)[1] == ["failed", "1", "25.0", "job-3", "2024-04-16 11:00"]


def test_none_failed(add: Make, answer: Make) -> None:
    add(1, "COMPLETED", webhook_status="delivered")
    assert answer(Webhooks).sentence() == "None of 1 webhook failed."


def test_an_account_without_webhooks_sees_nothing_of_it(add: Make, answer: Make) -> None:
    add(1, "COMPLETED")
    assert answer(Webhooks).data is None
