"""When a scheduled run starts to score its partition: `ScoreStart`."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime, timedelta
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, model_validator

from include.spec.base import NonNegativeDuration, PositiveDuration, SpecModel

MAX_WAIT = timedelta(days=7)
MAX_WAITING_RUNS = 60
MIN_POLL_INTERVAL = timedelta(minutes=1)

_MAX_ASSET_LENGTH = 1500  # Airflow's
_SAMPLED_TICKS = 500
_SAMPLE_START = datetime(2000, 1, 1, tzinfo=UTC)


def _asset_of_airflow(text: str) -> str:
    """Refuse what can be neither the name nor the URI of an asset: a run would wait for it in vain."""
    if not text or text != text.strip() or len(text) > _MAX_ASSET_LENGTH:
        raise ValueError(
            f"expected the name or URI of an Airflow asset, 1 to {_MAX_ASSET_LENGTH:,} characters without spaces at "
            f"its ends; found '{text[:60]}'"
        )
    try:
        address = urlsplit(text)
    except ValueError as error:
        raise ValueError(f"expected the name or a valid URI of an Airflow asset; found '{text}' ({error})") from error
    if address.scheme.lower() == "airflow" and address.netloc:
        raise ValueError(f"expected the name or URI of an Airflow asset; airflow:// is reserved, found '{text}'")
    if address.netloc and address.password:
        raise ValueError("expected the URI of an Airflow asset without a password; remove it, as Airflow does")
    return text


AssetReference = Annotated[str, AfterValidator(_asset_of_airflow)]


class ScoreStart(SpecModel):
    """When a scheduled run starts to score its partition: as soon as all that is declared here is so.

    Runs by hand, backfills and `sluice score` start at once. Durations are measured from the end of the partition by
    the clock of `score_timezone`: six hours after midnight is 06:00, also in the night in which the clock is changed.

    Parameters
    ----------
    delay : timedelta
        Not before this long after the end of the partition.
    asset : str or None
        The name of an Airflow asset, or its URI (with ``://``): not before an event of it says that the partition is
        there.
    contract_holds : bool
        Not before the rows meet the model's `Contract`, of which the number of rows and every feature are part.
    deadline : timedelta or None
        Until when an asset or the contract is waited for. Then a run without the event fails, and a partition that
        breaks its contract is validated for good, and so fails. Each of them alerts.
    poll_interval : timedelta
        How often the asset's events, or the rows, are looked at.
    """

    delay: NonNegativeDuration = timedelta(0)
    asset: AssetReference | None = None
    contract_holds: bool = False
    deadline: PositiveDuration | None = None
    poll_interval: PositiveDuration = timedelta(minutes=5)

    @model_validator(mode="after")
    def _can_come_true(self) -> Self:
        if self.polls and self.deadline is None:
            raise ValueError("a start that waits for an asset or the contract needs a deadline; declare one")
        if self.deadline is not None and not self.polls:
            raise ValueError("deadline is for asset or contract_holds; declare one of them, or remove deadline")
        for name, length in (("delay", self.delay), ("deadline", self.longest)):
            if length > MAX_WAIT:
                raise ValueError(f"{name} must be at most {MAX_WAIT.days} days; found {length}")
        if self.deadline is None:
            if "poll_interval" in self.model_fields_set:
                raise ValueError("poll_interval is for asset or contract_holds; remove it")
            return self
        if self.deadline <= self.delay:
            raise ValueError(
                f"deadline must be after delay; found a deadline of {self.deadline}, a delay of {self.delay}"
            )
        if not MIN_POLL_INTERVAL <= self.poll_interval <= self.deadline - self.delay:
            raise ValueError(
                f"poll_interval must be from {MIN_POLL_INTERVAL} to the time between delay and deadline, "
                f"{self.deadline - self.delay}; found {self.poll_interval}"
            )
        return self

    @property
    def polls(self) -> bool:
        """Whether something is looked at again and again until a deadline."""
        return self.asset is not None or self.contract_holds

    @property
    def longest(self) -> timedelta:
        """How long after the end of its partition a run waits at most; zero: it does not wait."""
        return self.deadline or self.delay

    def waiting_runs(self, cron: str) -> int:
        """Return how many runs of a schedule may wait at the same time.

        No more than `MAX_WAITING_RUNS` and one are counted. It is found on the first 500 ticks from the year 2000.
        """
        if not self.longest:
            return 0
        from croniter import croniter  # Airflow's library; imported only when needed

        ticks, within, maximum = croniter(cron, _SAMPLE_START), deque[datetime](), 0
        for _ in range(_SAMPLED_TICKS):
            within.append(ticks.get_next(datetime))
            while within[-1] - within[0] >= self.longest:
                within.popleft()
            maximum = max(maximum, len(within))
            if maximum > MAX_WAITING_RUNS:
                break
        return maximum
