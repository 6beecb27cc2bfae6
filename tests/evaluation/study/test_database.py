from __future__ import annotations

import pytest
from sqlalchemy import text

from evaluation.study import schema
from evaluation.study.database import Database
from rotationbench.errors import ConfigError


def test_databases_that_cannot_be_used_are_one_line(tmp_path):
    for url, message in (
        ("nonsense", "expected a URL of SQLAlchemy"),
        ("mysql://localhost/x", "expected sqlite or postgresql"),
        ("sqlite://", "expected a file for SQLite"),
        ("postgresql+psycopg://me:secret@127.0.0.1:1/none", r"expected a database that can be used, got .*\*\*\*.*"),
    ):
        with pytest.raises(ConfigError, match=message) as caught:
            Database(url)
        assert "secret" not in str(caught.value)
    (tmp_path / "text.sqlite3").write_text("no database, " * 100)
    with pytest.raises(ConfigError, match="not a database"):
        Database(f"sqlite:///{tmp_path / 'text.sqlite3'}")
    with pytest.raises(ConfigError, match="expected the database of a study, found none"):
        Database(f"sqlite:///{tmp_path / 'none.sqlite3'}", create=False)


def test_versions_of_the_schema(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path / 'study.sqlite3'}"
    database = Database(url)
    monkeypatch.setattr(schema, "VERSION", schema.VERSION + 1)
    monkeypatch.setitem(schema.MIGRATIONS, schema.VERSION, ("ALTER TABLE seat ADD COLUMN remark TEXT",))
    database = Database(url)
    with database.reading() as session:
        session.execute(text("SELECT remark FROM seat"))
        assert session.execute(text("SELECT version FROM schema_version")).scalar_one() == schema.VERSION
    # A statement that fails leaves the tables and the version as they were.
    monkeypatch.setattr(schema, "VERSION", schema.VERSION + 1)
    monkeypatch.setitem(
        schema.MIGRATIONS,
        schema.VERSION,
        ("ALTER TABLE seat ADD COLUMN other TEXT", "ALTER TABLE unknown_table ADD COLUMN x TEXT"),
    )
    with pytest.raises(ConfigError, match="no such table: unknown_table"):
        Database(url)
    monkeypatch.setattr(schema, "VERSION", schema.VERSION - 1)
    with Database(url).reading() as session:
        assert "other" not in [row[1] for row in session.execute(text("PRAGMA table_info(seat)"))]
    monkeypatch.setattr(schema, "VERSION", 0)
    with pytest.raises(ConfigError, match="expected version 0 or earlier, got"):
        Database(url)


def test_a_database_of_something_else_is_left_alone(tmp_path):
    url = f"sqlite:///{tmp_path / 'other.sqlite3'}"
    database = Database(url)
    with database.writing() as session:
        for table in ("answer", "seat", "question", "picture", "sample", "participant", "study", "schema_version"):
            session.execute(text(f"DROP TABLE {table}"))
        session.execute(text("CREATE TABLE recipes (name TEXT)"))
    with pytest.raises(ConfigError, match=r"got one of \['recipes'\]"):
        Database(url)
