"""An account with a first sync behind it."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from beside import Account

from pipelines.sandbox import Sandbox


@pytest.fixture
def account(isolated: Path) -> Iterator[Account]:
    with Sandbox(jobs=300, days=10) as api:
        api.advance(timedelta(hours=30))
        api.add(2, status="FAILED", creditCost=12.5)
        account = Account(api, isolated)
        account.sync()
        yield account
