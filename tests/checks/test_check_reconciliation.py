"""What the account lost beyond its jobs."""

from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from decimal import Decimal

import pytest

from pipelines.checks import Finding, run_checks
from pipelines.sandbox import Sandbox
from pipelines.settings import Settings
from pipelines.stores import connect
from pipelines.sync import sync

HOUR = timedelta(hours=1)


def finding(chosen: Settings, api: Sandbox) -> Finding:
    with closing(connect(chosen)) as connection:
        [found] = [each for each in run_checks(connection, chosen, api.now) if each.check == "reconciliation"]
    return found


@pytest.mark.everywhere
def test_a_refund_that_the_balance_never_got_is_a_breach_for_a_week(settings_for: Callable[..., Settings]) -> None:
    with Sandbox(jobs=200) as api:
        chosen = settings_for(api, scope="team", balance_every="1s")
        sync(chosen)
        assert finding(chosen, api).message.endswith("in 0 pairs of readings of 7 days")
        api.advance(HOUR)
        [job] = api.add(1, status="PROCESSING", creditCost=12.5)
        api.advance(HOUR)
        sync(chosen)
        found = finding(chosen, api)
        assert (found.state, found.measured, found.threshold) == ("ok", 0, 0)
        assert found.message == "the account lost nothing beyond its jobs, in 1 pair of readings of 7 days"
        api.advance(HOUR)
        api.refunds([job], booked=False)
        api.finish([job], "FAILED")
        api.advance(HOUR)
        sync(chosen)
        assert finding(chosen, api).state == "ok"
        assert finding(chosen, api).message.endswith("; of 1 pair it cannot be told"), "the next reading confirms it"
        api.advance(HOUR)
        sync(chosen)
        found = finding(chosen, api)
        assert (found.state, found.measured) == ("breached", Decimal("12.5"))
        assert "12.5 credits are gone beyond what jobs cost" in found.message
        assert "refund missing" in found.message
        assert job in found.message
        assert finding(settings_for(api, scope="team", max_residual="12.5"), api).state == "ok"
        api.advance(timedelta(days=8))
        sync(chosen)
        assert finding(chosen, api).state == "ok"


def test_what_was_bought_is_no_loss(settings_for: Callable[..., Settings]) -> None:
    with Sandbox(jobs=200) as api:
        chosen = settings_for(api, scope="team", balance_every="1s")
        for bought in (0, 1000, 0):
            api.advance(HOUR)
            if bought:
                api.book("top-up", Decimal(bought))
            sync(chosen)
        assert finding(chosen, api).state == "ok"
