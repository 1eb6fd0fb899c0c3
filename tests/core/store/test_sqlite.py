import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import event, text

from freelane.errors import StateError
from freelane.model.job import Job
from freelane.model.lifecycle import JobState
from freelane.state import jobs, operations
from freelane.store.engine import open_store
from freelane.store.sqlite import set_aside

PAGE = 4096


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder with a database of 500 jobs."""
    folder = tmp_path / "freelane"
    store = open_store(None, folder)
    created = datetime(2026, 1, 1, tzinfo=UTC)
    with store.begin() as c:
        for n in range(500):
            job = Job(
                id=f"digits-{n:04}",
                name="digits",
                project="digits",
                provider="local",
                emulated=False,
                handle=None,
                spec_hash="5" * 64,
                operation=f"{n:032}",
                state=JobState.SUCCEEDED,
                detail="",
                created=created + timedelta(seconds=n),
            )
            jobs.add(c, "me", job)
    store.close()
    return folder


def use(folder):
    """Open, check and read all of it."""
    store = open_store(None, folder)
    store.check()
    with store.read() as c:
        return jobs.newest(c, "me", limit=None)


def test_the_folder_and_the_file_are_the_users_alone(tmp_path):
    open_store(None, tmp_path / "freelane").close()
    assert stat.S_IMODE((tmp_path / "freelane").stat().st_mode) == 0o700
    for file in (tmp_path / "freelane").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_every_connection_is_durable_and_the_journal_suits_the_sqlite_linked(folder):
    wanted = "wal" if sqlite3.sqlite_version_info >= (3, 51, 3) else "truncate"
    with open_store(None, folder).read() as c:
        assert c.exec_driver_sql("PRAGMA journal_mode").scalar() == wanted
        assert c.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert c.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        assert c.exec_driver_sql("PRAGMA busy_timeout").scalar() == 15_000


def test_a_file_that_another_sqlite_left_in_the_other_mode_is_brought_back(folder):
    before = use(folder)
    other = "delete" if sqlite3.sqlite_version_info >= (3, 51, 3) else "wal"
    connection = sqlite3.connect(folder / "state.db")
    connection.execute(f"PRAGMA journal_mode={other}")
    connection.close()
    with open_store(None, folder).read() as c:
        assert c.exec_driver_sql("PRAGMA journal_mode").scalar() != other
    assert use(folder) == before


def test_a_path_with_marks_of_a_url_is_taken_as_it_is(tmp_path):
    folder = tmp_path / "50% off? #1 é"
    open_store(None, folder).close()
    assert (folder / "state.db").stat().st_size > 0


@pytest.fixture
def plan_of(folder):
    """How SQLite would answer the last statement that a reading function sends."""

    def plan(reading, **arguments):
        statements = []
        store = open_store(None, folder)
        event.listen(
            store._engine,
            "before_cursor_execute",
            lambda *arguments: statements.append(arguments[2:4]),
        )
        with store.read() as c:
            reading(c, "me", **arguments)
            statement, values = statements[-1]
            rows = c.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
            return " ".join(row.detail for row in rows)

    return plan


@pytest.mark.parametrize("project", [None, "digits"])
def test_the_newest_jobs_are_read_from_an_index_without_sorting(plan_of, project):
    plan = plan_of(jobs.newest, project=project, limit=50)
    assert "USING INDEX jobs_by_" in plan
    assert "TEMP B-TREE" not in plan


def test_the_jobs_that_go_on_are_found_without_looking_at_those_that_ended(plan_of):
    assert "USING INDEX jobs_by_state (owner=? AND state=?)" in plan_of(jobs.active)


def test_unfinished_operations_are_found_without_looking_at_those_that_ended(plan_of):
    assert "USING INDEX operations_one_unfinished" in plan_of(operations.unfinished)


def flip(file, size):
    """Turn over every bit of each page but the first."""
    for page in range(PAGE, size, PAGE):
        file.seek(page)
        turned = bytes(byte ^ 0xFF for byte in file.read(PAGE))
        file.seek(page)
        file.write(turned)


def flip_header(file, size):
    file.write(b"\xff" * 100)


def overwrite_with_text(file, size):
    file.truncate(0)
    file.write(b"this is my shopping list, not a database\n" * 100)


def cut_in_half(file, size):
    file.truncate(size // 2)


def cut_within_the_header(file, size):
    file.truncate(50)


@pytest.mark.parametrize(
    "harm", [flip, flip_header, overwrite_with_text, cut_in_half, cut_within_the_header]
)
def test_a_damaged_file_is_refused_and_kept(folder, harm):
    with (folder / "state.db").open("r+b") as file:
        harm(file, os.fstat(file.fileno()).st_size)
    damaged = (folder / "state.db").read_bytes()

    with pytest.raises(StateError, match="is damaged") as refused:
        use(folder)

    assert "freelane cleanup --rebuild" in refused.value.message
    assert "\n" not in refused.value.message
    assert (folder / "state.db").read_bytes() == damaged


def test_a_damaged_file_is_set_aside_with_its_journal_and_a_new_one_begins(folder):
    (folder / "state.db").write_bytes(b"no database")
    (folder / "state.db-journal").write_bytes(b"its journal")

    aside = set_aside(folder)

    assert aside.name.startswith("state.db.corrupt-2")
    assert aside.read_bytes() == b"no database"
    assert aside.with_name(aside.name + "-journal").read_bytes() == b"its journal"
    assert use(folder) == []


def test_setting_aside_what_is_not_there_is_refused(tmp_path):
    with pytest.raises(StateError, match="no database"):
        set_aside(tmp_path)


def test_a_deleted_database_begins_anew_and_says_so(folder):
    (folder / "state.db").unlink()
    store = open_store(None, folder)
    assert store.created
    with store.read() as c:
        assert jobs.newest(c, "me", limit=50) == []


def test_a_database_that_is_deleted_under_an_open_store_is_a_state_error(folder):
    store = open_store(None, folder)
    (folder / "state.db").unlink()
    with pytest.raises(StateError, match="was deleted"), store.begin():
        pass
    assert not (folder / "state.db").exists()


def test_a_kept_connection_never_writes_into_a_database_that_was_set_aside(folder):
    store = open_store(None, folder)
    with store.begin() as c:
        c.execute(text("DELETE FROM jobs"))
    aside = set_aside(folder)
    before = aside.read_bytes()
    open_store(None, folder).close()
    with store.begin() as c:
        assert c.scalar(text("SELECT count(*) FROM operations")) == 0
        c.execute(text("UPDATE alembic_version SET version_num = 'mine'"))
    store.close()
    assert aside.read_bytes() == before
    connection = sqlite3.connect(folder / "state.db")
    assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("mine",)
    connection.close()


@pytest.mark.skipif(
    sqlite3.sqlite_version_info >= (3, 51, 3), reason="in WAL mode a writer passes readers"
)
def test_a_commit_that_a_reader_holds_up_too_long_is_rolled_back_and_the_store_works_on(folder):
    reader, writer = open_store(None, folder), open_store(None, folder, busy_timeout_s=0.1)
    with reader.read() as c:
        c.scalar(text("SELECT count(*) FROM jobs"))
        with pytest.raises(StateError, match="held by another"), writer.begin() as late:
            late.execute(text("DELETE FROM jobs"))
    with writer.begin() as c:
        assert c.scalar(text("SELECT count(*) FROM jobs")) == 500
    reader.close()
    writer.close()


def open_files(folder):
    """How often this process has the database open."""
    links = list(Path("/proc/self/fd").iterdir())
    return sum(link.exists() and link.resolve() == folder / "state.db" for link in links)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="only Linux shows open files")
def test_a_writer_and_a_reader_are_kept_between_transactions_and_none_after_closing(folder):
    before = open_files(folder)
    store = open_store(None, folder)
    for _ in range(3):
        with store.begin(), store.read():
            pass
    assert open_files(folder) == before + 2
    store.close()
    assert open_files(folder) == before


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="only Linux shows open files")
def test_no_open_connection_is_carried_across_a_fork(folder):
    store = open_store(None, folder)
    child = os.fork()
    if child == 0:
        os._exit(open_files(folder))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    store.close()


def test_a_folder_that_cannot_be_made_is_a_state_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="cannot be made"):
        open_store(None, tmp_path / "file" / "freelane")


def in_a_process(script, folder):
    """Run it on the folder in a process of its own; what it said."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + script, str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or done.stderr


