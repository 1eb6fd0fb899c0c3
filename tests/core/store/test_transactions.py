import os
import threading

import pytest
from sqlalchemy import text

from freelane.errors import StateError
from freelane.state import operations
from freelane.store import sql as driver_sql


def test_the_end_of_the_block_commits(store, write, written):
    with store.begin() as connection:
        write(connection, "a")
    assert written(store) == ["a"]


def test_an_error_in_the_block_rolls_all_of_it_back(store, write, written):
    with pytest.raises(RuntimeError, match="mine"), store.begin() as connection:  # noqa: PT012 - a block
        write(connection, "a")
        raise RuntimeError("mine")
    assert written(store) == []


def test_an_interrupt_in_the_block_rolls_all_of_it_back(store, write, written):
    with pytest.raises(KeyboardInterrupt), store.begin() as connection:  # noqa: PT012 - a block
        write(connection, "a")
        raise KeyboardInterrupt
    assert written(store) == []


def test_a_reader_sees_one_moment_throughout(new_store, write):
    store, rival = new_store(), new_store()
    count = text("SELECT count(*) FROM operations")
    with store.read() as connection:
        before = connection.scalar(count)
        thread = threading.Thread(target=commit_one, args=(rival, write))
        thread.start()
        # On SQLite's rollback journal the writer waits for the reader, elsewhere it passes it.
        thread.join(0.2)
        assert connection.scalar(count) == before
    thread.join()
    with store.read() as connection:
        assert connection.scalar(count) == before + 1


def commit_one(store, write):
    with store.begin() as connection:
        write(connection, "a")


@pytest.mark.parametrize("sql", ["SELECT 1 FROM nowhere", "INSERT INTO operations (id) VALUES (?)"])
def test_an_error_of_the_drivers_own_sql_is_a_state_error(sql, store, written):
    statement = driver_sql.statement(sql)
    with pytest.raises(StateError), store.begin() as connection:
        driver_sql.Sql(connection).run(statement, ["a"] * sql.count("?"))
    assert written(store) == []


def test_a_lock_that_is_held_too_long_is_a_state_error_that_names_a_freelane_process(
    new_store, write
):
    holder, waiting = new_store(), new_store(busy_timeout_s=0.2)
    with holder.begin() as held:
        write(held, "a")
        with (
            pytest.raises(StateError, match="held by another freelane process"),
            waiting.begin() as connection,
        ):
            write(connection, "a")


def test_a_store_works_on_after_a_lock_was_held_too_long(new_store, write, written):
    holder, waiting = new_store(), new_store(busy_timeout_s=0.1)
    with holder.begin() as held:
        write(held, "a")
        with pytest.raises(StateError), waiting.begin() as connection:
            write(connection, "a")
    with waiting.begin() as connection:
        write(connection, "b")
    assert written(waiting) == ["a", "b"]


def test_a_writer_waits_for_another_and_then_goes_on(new_store, write, written):
    store, rival = new_store(), new_store()
    with store.begin() as connection:
        write(connection, "b")
        thread = threading.Thread(target=commit_one, args=(rival, write))
        thread.start()
        thread.join(0.1)
    thread.join()
    assert written(store) == ["a", "b"]


def test_a_write_transaction_within_another_is_refused_at_once(store, write, written):
    with store.begin() as connection:
        write(connection, "a")
        with pytest.raises(RuntimeError, match="open"), store.begin():
            pass
    with store.begin() as connection:
        write(connection, "b")
    assert written(store) == ["a", "b"]


def test_threads_share_a_store(store, write, written):
    def commit(number):
        with store.begin() as connection:
            write(connection, str(number))

    threads = [threading.Thread(target=commit, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert written(store) == [str(n) for n in range(8)]


def test_more_threads_than_connections_are_kept_use_a_store_at_once(store):
    at_once = threading.Barrier(7)

    def read():
        with store.read() as connection:
            connection.execute(text("SELECT 1"))
            at_once.wait(timeout=30)

    threads = [threading.Thread(target=read) for _ in range(6)]
    for thread in threads:
        thread.start()
    at_once.wait(timeout=30)
    for thread in threads:
        thread.join()
    assert len(store._readers) <= 4


def test_a_forked_child_uses_the_store_and_the_parent_goes_on(store, write, written):
    with store.begin() as connection:
        write(connection, "parent")
    child = os.fork()
    if child == 0:
        status = 1
        try:
            with store.begin() as connection:
                write(connection, "child")
            store.close()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    with store.begin() as connection:
        write(connection, "parent again")
    assert written(store) == ["child", "parent", "parent again"]


def test_a_sound_database_passes_its_check(store):
    store.check()


def test_a_closed_store_opens_again(store, written):
    store.close()
    assert written(store) == []


def test_a_row_of_nonsense_is_a_state_error(store, write):
    with store.begin() as connection:
        write(connection, "a")
        connection.execute(text("UPDATE operations SET verb = 'tra#n'"))
    with pytest.raises(StateError, match="is damaged"), store.read() as connection:
        operations.get(connection, "me", "a")
