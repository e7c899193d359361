"""Whether the account's balance is still read, against `checks.max_age`."""

from pipelines.checks import Asked, Finding
from pipelines.tables.balances import readings
from pipelines.warehouse import Warehouse
from pipelines.wording import exact, label, seconds

PLACE = 60


def measure(asked: Asked) -> list[Finding]:
    """Say what the account has left; no reading for longer than `checks.max_age` does not pass for one."""
    most = asked.settings.max_age.total_seconds()
    if not asked.settings.balance_every:
        return [Finding("balance", "ok", None, most, "not read, since sources.apiframe.balance_every is 0")]
    last, good, first = readings(Warehouse.over(asked.connection))
    since = good or first
    if last is None or since is None:
        return [Finding("balance", "ok", None, most, "no balance was read yet: the next sync asks for it")]
    age = asked.now.timestamp() - since.read_at / 1e6
    if good and age <= most:
        left = f"{exact(good.credits)} credits were left {seconds(age)} ago"
        return [Finding("balance", "ok", age, most, left)]
    reason = f": {label(last.problem, 200)}" if last.problem else ""
    read = f"the balance was last read {seconds(age)} ago" if good else "the balance could not be read"
    if age <= most:
        return [Finding("balance", "ok", None, most, f"{read}{reason}")]
    off = "sources.apiframe.balance_every = 0 leaves it out"
    return [Finding("balance", "unmeasured", age if good else None, most, f"not measured: {read}{reason} ({off})")]
