"""Whose jobs these are: what `GET /me` says, and the rule by which a key may go on with what another has loaded.

The key itself is never kept: a salted digest of it, over the account that it was found to belong to, tells the next
sync whether there is anything to ask.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Protocol

from pipelines.apiframe.records import exact_credits
from pipelines.errors import ApiframeWarehouseError, ConfigurationError, KeyRefusedError
from pipelines.exact import one_line, shorten

NOT_FOUND = 404


@dataclass(frozen=True)
class Account:
    """A user and its team, as far as they are known: ids count, names are for people."""

    user_id: str | None = None
    team_id: str | None = None
    email: str | None = None
    team_name: str | None = None

    @property
    def is_known(self) -> bool:
        """Tell whether anything is known that could be compared."""
        return self.user_id is not None or self.team_id is not None

    def completed(self, other: Account) -> Account:
        """Return this account, with the ids of another where its own are not known."""
        return replace(self, user_id=self.user_id or other.user_id, team_id=self.team_id or other.team_id)

    def __str__(self) -> str:
        """Name it on one line."""
        parts = (("user", self.user_id, self.email), ("team", self.team_id, self.team_name))
        named = [f"{kind} {key}" + (f" ({name})" if name else "") for kind, key, name in parts if key]
        return " of ".join(named) or "an account without id"


def account_of(body: Any) -> Account:
    """Return the account that `GET /me` names. Every part may be missing; raises ValueError where it is no object."""
    if not isinstance(body, dict):
        raise ValueError(f"no object: {shorten(body)}")
    user, team = (body[name] if isinstance(body.get(name), dict) else {} for name in ("user", "team"))
    return Account(_told(user.get("id")), _told(team.get("id")), _told(user.get("email")), _told(team.get("name")))


@dataclass(frozen=True)
class Standing:
    """What `GET /me` has answered: whose key it is, and what is left; without credits, `problem` says why."""

    read_at: int  # microseconds since 1970 by the API's clock
    account: Account = Account()
    plan: str | None = None
    credits: Decimal | None = None
    problem: str | None = None


def standing(body: Any, read_at: int) -> Standing:
    """Return what the answer of `GET /me` says; raises ValueError where it is no object."""
    account, team = account_of(body), body.get("team")
    if not isinstance(team, dict):
        absent = "the key belongs to no team, and credits are a team's"
        return Standing(read_at, account, problem=absent if team is None else f"team is no object: {shorten(team)}")
    left, problem = None, None
    try:
        left = exact_credits(team.get("credits"))
    except ValueError:
        problem = f"team.credits is no number of credits: {shorten(team.get('credits'))}"
    return Standing(read_at, account, _told(team.get("plan")), left, problem)


class Asks(Protocol):
    """What can ask whose key it is: a client."""

    scope: str

    def me(self) -> Standing:
        """Read the account."""

    def page(self, *, limit: int) -> object:
        """Read the newest jobs."""


def is_same(recorded: Account, found: Account, scope: str) -> bool | None:
    """Tell whether a key of `found` may read on with `scope` in what belongs to `recorded`; None: cannot be told.

    The team is the account of scope team, the user that of scope user; no scope goes from one team to another.
    """
    teams, users = (recorded.team_id, found.team_id), (recorded.user_id, found.user_id)
    if None not in teams and (teams[0] != teams[1] or scope == "team" or recorded.user_id is None):
        return teams[0] == teams[1]
    return None if None in users else users[0] == users[1]


def verify(client: Asks, key: str, recorded: Account, seal: str | None, place: object) -> tuple[Account, str | None]:
    """Return the account of the key, and the seal to keep for the next time (None: ask again then).

    `recorded` is whose jobs lie in `place` already. Asks the API only where `seal` is not that of this key and
    account. Raises ConfigurationError where the key is another account's, ApiframeWarehouseError where that cannot be
    told although an account is on record. Where `/me` refuses the key the jobs list decides: KeyRefusedError where it
    does too; otherwise `/me` is a part of the API that this key may not use, and has told nothing.
    """
    salt = seal.split(" ")[0] if seal else secrets.token_hex(16)
    if seal and secrets.compare_digest(seal, _seal(salt, key, recorded)):
        return recorded, seal
    problem: object = "it names neither"
    try:
        found = client.me().account
    except ApiframeWarehouseError as fault:
        withheld = isinstance(fault, KeyRefusedError)
        if withheld:
            client.page(limit=1)
        if not recorded.is_known:  # an API that does not tell is not asked again
            never = withheld or getattr(fault, "status", None) == NOT_FOUND
            return recorded, _seal(salt, key, recorded) if never else None
        found, problem = Account(), fault
    same = is_same(recorded, found, client.scope) if recorded.is_known else True
    if same is None:
        raise ApiframeWarehouseError(
            f"{place} belongs to {recorded}, and the API does not tell whether this key does too: {problem}; "
            "nothing was written, run again later"
        )
    if not same:
        raise ConfigurationError(
            f"{place} belongs to {recorded}, but the key to {found}; "
            "use a key of the first, or set another warehouse.path for the second"
        )
    account = found.completed(recorded)
    return account, _seal(salt, key, account)


def _seal(salt: str, key: str, account: Account) -> str:
    text = "\n".join((salt, key, account.user_id or "", account.team_id or ""))
    return f"{salt} {hashlib.sha256(text.encode()).hexdigest()}"


def _told(value: object) -> str | None:
    """Return an id or a name: short, on one line, without anything that a terminal obeys or a database refuses."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return one_line(str(value)).strip() or None
