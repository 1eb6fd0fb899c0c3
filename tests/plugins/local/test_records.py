import os

import pytest

from freelane.errors import StateError
from freelane_local import records


def test_a_record_is_read_back(tmp_path):
    records.write_json(tmp_path / "a.json", {"n": 1})
    assert records.read_json(tmp_path / "a.json") == {"n": 1}
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o600
    assert not list(tmp_path.glob(".*"))


def test_no_record_is_none(tmp_path):
    assert records.read_json(tmp_path / "none.json") is None


@pytest.mark.parametrize("text", ["", "{", "[]", "7"])
def test_a_damaged_record_is_refused(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(StateError, match="damaged"):
        records.read_json(tmp_path / "a.json")


def test_a_claim_that_fails_leaves_nothing(tmp_path):
    def prepare(folder):
        (folder / "half").write_text("x")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        records.claim(tmp_path / "jobs" / "one", prepare)
    assert not list((tmp_path / "jobs").iterdir())


def test_only_one_claim_of_a_name_holds(tmp_path):
    def prepare(folder):
        (folder / "spec.json").write_text("{}")

    assert records.claim(tmp_path / "one", prepare)
    assert not records.claim(tmp_path / "one", prepare)
    assert not list(tmp_path.glob(".*"))


def test_what_is_being_prepared_is_not_swept(tmp_path):
    def prepare(folder):
        records.sweep(tmp_path)
        (folder / "spec.json").write_text("{}")

    assert records.claim(tmp_path / "one", prepare)


def test_a_folder_that_cannot_be_made_says_why(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="in its way"):
        records.make_folder(tmp_path / "file" / "below")


def test_a_folder_that_may_not_be_written_is_a_state_error(tmp_path):
    tmp_path.chmod(0o500)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            if os.getuid() == 0:
                os.setuid(65534)  # root may write anywhere
            records.write_json(tmp_path / "a.json", {})
        except StateError as error:
            code = 0 if "access is denied" in error.message else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_lock_keeps_others_out_until_it_is_closed(tmp_path):
    held = records.try_lock(tmp_path / "lock")
    assert records.try_lock(tmp_path / "lock") is None
    os.close(held)
    again = records.try_lock(tmp_path / "lock")
    assert again is not None
    os.close(again)
