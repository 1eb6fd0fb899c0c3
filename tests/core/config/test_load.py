from datetime import timedelta
from pathlib import Path

import pytest

from freelane.config.load import Layer, default_user_file, load
from freelane.errors import ConfigError
from freelane.model.choice import Framework
from freelane.model.endpoint import EndpointMode, RateLimits, Replicas
from freelane.model.operation import Verb
from freelane.model.resources import Accelerator, Resources

MINIMAL = 'name = "digits"\n'


def test_every_key_of_the_schema_is_read(load_text):
    config = load_text("""
name = "digits"
provider = "aws-eu"
[train]
provider = "local"
script = "jobs/train.py"
inputs = { train = "data/digits.csv", test = "s3://bucket/test.csv" }
hyperparameters = { C = 1.0, max_iter = 200, kind = "l2", warm = true }
framework = "sklearn==1.4.2"
max_runtime = "1h30m"
resources = { cpus = 2, memory = "8GiB", accelerator = "T4:1" }
env = { TOKENIZERS_PARALLELISM = "false" }
secrets = ["HF_TOKEN"]
exclude = ["runs/"]
max_upload = "2MB"
[deploy]
mode = "serverless"
replicas = { min = 1, max = 3 }
ttl = "2h"
rate = { per_minute = 600 }
resources = { accelerator = 1 }
[guard]
policy = "budget"
budget = "10 USD/month"
credits = "never"
exhausted = "wait"
[providers.aws-eu]
plugin = "sagemaker"
region = "eu-west-1"
[providers.aws-eu.train]
instance_type = "ml.m5.xlarge"
""")
    train, deploy, guard = config.project.train, config.project.deploy, config.project.guard
    assert train.inputs == {"train": "data/digits.csv", "test": "s3://bucket/test.csv"}
    assert train.hyperparameters == {"C": 1.0, "max_iter": 200, "kind": "l2", "warm": True}
    assert [type(v) for v in train.hyperparameters.values()] == [float, int, str, bool]
    assert train.framework == Framework("sklearn", "1.4.2")
    assert train.max_runtime == timedelta(minutes=90)
    assert train.resources == Resources(
        cpus=2, memory_bytes=8 * 2**30, accelerator=Accelerator(1, "T4")
    )
    assert (train.script, train.max_upload) == ("jobs/train.py", 2_000_000)
    assert (train.secrets, train.exclude) == (("HF_TOKEN",), ("runs/",))
    assert (deploy.script, deploy.mode) == ("predict.py", EndpointMode.SERVERLESS)
    assert (deploy.replicas, deploy.rate) == (Replicas(1, 3), RateLimits(per_minute=600))
    assert deploy.ttl == timedelta(hours=2)
    assert deploy.resources.accelerator == Accelerator(1)
    assert (guard.policy, str(guard.budget)) == ("budget", "10 USD/month")
    assert (guard.credits, guard.exhausted) == ("never", "wait")
    table = config.provider_table("aws-eu")
    assert table.plugin == "sagemaker"
    assert table.values == {"region": "eu-west-1", "train": {"instance_type": "ml.m5.xlarge"}}
    assert config.provider_names() == ["aws-eu", "local"]


def test_each_layer_wins_over_the_one_before(load_text):
    user = 'provider = "vertex"\n'
    assert load_text(MINIMAL).project.provider == "local"
    assert load_text(MINIMAL, user=user).project.provider == "vertex"
    text = MINIMAL + 'provider = "gemini"\n'
    environ = {"FREELANE_PROVIDER": "cloudrun"}
    assert load_text(text, user=user).project.provider == "gemini"
    assert load_text(text, user=user, environ=environ).project.provider == "cloudrun"
    flags = {"provider": "sagemaker"}
    config = load_text(text, user=user, environ=environ, flags=flags)
    assert config.project.provider == "sagemaker"


def test_mappings_merge_and_lists_replace(load_text):
    config = load_text(
        MINIMAL + '[train]\nresources = { memory = "1GiB" }\nexclude = ["b"]\n',
        user='[train]\nresources = { cpus = 2 }\nexclude = ["a", "c"]\n',
        flags={"train.resources.accelerator": "auto"},
    )
    assert config.project.train.resources == Resources(
        cpus=2, memory_bytes=2**30, accelerator=Accelerator(auto=True)
    )
    assert config.project.train.exclude == ("b",)


def test_each_key_knows_its_origin(load_text, user_file):
    config = load_text(
        MINIMAL + '[train]\n\nscript = "a.py"\n',
        user='# mine\n[providers.sagemaker]\nregion = "us-east-1"\n',
        environ={"FREELANE_TRAIN__MAX_RUNTIME": "5m"},
        flags={"provider": "sagemaker", "train.framework": "torch"},
    )
    origins = {key: (o.layer, str(o)) for key, o in config.origins.items()}
    assert origins == {
        "name": (Layer.PROJECT, "freelane.toml:1"),
        "train.script": (Layer.PROJECT, "freelane.toml:4"),
        "providers.sagemaker.region": (Layer.USER, f"{user_file}:3"),
        "train.max_runtime": (Layer.ENVIRONMENT, "FREELANE_TRAIN__MAX_RUNTIME"),
        "provider": (Layer.FLAG, "--provider"),
        "train.framework": (Layer.FLAG, "setting train.framework"),
    }


