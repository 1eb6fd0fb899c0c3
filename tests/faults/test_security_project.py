"""A project that somebody else wrote: what its files say before any of its code is wanted."""

import os
from pathlib import Path

import pytest

TRAIN = '[train]\nscript = "train.py"\n'


def refused(ran, *words):
    assert ran.code == 2, (ran.code, ran.err)
    (line,) = [line for line in ran.err.splitlines() if line.startswith("error: ")]
    assert "unexpected" not in line
    for word in words:
        assert word in line, line


@pytest.mark.parametrize(
    ("said", "word"),
    [
        ('script = "../evil.py"', "inside the project"),
        ('script = "/etc/passwd"', "inside the project"),
        ('script = "train.py/../../x"', "inside the project"),
        ('script = "..\\\\evil.py"', "inside the project"),
        ('inputs = { train = "~nobody-of-that-name/x" }', "no path"),
        ('inputs = { train = "http://evil.example/x" }', "train"),
        ('inputs = { "../train" = "rows.json" }', "cannot name an input"),
        ('exclude = ["[z-a]"]', "no pattern"),
        ('env = { "A=B" = "x" }', "not the name of an environment variable"),
        ('env = { A = "a\\u0000b" }', "NUL"),
        ('hyperparameters = { "a=b" = 1 }', "cannot name a hyperparameter"),
        ('hyperparameters = { "" = 1 }', "cannot name a hyperparameter"),
        ('hyperparameters = { x = "a\\u0000b" }', "NUL"),
        ('secrets = ["hunter2-hunter2"]', "name of the secret"),
    ],
)
def test_what_train_cannot_mean_is_refused_before_a_job_is_made(freelane, tiny, said, word):
    table = f"[train]\n{said}\n"
    ran = freelane("train", cwd=tiny(config=f'name = "tiny"\n{table}'))
    refused(ran, word)
    assert "hunter2" not in ran.err


@pytest.mark.parametrize(
    "file", ["freelane.toml", "pyproject.toml", ".gitignore", "requirements.txt", "train.py"]
)
def test_a_link_out_of_the_project_is_not_followed(freelane, tiny, file):
    project = tiny()
    if file == "pyproject.toml":
        (project / "freelane.toml").unlink()
    (project / file).unlink(missing_ok=True)
    (project / file).symlink_to("/dev/zero")
    refused(freelane("train", cwd=project, timeout=20))


@pytest.mark.parametrize(
    "said",
    [
        'database_url = "postgresql://evil.example/x"',
        'owner = "somebody"',
        '[providers.local]\nbase_url = "https://evil.example"',
        '[providers.local]\nurl = "http://127.0.0.1@evil.example/"',
        '[providers.local]\nurl = "http://127.0.0.1.evil.example/"',
        '[providers.local]\nhost = "evil.example"',
        '[providers.local]\nproxy = "evil.example:80"',
        '[providers.local]\ndeep = { list = ["//evil.example"] }',
    ],
)
@pytest.mark.parametrize("file", ["freelane.toml", "pyproject.toml"])
def test_a_strangers_file_chooses_no_address_no_database_and_no_owner(freelane, tiny, said, file):
    project = tiny()
    (project / "freelane.toml").unlink()
    text = f'name = "tiny"\n{said}\n'
    if file == "pyproject.toml":
        text = "[tool.freelane]\n" + text.replace("[providers", "[tool.freelane.providers")
    (project / file).write_text(text)
    refused(freelane("jobs", cwd=project), file)


def test_files_that_are_no_text_or_no_file_end_in_one_line_or_are_left(freelane, tiny):
    project = tiny(config=f'name = "tiny"\n{TRAIN}inputs = {{ train = "data" }}\n')
    (project / "data").mkdir()
    (project / "data/dangling").symlink_to("/nowhere")
    os.mkfifo(project / "pipe.py")
    (project / "loop").symlink_to("loop")
    (project / ".envrc").write_text("export AWS_SECRET_ACCESS_KEY=canary")
    done = freelane("train", "--json", cwd=project)
    assert done.code == 0, done.err
    Path(os.fsdecode(os.fsencode(project) + b"/\xff.py")).write_text("")
    refused(freelane("train", cwd=project), "no name of printable characters")


def test_a_shells_environment_file_does_not_travel(freelane, tiny, home):
    project = tiny()
    (project / ".envrc").write_text("export KEY=canary-of-direnv")
    (project / ".env.production").write_text("KEY=canary-of-direnv")
    assert freelane("train", cwd=project).code == 0
    kept = Path(home["HOME"], ".local/share/freelane/local/jobs").rglob("*")
    assert not [path for path in kept if path.name.startswith(".env")]


def test_metacharacters_reach_the_script_as_they_are_and_nothing_else(freelane, tiny, tmp_path):
    odd = "'; DROP TABLE jobs; -- $(touch ran) `touch ran` {{7*7}} [red] <b> %s"
    project = tiny(
        train="""
        import json, os, pathlib, sys
        seen = json.loads(os.environ["FREELANE_HYPERPARAMETERS"])["x"]
        assert seen == os.environ["SM_HP_X"] == sys.argv[sys.argv.index("--x") + 1]
        pathlib.Path(os.environ["FREELANE_MODEL_DIR"], "m").write_text(seen)
        out = pathlib.Path(os.environ["FREELANE_OUTPUT_DIR"], "metrics.json")
        out.write_text(json.dumps({seen: 1.5, "nan": float("nan"), "inf": float("inf")}))
        """,
        config=f"name = \"tiny\"\n{TRAIN}hyperparameters = {{ x = '''{odd}''' }}\n",
    )
    job = freelane("train", "--json", cwd=project).document["job"]
    assert job["metrics"] == {odd: 1.5}
    listed = freelane("jobs", "--json", cwd=project).document["jobs"]
    assert job["id"] in {row["id"] for row in listed}
    assert not list(tmp_path.rglob("ran"))


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_pipe_where_metrics_are_expected_does_not_hold_the_job(freelane, tiny, kind):
    make = "os.mkfifo(out)" if kind == "pipe" else "out.symlink_to('/dev/zero')"
    project = tiny(
        train=f"""
        import os, pathlib
        pathlib.Path(os.environ["FREELANE_MODEL_DIR"], "m").write_text("m")
        out = pathlib.Path(os.environ["FREELANE_OUTPUT_DIR"], "metrics.json")
        {make}
        """
    )
    job = freelane("train", "--json", cwd=project, timeout=30).document["job"]
    assert job["state"] == "SUCCEEDED"
    assert "regular file" in job["detail"]
