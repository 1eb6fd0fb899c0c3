"""`deploy`, `endpoints`, `predict`, `delete`, `import`, `cleanup`, `down`."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SLOW = """\
import os, time
def load(model_dir):
    while not os.path.exists(GO): time.sleep(0.02)
def predict(model, instances): return instances
"""


@pytest.fixture
def trained(project, freelane):
    """The project with a model; brought in, which is faster than training."""
    bring(freelane, 2)
    return project


@pytest.fixture
def served(trained, freelane):
    """The project with an endpoint."""
    assert freelane("deploy", "--quiet").code == 0
    return trained


def bring(freelane, factor):
    Path("model.txt").write_text(str(factor))
    ran = freelane("import", "model.txt", "--framework", "sklearn", "--yes", "--quiet")
    assert ran.code == 0, ran.err


def rows(value):
    Path("rows.json").write_text(json.dumps(value))
    return "rows.json"


def test_the_model_answers_over_http_until_it_is_deleted(project, freelane):
    assert freelane("train", "--quiet").code == 0
    deployed = freelane("deploy", "--name", "mine", "--ttl", "30m", "--yes", "--json")
    endpoint = deployed.document["endpoint"]
    assert (deployed.code, endpoint["state"]) == (0, "READY")
    assert freelane("endpoints", "--json").document["endpoints"][0]["name"] == "mine"
    answer = freelane("predict", "mine", "--data", rows([1, 2.5]), "--json")
    assert answer.document["prediction"]["predictions"] == [2.0, 5.0]
    deleted = freelane("delete", "local/mine", "--json")
    assert deleted.document["endpoint"]["state"] == "DELETED"
    assert freelane("endpoints", "--json").document["endpoints"] == []
    assert freelane("predict", "mine", "--data", "rows.json").code == 6


def test_predict_prints_one_answer_a_row(served, freelane):
    ran = freelane("predict", "tiny", "--data", rows([1, 2]))
    assert ran.out == "2.0\n4.0\n"
    assert "2 rows to local/tiny in " in ran.err
    assert "1 row to local/tiny in " in freelane("predict", "tiny", "--data", rows([1])).err


def test_rows_come_from_standard_input_too(served, command):
    assert command("predict", "tiny", "--data", "-", "-q", input="[3]").out == "6.0\n"


def test_an_answer_that_the_terminal_cannot_show_is_escaped(trained, command, freelane):
    Path("predict.py").write_text(
        "def load(d): ...\ndef predict(m, i): return ['\u4f60'] * len(i)\n"
    )
    assert freelane("deploy", "-q").code == 0
    ran = command("predict", "tiny", "--data", rows([1]), "-q", env={"PYTHONIOENCODING": "latin-1"})
    assert (ran.code, ran.out, ran.err) == (0, "\\u4f60\n", "")


def test_a_model_that_raises_exits_1(served, freelane):
    ran = freelane("predict", "tiny", "--data", rows([None]))
    assert ran.code == 1
    assert ran.err.startswith("error: ")


@pytest.mark.parametrize("parameters", ["[1]", "{", "3"])
def test_parameters_that_are_no_object_are_refused(freelane, parameters):
    ran = freelane("predict", "tiny", "--data", rows([1]), "--parameters", parameters)
    assert ran.code == 2
    assert ran.err.startswith("error: --parameters ")


def test_the_same_model_again_is_the_same_endpoint(served, freelane):
    plan = freelane("deploy", "--dry-run", "--json").document["plan"]
    assert plan["change"] == "nothing"
    url = freelane("endpoints", "--json").document["endpoints"][0]["url"]
    assert freelane("deploy", "--json").document["endpoint"]["url"] == url


def test_an_endpoint_that_is_there_is_told_and_a_ttl_moves_its_end(served, freelane):
    ran = freelane("deploy")
    assert ran.code == 0
    assert "serves it already; --ttl moves its end" in ran.err
    before = freelane("endpoints", "--json").document["endpoints"][0]["expires_at"]
    ran = freelane("deploy", "--ttl", "3h")
    assert "its end was moved" in ran.err
    after = freelane("endpoints", "--json").document["endpoints"][0]["expires_at"]
    assert after > before


def test_a_misspelled_endpoint_names_the_nearest(served, freelane):
    ran = freelane("delete", "tinny")
    assert ran.code == 6
    assert "did you mean tiny?" in ran.err


def test_an_endpoint_that_takes_too_long_is_named_with_the_time(trained, freelane):
    Path("predict.py").write_text(
        "import time\ndef load(d): ...\ndef predict(m, rows): time.sleep(1); return rows\n"
    )
    assert freelane("deploy", "--quiet").code == 0
    ran = freelane("predict", "tiny", "--data", rows([1]), "--timeout", "200ms")
    assert ran.code == 5
    assert "endpoint local/tiny has not answered within 0.2 s" in ran.err
    assert "--timeout" in ran.err


def test_a_deploy_that_nobody_waits_for_any_longer_says_how_to_come_back(trained, freelane):
    Path("predict.py").write_text(SLOW.replace("GO", repr("/nowhere")))
    ran = freelane("deploy", "--timeout", "1s")
    assert ran.code == 5
    assert "the start of endpoint tiny, which goes on" in ran.err
    assert "hint: freelane endpoints, freelane delete local/tiny" in ran.err
    assert freelane("delete", "tiny").code == 0


def test_a_plan_of_an_update_names_no_end_that_it_does_not_set(served, freelane):
    Path("predict.py").write_text(Path("predict.py").read_text() + "\n# anew\n")
    planned = freelane("plan", "deploy", "--json").document["plan"]
    assert (planned["change"], planned["ttl"]) == ("update", None)
    planned = freelane("plan", "deploy", "--ttl", "10m", "--json").document["plan"]
    assert planned["ttl"] == 600


def test_another_model_takes_the_place_of_the_first_and_a_rollback_brings_it_back(served, freelane):
    before = freelane("endpoints", "--json").document["endpoints"][0]
    bring(freelane, 9)
    assert freelane("plan", "deploy", "--json").document["plan"]["change"] == "update"

    ran = freelane("deploy")

    assert ran.code == 0
    assert "back to what it served before: freelane deploy --rollback tiny" in ran.err
    now = freelane("endpoints", "--json").document["endpoints"][0]
    assert (now["url"], now["created"]) == (before["url"], before["created"])
    assert now["artifact"] != before["artifact"]
    assert freelane("predict", "tiny", "--data", rows([1]), "-q").out == "9.0\n"

    back = freelane("deploy", "--rollback", "tiny", "--json").document["endpoint"]

    assert (back["state"], back["artifact"]) == ("READY", before["artifact"])
    assert freelane("predict", "tiny", "--data", rows([1]), "-q").out == "2.0\n"


def test_other_code_takes_the_place_of_what_serves(served, freelane):
    Path("predict.py").write_text(
        "def load(d): ...\ndef predict(m, rows): return [0 for _ in rows]\n"
    )
    assert freelane("deploy", "-q").code == 0
    assert freelane("predict", "tiny", "--data", rows([1]), "-q").out == "0\n"


def test_an_update_that_does_not_load_exits_1_and_changes_nothing(served, freelane):
    before = freelane("endpoints", "--json").document["endpoints"][0]
    Path("predict.py").write_text("def load(d): raise OSError('bad model')\ndef predict(m, i): 0\n")

    ran = freelane("deploy")

    assert ran.code == 1
    assert "bad model (predict.py, line 1); it goes on with what it served" in ran.err
    now = freelane("endpoints", "--json").document["endpoints"][0]
    assert (now["state"], now["artifact"]) == ("READY", before["artifact"])
    assert "an update failed" in now["detail"]
    assert freelane("predict", "tiny", "--data", rows([1]), "-q").out == "2.0\n"


def test_nothing_to_roll_back_to_exits_6(served, freelane):
    ran = freelane("deploy", "--rollback", "tiny")
    assert ran.code == 6
    assert "has served nothing else" in ran.err


@pytest.mark.parametrize("words", [["tiny"], ["--name", "x"], ["--dry-run"], ["--ttl", "1h"]])
def test_a_rollback_takes_nothing_else(project, freelane, words):
    assert freelane("deploy", "--rollback", "tiny", *words).code == 2


def test_a_predict_file_that_raises_at_load_exits_1_and_leaves_nothing(trained, freelane):
    Path("predict.py").write_text("def load(d): raise OSError('bad model')\ndef predict(m, i): 0\n")
    ran = freelane("deploy")
    assert ran.code == 1
    assert "bad model" in ran.err
    assert freelane("endpoints", "--json").document["endpoints"] == []


def test_a_project_without_a_model_says_to_train(project, freelane):
    ran = freelane("deploy")
    assert ran.code == 6
    assert "hint: freelane train" in ran.err


def test_a_model_named_twice_is_refused(project, freelane):
    assert freelane("deploy", "tiny", "--artifact", "tiny").code == 2


@pytest.mark.parametrize("ttl", ["forever", "-1m"])
def test_a_ttl_that_is_no_time_is_refused(project, freelane, ttl):
    assert freelane("deploy", f"--ttl={ttl}").code == 2


@pytest.mark.parametrize("address", ["../up", "a/b/c", "UP", "local/"])
def test_an_address_that_is_no_name_is_refused(project, freelane, address):
    assert freelane("delete", address).code == 2


def test_an_endpoint_that_is_not_there_exits_6(project, freelane):
    ran = freelane("delete", "nope")
    assert ran.code == 6
    assert "freelane endpoints" in ran.err


def test_import_asks_for_consent_and_nobody_is_there(project, freelane):
    Path("model.txt").write_text("4")
    ran = freelane("import", "model.txt", "--framework", "sklearn")
    assert ran.code == 2
    assert "may run code of its author" in ran.err
    assert "hint: say --yes" in ran.err


def test_a_misspelled_framework_names_the_nearest(project, freelane):
    (project / "model.txt").write_text("5")
    ran = freelane("import", "model.txt", "--framework", "sklern==1.4.2", "--yes")
    assert ran.code == 2
    assert "did you mean 'sklearn'" in ran.err


def test_consent_to_an_import_is_recorded(project, freelane):
    (project / "model.txt").write_text("5")
    ran = freelane("import", "model.txt", "--framework", "sklearn", "--yes", "--json")
    artifact = ran.document["artifact"]
    assert artifact["consented"] >= artifact["created"]


def test_an_imported_model_is_served(project, freelane):
    Path("model.txt").write_text("4")
    ran = freelane("import", "model.txt", "--framework", "sklearn", "--yes", "--json")
    assert ran.document["written"] is None
    assert freelane("deploy", ran.document["artifact"]["id"], "--quiet").code == 0
    assert freelane("predict", "tiny", "--data", rows([2]), "-q").out == "8.0\n"


def test_import_writes_the_predict_file_that_is_missing(project, freelane):
    Path("predict.py").unlink()
    Path("my model.joblib").write_bytes(b"x")
    ran = freelane("import", "my model.joblib", "--framework", "sklearn==1.4.2", "--yes")
    assert ran.code == 0
    assert "MODEL = 'my model.joblib'" in Path("predict.py").read_text()


def test_import_of_another_framework_leaves_the_predict_file_to_its_user(project, freelane):
    Path("predict.py").unlink()
    Path("model.onnx").write_bytes(b"x")
    ran = freelane("import", "model.onnx", "--framework", "onnx", "--yes")
    assert ran.code == 0
    assert "warning: write predict.py yourself" in ran.err
    assert not Path("predict.py").exists()


@pytest.mark.parametrize("framework", ["", "Sk Learn", "sklearn>=1", "../x"])
def test_a_malformed_framework_is_refused(project, freelane, framework):
    Path("model.txt").write_text("4")
    assert freelane("import", "model.txt", f"--framework={framework}", "--yes").code == 2


def test_a_missing_model_is_told(project, freelane):
    ran = freelane("import", "gone.joblib", "--framework", "sklearn", "--yes")
    assert ran.code == 2
    assert "there is no file 'gone.joblib'" in ran.err


def test_cleanup_finds_nothing_where_all_is_recorded(served, freelane):
    ran = freelane("cleanup", "--json")
    assert (ran.code, ran.document["resources"]) == (0, [])


def test_cleanup_lists_and_then_deletes_what_no_record_wants(served, freelane, home):
    (home / ".local/share/freelane/state.db").unlink()
    listed = freelane("cleanup")
    assert "endpoint local/" in listed.out
    assert "freelane cleanup --delete" in listed.err
    deleted = freelane("cleanup", "--delete", "--json").document["resources"]
    assert [row["action"] for row in deleted] == ["deleted"]
    assert freelane("cleanup", "--json").document["resources"] == []


def test_down_wants_the_word_all(freelane):
    ran = freelane("down")
    assert ran.code == 2
    assert "--all" in ran.err


def test_down_ends_what_lives(served, freelane):
    ended = freelane("down", "--all", "--yes", "--json").document["resources"]
    assert [(row["kind"], row["action"]) for row in ended] == [("endpoint", "deleted")]
    assert freelane("endpoints", "--json").document["endpoints"] == []


def test_down_without_the_word_only_lists(served, freelane):
    ran = freelane("down", "--all")
    assert (ran.code, "endpoint local/" in ran.out, "would delete" in ran.out) == (0, True, True)
    assert "nothing was deleted; do it: freelane down --all --yes" in ran.err
    assert len(freelane("endpoints", "--json").document["endpoints"]) == 1


@pytest.mark.parametrize("word", ["--yes", "-y", "--delete"])
def test_both_verbs_take_either_word_to_do_it(freelane, word):
    assert freelane("cleanup", word, "--json").code == 0
    assert freelane("down", "--all", word, "--json").code == 0


@pytest.mark.parametrize("verb", [["cleanup"], ["down", "--all"]])
def test_what_is_younger_than_asked_is_left(served, freelane, home, verb):
    (home / ".local/share/freelane/state.db").unlink()
    ran = freelane(*verb, "--yes", "--older-than", "1h", "--json")
    assert ran.document["resources"] == []
    ran = freelane(*verb, "--yes", "--older-than", "1ms", "--json")
    assert [row["action"] for row in ran.document["resources"]] == ["deleted"]


@pytest.mark.parametrize("verb", [["cleanup"], ["down", "--all"]])
@pytest.mark.parametrize("limit", [["--older-than", "soon"], ["--at-most", "0"]])
def test_a_limit_that_is_none_is_refused(freelane, verb, limit):
    assert freelane(*verb, *limit).code == 2


def test_the_line_that_does_it_carries_the_limits(served, freelane):
    ran = freelane("down", "--all", "--older-than", "1ms", "--at-most", "3")
    assert "freelane down --all --older-than 1ms --at-most 3 --yes" in ran.err


def wait_for(look, seconds=30):
    """What `look` sees once it sees something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        seen = look()
        if seen:
            return seen
        time.sleep(0.05)
    raise TimeoutError


def test_ctrl_c_leaves_the_endpoint_to_come_up(trained, freelane, tmp_path):
    go = tmp_path / "go"
    Path("predict.py").write_text(SLOW.replace("GO", repr(str(go))))

    def states(*wanted):
        rows = freelane("endpoints", "--json").document["endpoints"]
        return [row for row in rows if row["state"] in wanted and row["detail"]]

    with subprocess.Popen(
        [sys.executable, "-m", "freelane", "deploy"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as deploy:
        wait_for(lambda: states("CREATING"))
        deploy.send_signal(signal.SIGINT)
        out, err = deploy.communicate(timeout=30)
    assert (deploy.returncode, "CREATING" in out) == (0, True), err
    assert err.startswith("detached; local/tiny comes up: freelane endpoints")
    go.touch()
    wait_for(lambda: freelane("endpoints", "--json").document["endpoints"][0]["state"] == "READY")