def test_the_project_file_is_the_nearest_one_above(project, user_file):
    (project / "freelane.toml").write_text('name = "outer"\n')
    inner = project / "a" / "b"
    inner.mkdir(parents=True)
    config = load(start=inner, environ={}, user_file=user_file)
    assert (config.project.name, config.root) == ("outer", project)
    (project / "a" / "pyproject.toml").write_text('[tool.freelane]\nname = "inner"\n')
    config = load(start=inner, environ={}, user_file=user_file)
    assert (config.project.name, config.file) == ("inner", project / "a" / "pyproject.toml")


def test_freelane_toml_goes_before_the_pyproject_beside_it(project, load_text):
    (project / "pyproject.toml").write_text('[tool.freelane]\nname = "other"\n')
    assert load_text(MINIMAL).project.name == "digits"


@pytest.mark.parametrize("text", ["[tool.other]\n", "broken = [", '[tool]\nx = "freelane"\n'])
def test_a_pyproject_without_our_table_is_passed_by(project, user_file, text):
    (project / "pyproject.toml").write_text(text)
    assert load(start=project, environ={}, user_file=user_file).file is None


def test_errors_in_pyproject_name_its_own_table(project, user_file):
    (project / "pyproject.toml").write_text(
        '[project]\nname = "x"\n[tool.freelane]\nname = "x"\n[tool.freelane.train]\nscirpt = "a"\n'
    )
    with pytest.raises(ConfigError) as caught:
        load(environ={}, user_file=user_file)
    assert str(caught.value) == (
        "pyproject.toml:6: [tool.freelane.train] has no key 'scirpt'; did you mean 'script'?"
    )


def test_without_a_project_the_rest_still_loads(load_text, project):
    config = load_text(user='provider = "vertex"\n')
    assert (config.file, config.root, config.project.provider) == (None, project, "vertex")
    with pytest.raises(ConfigError, match="no freelane"):
        config.require_project()


def test_with_a_project_it_is_required_no_more(load_text):
    load_text(MINIMAL).require_project()


def test_a_named_file_or_its_folder_is_loaded(project, tmp_path, user_file):
    other = tmp_path / "other.toml"
    other.write_text('name = "other"\n')
    assert load(file=other, environ={}, user_file=user_file).project.name == "other"
    (project / "freelane.toml").write_text(MINIMAL)
    assert load(file=project, environ={}, user_file=user_file).project.name == "digits"


@pytest.mark.parametrize("named", ["gone.toml", "empty", "pyproject.toml"])
def test_a_named_file_must_be_a_configuration(project, user_file, named):
    (project / "empty").mkdir()
    (project / "pyproject.toml").write_text("[tool.other]\n")
    with pytest.raises(ConfigError, match=r"no such file|no freelane.toml in|no table"):
        load(file=Path(named), environ={}, user_file=user_file)


def test_a_project_needs_a_name(load_text):
    with pytest.raises(ConfigError, match=r"^freelane.toml: no name; add a line"):
        load_text('provider = "local"\n')


def test_the_verbs_own_provider_wins_within_a_layer_and_a_later_layer_over_both(load_text):
    text = MINIMAL + 'provider = "vertex"\n[train]\nprovider = "local"\n[deploy]\n'
    config = load_text(text)
    assert [config.provider_for(v) for v in (None, Verb.TRAIN, Verb.DEPLOY)] == [
        "vertex",
        "local",
        "vertex",
    ]
    flagged = load_text(text, flags={"provider": "gemini"})
    assert flagged.provider_for(Verb.TRAIN) == "gemini"
    by_variable = load_text(text, environ={"FREELANE_PROVIDER": "gemini"})
    assert by_variable.provider_for(Verb.TRAIN) == "gemini"
    both = load_text(
        text, environ={"FREELANE_PROVIDER": "gemini"}, flags={"train.provider": "acme"}
    )
    assert both.provider_for(Verb.TRAIN) == "acme"


def test_a_verb_without_a_table_takes_the_top_line(load_text):
    assert load_text(MINIMAL).provider_for(Verb.TRAIN) == "local"


def test_the_users_file_stands_in_the_platforms_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_user_file().name == "config.toml"
    assert default_user_file().is_relative_to(tmp_path)


def test_the_process_environment_is_read_by_default(load_text, project, user_file, monkeypatch):
    load_text(MINIMAL)
    monkeypatch.setenv("FREELANE_PROVIDER", "vertex")
    assert load(user_file=user_file).project.provider == "vertex"


def test_a_folder_that_is_gone_is_a_clear_error(tmp_path, monkeypatch, user_file):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(ConfigError, match="current folder is gone"):
        load(environ={}, user_file=user_file)


def test_the_owner_in_the_users_file_is_no_key_of_the_project(load_text):
    assert load_text(MINIMAL, user='owner = "abc"\n').project.name == "digits"
