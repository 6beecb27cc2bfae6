"""The tables of a study's database, and how a database of an earlier version becomes one of this.

Times are seconds since 1970, UTC. Nothing in them says who a participant is: no name, no address.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, Connection, ForeignKey, LargeBinary, String, inspect, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from rotationbench.errors import ConfigError

VERSION = 1
MIGRATIONS: dict[int, tuple[str, ...]] = {}
"""Per version, the statements that lead to it from the version before."""


class Base(DeclarativeBase):
    """All tables."""

    type_annotation_map = {dict[str, Any]: JSON, list[str]: JSON, list[int]: JSON}  # noqa: RUF012


class SchemaVersion(Base):
    """The one row that says which version the tables have."""

    __tablename__ = "schema_version"
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


class Study(Base):
    """The one study of a database.

    Attributes:
        key: random text that tells it from all others.
        secret: what cookies and links are signed with.
        kind: `"best"`, `"pairs"` or `"rank"`.
        labels: the labels that are compared.
        made_from: the settings that the design and the pictures were made from.
        rules: when answers are left out; see `evaluation.study.rules.Rules`.
        closed: when the organiser closed it; None while it is open.
    """

    __tablename__ = "study"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    key: Mapped[str] = mapped_column(String(32))
    secret: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(8))
    labels: Mapped[list[str]]
    made_from: Mapped[dict[str, Any]]
    rules: Mapped[dict[str, Any]]
    created: Mapped[float]
    closed: Mapped[float | None]


class Sample(Base):
    """A sample that is asked about; `figure` and `plain` are tokens of its pictures with and without marks."""

    __tablename__ = "sample"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(255), unique=True)
    digest: Mapped[str] = mapped_column(String(64))
    split: Mapped[str | None]
    category: Mapped[str | None]
    angle: Mapped[float | None]
    width: Mapped[int]
    height: Mapped[int]
    figure: Mapped[str] = mapped_column(String(32))
    plain: Mapped[str] = mapped_column(String(32))


class Picture(Base):
    """A picture as browsers get it.

    Attributes:
        token: random; the only name of it that a browser sees.
        sample: what it shows.
        option: index of the label that made it, `UNCHANGED` or `EXACT`; None for what is no option.
        content: WebP without metadata.
    """

    __tablename__ = "picture"
    token: Mapped[str] = mapped_column(String(32), primary_key=True)
    sample: Mapped[int] = mapped_column(ForeignKey("sample.id"), index=True)
    option: Mapped[int | None]
    content: Mapped[bytes] = mapped_column(LargeBinary)


class Question(Base):
    """One question in its place in a questionnaire.

    Attributes:
        kind: `"vote"`, `"repeat"` or `"check"`.
        options: what stands at each position: indices of labels, or `UNCHANGED` and `EXACT`.
        pictures: tokens, in the order of `options`.
        repeats: place of what is asked again.
    """

    __tablename__ = "question"
    questionnaire: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    place: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(8))
    sample: Mapped[int] = mapped_column(ForeignKey("sample.id"))
    options: Mapped[list[int]]
    pictures: Mapped[list[str]]
    repeats: Mapped[int | None]


class Participant(Base):
    """Someone who answers, known by a random id.

    Attributes:
        questionnaire: which one they have; None for someone who was invited and has not begun, or who withdrew.
        seen: when they last asked for or answered something.
        origin: `"page"` or `"file"`.
    """

    __tablename__ = "participant"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    questionnaire: Mapped[int | None]
    language: Mapped[str | None] = mapped_column(String(16))
    origin: Mapped[str] = mapped_column(String(8))
    invited: Mapped[float | None]
    began: Mapped[float | None]
    seen: Mapped[float | None]
    finished: Mapped[float | None]
    withdrew: Mapped[float | None]


class Seat(Base):
    """A questionnaire and who has it; None while it is free."""

    __tablename__ = "seat"
    questionnaire: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    participant: Mapped[str | None] = mapped_column(ForeignKey("participant.id"))


class Answer(Base):
    """What a participant chose.

    Attributes:
        shown: options as they stood from the first position to the last.
        chosen: options from the best to the worst; only the best unless all were to be ranked.
        seconds: how long the question was open.
    """

    __tablename__ = "answer"
    participant: Mapped[str] = mapped_column(ForeignKey("participant.id"), primary_key=True)
    place: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    questionnaire: Mapped[int]
    shown: Mapped[list[int]]
    chosen: Mapped[list[int]]
    seconds: Mapped[float]
    answered: Mapped[float] = mapped_column(index=True)


def prepare(connection: Connection) -> None:
    """Make the tables, or bring them to this version; the caller's transaction holds all of it or nothing.

    Raises:
        ConfigError: when the database belongs to something else or to a later version.
    """
    found = set(inspect(connection).get_table_names())
    if not found:
        Base.metadata.create_all(connection)
        connection.execute(SchemaVersion.__table__.insert().values(version=VERSION))  # type: ignore[attr-defined]
        return
    if SchemaVersion.__tablename__ not in found:
        raise ConfigError(f"study.database: expected an empty database or one of a study, got one of {sorted(found)}.")
    version = connection.execute(text("SELECT version FROM schema_version")).scalar_one()
    if version > VERSION:
        raise ConfigError(
            f"study.database: expected version {VERSION} or earlier, got {version}: made by a newer program."
        )
    for reached in range(version + 1, VERSION + 1):
        for statement in MIGRATIONS[reached]:
            connection.execute(text(statement))
    connection.execute(text("UPDATE schema_version SET version = :version"), {"version": VERSION})