PRELUDE = """
import os, resource, sys
from pathlib import Path
from sqlalchemy import event, text
from freelane.errors import StateError
from freelane.store.engine import open_store

folder = Path(sys.argv[1])
fill = text(
    "INSERT INTO operations (id, verb, owner, project, provider, emulated, name, spec_hash,"
    " created, step) VALUES (:id, '', '', '', '', 0, :id, :id, 0, 'DONE')"
)
def attempt(write):
    try:
        with open_store(None, folder).begin() as c:
            if write:
                for n in range(200):
                    c.execute(fill, {"id": str(n) * 500})
        print("done")
    except StateError as error:
        print(error.exit_code, error.message)
"""


def test_a_disk_that_is_full_is_a_state_error_and_nothing_is_lost(folder):
    before = use(folder)
    size = (folder / "state.db").stat().st_size
    said = in_a_process(
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size})); attempt(write=True)", folder
    )
    assert said.startswith("7 the disk under")
    assert use(folder) == before


def test_a_disk_that_is_full_from_the_start_leaves_nothing_that_stands_in_the_way(tmp_path):
    said = in_a_process(
        "resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192)); attempt(write=False)", tmp_path
    )
    assert said.startswith("7 the disk under")
    assert use(tmp_path) == []


@pytest.fixture
def home_of_another():
    """A folder outside pytest's own, which a process that gave up root may still enter."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


GIVE_UP_ROOT = "os.getuid() or os.setuid(65534)\n"


def test_a_home_that_cannot_be_written_is_a_state_error(home_of_another):
    home_of_another.chmod(0o555)
    said = in_a_process(GIVE_UP_ROOT + "attempt(write=False)", home_of_another)
    home_of_another.chmod(0o755)
    assert said.startswith(f"7 {home_of_another / 'state.db'} cannot be made")


@pytest.mark.skipif(
    sqlite3.sqlite_version_info >= (3, 51, 3), reason="in WAL mode a reader writes too"
)
def test_a_database_in_a_home_that_cannot_be_written_is_still_read(home_of_another):
    open_store(None, home_of_another).close()
    (home_of_another / "state.db").chmod(0o444)
    home_of_another.chmod(0o555)
    reading = (
        "with open_store(None, folder).read() as c: "
        "print(c.scalar(text('SELECT count(*) FROM operations')))\n"
    )
    said = in_a_process(GIVE_UP_ROOT + reading + "attempt(write=True)", home_of_another)
    home_of_another.chmod(0o755)
    read, wrote = said.splitlines()
    assert read == "0"
    assert wrote.startswith("7")
    assert "cannot be written" in wrote


def test_a_writer_that_is_killed_leaves_what_was_committed(folder):
    before = use(folder)
    dying = (
        "with open_store(None, folder).begin() as c:\n"
        "    c.exec_driver_sql('PRAGMA cache_size=1')\n"  # so that pages are written at once
        "    for n in range(200): c.execute(fill, {'id': str(n) * 500})\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    in_a_process(dying, folder)
    assert (folder / "state.db-journal").stat().st_size > 0
    assert use(folder) == before
    with open_store(None, folder).read() as c:
        assert c.scalar(text("SELECT count(*) FROM operations")) == 0
