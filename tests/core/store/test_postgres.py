import subprocess
import sys
import threading

import pytest
from sqlalchemy import text

from freelane.errors import ConfigError, StateError
from freelane.store import postgres
from freelane.store.engine import open_store

CLOSED = "postgresql://ann:s3cret@127.0.0.1:9/work?connect_timeout=2"


@pytest.fixture
def postgres_store(postgres_url, tmp_path):
    store = open_store(postgres_url, tmp_path)
    yield store
    store.close()


def test_a_server_that_cannot_be_reached_is_a_state_error_without_the_password(tmp_path):
    with pytest.raises(StateError, match="cannot be reached") as refused:
        open_store(CLOSED, tmp_path)
    assert "s3cret" not in refused.value.message
    assert "postgresql://ann@127.0.0.1:9/work" in refused.value.message
    assert "\n" not in refused.value.message


def test_a_database_that_does_not_exist_is_a_state_error_that_names_it(postgres_url, tmp_path):
    with pytest.raises(StateError, match="missing"):
        open_store(postgres_url.replace("/freelane", "/missing"), tmp_path)


def test_the_location_shows_neither_password_nor_options(tmp_path, postgres_url):
    with_password = postgres_url.replace("postgres:", "postgres:s3cret", 1)
    store = open_store(with_password, tmp_path)
    assert store.location.startswith("postgresql://postgres@")
    assert "s3cret" not in store.location
    store.close()


@pytest.mark.parametrize("url", ["mysql://root:s3cret@host/db", "s3cret", "postgresql://h:x/y"])
def test_another_url_is_a_config_error_that_does_not_repeat_it(tmp_path, url):
    with pytest.raises(ConfigError, match="database_url") as refused:
        open_store(url, tmp_path)
    assert "s3cret" not in refused.value.message


def test_without_psycopg_the_extra_is_named(tmp_path):
    script = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from pathlib import Path; from freelane.errors import StateError\n"
        "from freelane.store.engine import open_store\n"
        "try: open_store(sys.argv[1], Path('/'))\n"
        "except StateError as error: print(error.hint)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, CLOSED], capture_output=True, text=True, check=True
    )
    assert done.stdout == "pip install 'freelane[postgres]'\n"


def test_a_connection_that_died_idle_is_replaced_unseen(
    postgres_store, postgres_server, write, written
):
    with postgres_store.begin() as connection:
        write(connection, "a")
    postgres_server.admin(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        " AND backend_type = 'client backend'"
    )
    with postgres_store.begin() as connection:
        write(connection, "b")
    assert written(postgres_store) == ["a", "b"]


def test_a_connection_that_lay_idle_for_long_is_asked_whether_it_lives(
    postgres_store, write, written, monkeypatch
):
    monkeypatch.setattr(postgres, "_QUESTIONED_AFTER_S", -1.0)
    for name in ("a", "b"):
        with postgres_store.begin() as connection:
            write(connection, name)
    assert written(postgres_store) == ["a", "b"]


def test_a_connection_that_does_not_answer_after_a_while_is_replaced(
    postgres_store, postgres_server, write, written, monkeypatch
):
    monkeypatch.setattr(postgres, "_QUESTIONED_AFTER_S", -1.0)
    monkeypatch.setattr(postgres, "_has_words", lambda socket: False)
    with postgres_store.begin() as connection:
        write(connection, "a")
    postgres_server.admin(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        " AND backend_type = 'client backend'"
    )
    with postgres_store.begin() as connection:
        write(connection, "b")
    assert written(postgres_store) == ["a", "b"]


def test_a_server_that_crashes_and_restarts_has_what_was_committed(
    postgres_store, postgres_server, write, written
):
    with postgres_store.begin() as connection:
        write(connection, "a")
    postgres_server.crash_and_restart()
    with postgres_store.begin() as connection:
        write(connection, "b")
    assert written(postgres_store) == ["a", "b"]


def test_a_server_that_refuses_for_a_moment_is_waited_for(
    postgres_store, postgres_server, write, written
):
    name = postgres_store.location.rpartition("/")[2].partition("?")[0]
    postgres_server.admin(
        f"ALTER DATABASE {name} ALLOW_CONNECTIONS false",
        f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{name}'",
    )
    back = threading.Timer(
        0.3, postgres_server.admin, [f"ALTER DATABASE {name} ALLOW_CONNECTIONS true"]
    )
    back.start()
    with postgres_store.begin() as connection:
        write(connection, "a")
    back.join()
    assert written(postgres_store) == ["a"]


def test_a_connection_that_dies_within_a_transaction_is_a_state_error(
    postgres_store, postgres_server, write, written
):
    with (  # noqa: PT012 - the block is what is cut off
        pytest.raises(StateError, match="cannot be reached"),
        postgres_store.begin() as connection,
    ):
        write(connection, "a")
        pid = connection.scalar(text("SELECT pg_backend_pid()"))
        postgres_server.admin(f"SELECT pg_terminate_backend({pid}, 5000)")
        write(connection, "b")
    assert written(postgres_store) == []


def test_a_connection_that_dies_at_the_commit_leaves_the_outcome_open(
    postgres_store, postgres_server, write
):
    with (  # noqa: PT012 - the end of the block raises
        pytest.raises(StateError, match="may or may not be recorded"),
        postgres_store.begin() as connection,
    ):
        write(connection, "a")
        pid = connection.scalar(text("SELECT pg_backend_pid()"))
        postgres_server.admin(f"SELECT pg_terminate_backend({pid}, 5000)")


def test_two_transactions_that_wait_for_each_other_are_parted_and_one_says_so(
    postgres_store, write
):
    update = text("UPDATE operations SET name = '' WHERE id = :id")
    with postgres_store.begin() as connection:
        write(connection, "a")
        write(connection, "b")
    both, errors = threading.Barrier(2), []

    def change(first, second):
        try:
            with postgres_store.begin() as connection:
                connection.execute(update, {"id": first})
                both.wait(timeout=30)
                connection.execute(update, {"id": second})
        except StateError as error:
            errors.append(error.message)

    threads = [threading.Thread(target=change, args=names) for names in ("ab", "ba")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [error.endswith("run the same command again") for error in errors] == [True]


def test_what_reads_cannot_write(postgres_store, write):
    with (
        pytest.raises(StateError, match="cannot be written"),
        postgres_store.read() as connection,
    ):
        write(connection, "a")
