"""A study's database: SQLite in a file, or PostgreSQL; any number of servers may work on one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.orm import Session

from evaluation.study.schema import prepare
from rotationbench.errors import ConfigError

BACKENDS = ("sqlite", "postgresql")
WAIT_SECONDS = 20
"""How long a writer of another process is waited for."""
CONNECTIONS, MORE_CONNECTIONS = 8, 24
LOCK = 7_240_106_442
"""Any number that all servers share: who holds this lock of PostgreSQL makes or changes tables and the design."""


class Database:
    """The database at `url`, its tables made or brought to this version.

    SQLite works with a write-ahead log that is on the disk before a transaction counts, and overwrites what is
    deleted.

    Args:
        url: of SQLAlchemy, such as `sqlite:///study.sqlite3` or `postgresql+psycopg://user:password@host/name`.
        create: whether a file of SQLite is made when it is missing.

    Raises:
        ConfigError: when it cannot be reached or belongs to something else.
    """

    def __init__(self, url: str, *, create: bool = True) -> None:
        try:
            address = make_url(url)
        except ArgumentError as error:
            raise ConfigError(f"study.database: expected a URL of SQLAlchemy, got {url!r}.") from error
        self.name = address.render_as_string(hide_password=True)
        if address.get_backend_name() not in BACKENDS:
            raise ConfigError(f"study.database: expected {' or '.join(BACKENDS)}, got {self.name!r}.")
        self._is_file = address.get_backend_name() == "sqlite"
        if self._is_file:
            _require_file(address.database, create)
        options: dict[str, Any] = {"connect_args": {"timeout": WAIT_SECONDS}} if self._is_file else {}
        try:
            self._engine = create_engine(
                address,
                pool_size=CONNECTIONS,
                max_overflow=MORE_CONNECTIONS,
                pool_pre_ping=not self._is_file,
                **options,
            )
        except (NoSuchModuleError, ImportError) as error:
            raise ConfigError(f"study.database: expected a driver that is installed, got {self.name!r}.") from error
        if self._is_file:
            _configure_sqlite(self._engine)
        self._writer = self._engine.execution_options(writing=True)
        # Writers of one process queue here, in order; SQLite would let them try again and again.
        self._turn = threading.Lock() if self._is_file else nullcontext()
        try:
            with self._turn, self._writer.begin() as connection:
                if not self._is_file:
                    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
                prepare(connection)
        except DBAPIError as error:
            reason = " ".join(str(error.orig).split())
            raise ConfigError(
                f"study.database: expected a database that can be used, got {self.name}: {reason}."
            ) from error

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that sees one state of the database."""
        with Session(self._engine, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def writing(self, *, alone: bool = False) -> Iterator[Session]:
        """A session whose changes are on the disk when the block ends, or not there at all when it raises.

        Args:
            alone: let no other server do the same meanwhile; with SQLite that is always so.
        """
        with self._turn, Session(self._writer) as session, session.begin():
            if alone and not self._is_file:
                session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
            yield session

    def close(self) -> None:
        """Give back all connections."""
        self._engine.dispose()


def _require_file(path: str | None, create: bool) -> None:
    if path in (None, "", ":memory:"):
        raise ConfigError("study.database: expected a file for SQLite, got a database in memory.")
    file = Path(str(path))
    if not create and not file.is_file():
        raise ConfigError(f"study.database: {file}: expected the database of a study, found none.")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"study.database: {file}: expected a folder that can be written to, got: {error.strerror}."
        ) from error


def _configure_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def connected(connection: Any, _: Any) -> None:
        # The driver would begin transactions by itself, and late.
        connection.isolation_level = None
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "secure_delete = ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begun(connection: Any) -> None:
        # A writer takes its lock at once: taken later, it could fail on what another wrote meanwhile.
        writing = connection.get_execution_options().get("writing")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
