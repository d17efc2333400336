"""The embedded server: started once, found again, gone when stopped."""

from __future__ import annotations

import socket
from pathlib import Path

import psycopg
import pytest

from include.errors import DatabaseError
from include.ports import is_free
from include.warehouse import embedded, embedded_server, migrate, open_engine, start_embedded, stop_embedded
from include.warehouse.embedded import Cluster


@pytest.fixture
def home(tmp_path: Path):
    home = tmp_path / "a home with spaces"
    yield home
    stop_embedded(home)


def test_a_second_start_finds_the_running_server(home: Path) -> None:
    assert start_embedded(home, durable=False) == start_embedded(home, durable=False)


def test_data_survive_a_stop_and_a_start(home: Path) -> None:
    with psycopg.connect(start_embedded(home, durable=False)) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    stop_embedded(home)
    with psycopg.connect(start_embedded(home)) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)


def test_a_taken_port_makes_it_choose_another(home: Path) -> None:
    start_embedded(home, durable=False)
    stop_embedded(home)
    cluster = Cluster(home / "postgres")
    with socket.create_server(("127.0.0.1", 0)) as squatter:
        # Its former port may be another test's by now: this one takes a port of its own and says it was that.
        taken = squatter.getsockname()[1]
        (cluster.root / "port").write_text(str(taken))
        start_embedded(home)
        assert cluster.running_port() not in (None, taken)


def test_a_port_that_another_takes_after_the_check_makes_it_choose_again(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_embedded(home, durable=False)
    stop_embedded(home)
    cluster = Cluster(home / "postgres")
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        (cluster.root / "port").write_text(str(taken))
        # The check comes too early, as when two servers start at the same moment.
        monkeypatch.setattr(embedded, "is_free", lambda port: port == taken or is_free(port))
        start_embedded(home)
        monkeypatch.undo()
        assert cluster.running_port() not in (None, taken)


def test_the_password_is_readable_by_its_owner_only_and_needed(home: Path) -> None:
    url = start_embedded(home, durable=False)
    assert (home / "postgres" / "password").stat().st_mode & 0o077 == 0
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(url.replace(Cluster(home / "postgres").password, "guess"))


def test_a_command_stops_only_the_server_that_it_started(home: Path) -> None:
    cluster = Cluster(home / "postgres")
    with embedded_server(home):
        with embedded_server(home):
            pass
        assert cluster.running_port() is not None
    assert cluster.running_port() is None


def test_another_kind_of_database_is_refused_by_name() -> None:
    with pytest.raises(DatabaseError, match="found a 'sqlite' URL"):
        open_engine("sqlite:///x.db")


@pytest.mark.parametrize("url", ["postgresql://sluice:secret@127.0.0.1:/sluice", "postgresql://host:port/x", "sluice"])
def test_a_malformed_address_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(DatabaseError, match="expected postgresql://user:password@host:port/database") as caught:
        open_engine(url)
    assert "secret" not in str(caught.value)


def test_migrating_a_server_that_is_down_says_what_to_do() -> None:
    with pytest.raises(DatabaseError, match="correct SLUICE_DATABASE_URL"):
        migrate("postgresql://sluice:secret@127.0.0.1:1/sluice")
