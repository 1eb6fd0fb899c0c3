"""What users get wrong: one clear line, the right exit code, nothing lost."""

import io
import tarfile

import pytest


def one_line(ran, code, *words):
    """The error is one line that says all the words, and no traceback."""
    assert ran.code == code, ran.err
    assert "Traceback" not in ran.err
    (line,) = [line for line in ran.err.splitlines() if line.startswith("error: ")]
    for word in words:
        assert word in line, line


def test_no_project_here(freelane, tmp_path):
    one_line(freelane("train", cwd=tmp_path), 2, "freelane.toml")


def test_broken_toml_names_file_and_line(freelane, tiny):
    project = tiny(config='name = "tiny"\n[train\nscript = "train.py"\n')
    one_line(freelane("train", cwd=project), 2, "freelane.toml:2")


def test_an_unknown_key_names_the_nearest(freelane, tiny):
    project = tiny(config='name = "tiny"\n[train]\nscirpt = "train.py"\n')
    one_line(freelane("train", cwd=project), 2, "freelane.toml:3", "scirpt", "'script'")


def test_an_unknown_provider_names_the_nearest(freelane, tiny):
    project = tiny(config='name = "tiny"\nprovider = "locl"\n')
    one_line(freelane("train", cwd=project), 2, "locl", "local")
    one_line(freelane("train", "--provider", "nowhere", cwd=tiny()), 2, "nowhere")


def test_a_missing_script_is_named(freelane, tiny):
    project = tiny()
    (project / "train.py").rename(project / "trian.py")
    one_line(freelane("train", cwd=project), 2, "train.py")


def test_a_missing_data_file_is_named(freelane, tiny):
    project = tiny(
        config='name = "tiny"\n[train]\nscript = "train.py"\ninputs = { train = "rows.jsn" }\n'
    )
    one_line(freelane("train", cwd=project), 2, "rows.jsn", "rows.json")


@pytest.mark.parametrize("name", ["Digits", "a--b", "../../etc", "x" * 41, "a b", "-a", "é"])
def test_a_malformed_name_is_refused(freelane, tiny, name):
    one_line(freelane("train", f"--name={name}", cwd=tiny()), 2, "is not a name")


def test_a_script_that_fails_shows_its_last_lines(freelane, tiny):
    project = tiny(train="print('loading')\nraise ValueError('no such column: labl')\n")
    ran = freelane("train", cwd=project)
    one_line(ran, 1, "no such column: labl")
    assert "loading" in ran.out + ran.err


def test_a_script_that_hangs_ends_at_its_max_runtime(freelane, tiny):
    project = tiny(
        train="import time\nprint('begun', flush=True)\ntime.sleep(600)\n",
        config='name = "tiny"\n[train]\nscript = "train.py"\nmax_runtime = "1s"\n',
    )
    ran = freelane("train", "--json", cwd=project)
    assert ran.code == 1
    assert "max_runtime" in ran.document["error"]["message"]


def test_a_script_that_prints_100_mb_succeeds_and_its_log_is_bounded(freelane, tiny, home):
    project = tiny(
        train="""
        import os, pathlib, sys
        block = "x" * 999 + "\\n"
        for _ in range(1000):
            sys.stdout.write(block * 100)
        pathlib.Path(os.environ["FREELANE_MODEL_DIR"], "m").write_text("m")
        """
    )
    ran = freelane("train", "--json", "--quiet", cwd=project)
    assert ran.document["job"]["state"] == "SUCCEEDED"


def test_a_script_that_writes_no_model_succeeds_without_an_artifact(freelane, tiny):
    project = tiny(train="print('done')\n")
    job = freelane("train", "--json", cwd=project).document["job"]
    assert (job["state"], job["artifact"]) == ("SUCCEEDED", None)
    ran = freelane("deploy", job["id"], cwd=project)
    one_line(ran, 6, "no model")


def test_a_predict_script_that_raises_at_load_is_told_and_nothing_runs(
    freelane, tiny, left_running
):
    project = tiny(
        predict="""
        def load(model_dir):
            raise KeyError("weights")
        def predict(model, instances):
            return instances
        """
    )
    assert freelane("train", cwd=project).code == 0
    one_line(freelane("deploy", cwd=project), 1, "weights")
    assert left_running() == []
    assert freelane("endpoints", "--json", cwd=project).document["endpoints"] == []


def test_a_model_that_raises_is_the_models_fault(freelane, tiny):
    project = tiny()
    freelane("train", cwd=project)
    assert freelane("deploy", cwd=project).code == 0
    (project / "bad.json").write_text('[["a", "b"]]')
    one_line(freelane("predict", "tiny", "--data", "bad.json", cwd=project), 1, "TypeError")
    ran = freelane("predict", "tiny", "--data", "rows.json", "--json", cwd=project)
    assert ran.document["prediction"]["predictions"] == [4, 8]


@pytest.mark.parametrize("rows", ["[1, 2", "[NaN]", '{"a": 1}', "", "[" * 100_000])
def test_rows_that_are_no_list_of_instances_are_refused(freelane, tiny, rows):
    project = tiny()
    (project / "bad.json").write_text(rows)
    one_line(freelane("predict", "tiny", "--data", "bad.json", cwd=project), 2, "bad.json")


def test_a_name_held_by_another_project_is_refused(freelane, tiny):
    first = tiny()
    freelane("train", cwd=first)
    assert freelane("deploy", "--name", "shared", cwd=first).code == 0
    second = tiny(name="other", config='name = "other"\n[deploy]\nttl = "5m"\n')
    freelane("train", cwd=second)
    one_line(freelane("deploy", "--name", "shared", cwd=second), 6, "'tiny'")


def test_a_hostile_archive_is_refused(freelane, tiny, tmp_path):
    path = tmp_path / "model.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        entry = tarfile.TarInfo("../../escaped")
        entry.size = 1
        tar.addfile(entry, io.BytesIO(b"x"))
    ran = freelane("import", path, "--framework", "sklearn", "--yes", cwd=tiny())
    one_line(ran, 2, "outside of its folder")


def test_what_does_not_exist_is_not_found(freelane, tiny):
    project = tiny()
    for verb in (["logs", "nothing"], ["stop", "nothing"], ["delete", "nothing"]):
        one_line(freelane(*verb, cwd=project), 6, "nothing")
    one_line(freelane("predict", "nothing", "--data", "rows.json", cwd=project), 6, "nothing")


def test_an_emulator_that_is_not_there_is_refused(freelane, tiny):
    one_line(freelane("train", "--emulated", cwd=tiny()), 2, "no emulator")
