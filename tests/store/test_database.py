"""Opening the database: settings, schema, plain errors."""

from __future__ import annotations

import errno
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, select, text
from sqlalchemy.pool import NullPool

from overtone.errors import ApiError, Code, OvertoneError, ResourceExhausted
from overtone.store import database
from overtone.store.database import SCHEMA_VERSION, Database
from overtone.store.store import Store
from overtone.store.tables import jobs, metadata


@pytest.mark.sqlite
def test_sqlite_keeps_what_it_promised(store: Store) -> None:
    with store.reading() as connection:
        found = [connection.execute(text(f"PRAGMA {name}")).scalar() for name in SETTINGS]
    assert dict(zip(SETTINGS, found, strict=True)) == SETTINGS


SETTINGS = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_the_migrations_end_in_the_tables(store: Store) -> None:
    with store.reading() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
    assert differences == []


def test_the_schema_version_is_the_newest_migration() -> None:
    folder = Path(database.__file__).parent / "migrations"
    assert ScriptDirectory(str(folder)).get_current_head() == SCHEMA_VERSION


@pytest.mark.sqlite
def test_the_first_schema_is_brought_up_to_date_with_its_rows(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/old.db"
    config = Config()
    config.set_main_option("script_location", str(Path(database.__file__).parent / "migrations"))
    engine = create_engine(url, poolclass=NullPool)  # which closes its connections
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(text("INSERT INTO meta VALUES ('kept', 'yes')"))
        connection.execute(text(OLD_MODEL))
        connection.execute(text(OLD_JOB))
    with closing(Database(url)) as opened, opened.reading() as connection:
        assert connection.execute(text("SELECT value FROM meta WHERE key = 'kept'")).scalar() == "yes"
        assert connection.execute(text("SELECT count(*) FROM deleted_folders")).scalar() == 0
        assert connection.execute(select(jobs.c.state, jobs.c.crashes, jobs.c.crash_record)).one() == (
            "RUNNING",
            1,
            None,
        )


OLD_MODEL = """INSERT INTO tuned_models
    (uid, id, display_name, description, search_text, base_model, base_id, base_revision, reader_project_numbers,
     state, create_time, update_time)
    VALUES (1, 'a', '', '', '', 'models/tiny', 'tiny', 'r1', '[]', 'CREATING', 0, 0)"""
OLD_JOB = """INSERT INTO jobs
    (operation_id, tuned_model_uid, base_id, state, epoch_count, batch_size, learning_rate, num_examples, num_tokens,
     total_steps, completed_steps, seed, continues, attempt, crashes, cancel_requested, created_at)
    VALUES ('o', 1, 'tiny', 'RUNNING', 1, 1, 0.1, 1, 1, 1, 0, 7, false, 2, 1, false, 0)"""


@pytest.mark.sqlite
def test_names_of_the_hosted_service_become_ids(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/old.db"
    config = Config()
    config.set_main_option("script_location", str(Path(database.__file__).parent / "migrations"))
    values = "display_name, description, search_text, base_id, base_revision, reader_project_numbers, state"
    engine = create_engine(url, poolclass=NullPool)  # which closes its connections
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
        for id_, base, source in (("a", "models/tiny", "NULL"), ("b", "models/x", "'tunedModels/a'")):
            connection.execute(
                text(
                    f"INSERT INTO tuned_models (id, base_model, source_tuned_model, {values}, create_time, update_time)"
                    f" VALUES ('{id_}', '{base}', {source}, '', '', '', 'tiny', '', '[]', 'FAILED', 0, 0)"
                )
            )
    with closing(Database(url)) as opened, opened.reading() as connection:
        rows = connection.execute(text("SELECT base_model, source_tuned_model FROM tuned_models ORDER BY id"))
        assert [tuple(row) for row in rows] == [("tiny", None), ("x", "a")]


def test_opening_again_does_not_import_alembic(store: Store) -> None:
    program = f"""
import sys
from pathlib import Path
from overtone.store.store import Store
Store({store.url!r}, Path({str(store.artifacts.root)!r}))
assert "alembic" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_two_processes_may_open_a_new_database_at_once(tmp_path: Path) -> None:
    program = f"from overtone.store.database import Database; Database('sqlite:///{tmp_path}/new.db')"
    both = [subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE) for _ in range(2)]
    assert [process.communicate()[1] for process in both] == [b"", b""]


def test_a_database_from_the_future_is_left_alone(store: Store) -> None:
    with store.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(OvertoneError, match="newer version of Overtone: its schema is 9999"):
        Database(store.url)


def test_an_error_in_a_transaction_undoes_it(store: Store) -> None:
    with pytest.raises(RuntimeError), store.writing() as connection:
        connection.execute(text("INSERT INTO meta VALUES ('a', 'b')"))
        raise RuntimeError
    with store.reading() as connection:
        assert connection.execute(text("SELECT count(*) FROM meta WHERE key = 'a'")).scalar() == 0


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_said_plainly(store: Store, number: int) -> None:
    with pytest.raises(ResourceExhausted, match="disk that holds Overtone's data is full"), store.writing():
        raise OSError(number, "no space")


@pytest.mark.sqlite
def test_a_full_database_file_is_said_plainly(store: Store) -> None:
    blob = "x" * 10_000_000
    with pytest.raises(ResourceExhausted), store.writing() as connection:
        connection.execute(text("PRAGMA max_page_count = 1"))
        connection.execute(text("INSERT INTO meta VALUES ('big', :blob)"), {"blob": blob})


def test_another_trouble_of_the_disk_names_itself(store: Store) -> None:
    with pytest.raises(ApiError, match="Read-only file system") as caught, store.writing():
        raise OSError(errno.EROFS, "Read-only file system")
    assert caught.value.code is Code.INTERNAL
