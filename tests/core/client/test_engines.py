"""Endpoints before an engine: which one, what stands for it, and what no deploy mistakes it for."""

import json

import pytest

from freelane import Client
from freelane.client import engines
from freelane.errors import ConfigError

TOML = """\
name = "tiny"

[deploy]
script = "gone.py"
framework = "torch"
ttl = "10m"
rate = { per_minute = 5 }

[providers.local.models.lama]
url = "http://127.0.0.1:11434/v1/"
model = "llama3.2"
"""


@pytest.fixture
def client(tmp_path, monkeypatch):
    """A project that has an engine and no code; nothing of the user's is read or written."""
    for variable in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / "home"))

    def start(text=TOML, **options):
        (tmp_path / "freelane.toml").write_text(text)
        return Client(config=tmp_path / "freelane.toml", **options)

    return start


def test_a_plan_needs_no_code_and_keeps_nothing(client, tmp_path):
    with client() as one:
        plan = one.endpoints.plan(engine="lama")
    assert (plan.name, plan.change, plan.files, plan.script) == ("lama", "create", 0, "")
    assert plan.copy_from is None
    assert plan.artifact.startswith("lama-")
    assert not (tmp_path / "home" / "freelane" / "local").exists()


def test_another_address_or_name_of_the_model_is_another_artifact(client):
    seen = []
    for text in (TOML, TOML.replace("11434", "8000"), TOML.replace("3.2", "4"), TOML):
        with client(text) as one:
            seen.append(one.endpoints.plan(engine="lama").artifact)
    assert len(set(seen)) == 3
    assert seen[0] == seen[3]


def test_a_misspelled_engine_names_the_nearest(client):
    with client() as one, pytest.raises(ConfigError, match="did you mean lama"):
        one.endpoints.plan(engine="lamma")


def test_an_engine_that_is_not_configured_says_how(client):
    with (
        client() as one,
        pytest.raises(ConfigError, match=r"models\] has no 'gpt'; it has lama") as raised,
    ):
        one.endpoints.plan(engine="gpt")
    assert "[providers.local.models.gpt] with url = " in raised.value.hint


def test_a_key_that_is_not_set_is_told(client, monkeypatch):
    monkeypatch.delenv("LAMA_KEY", raising=False)
    keyed = TOML + 'key_env = "LAMA_KEY"\n'
    with client(keyed) as one, pytest.raises(ConfigError, match="LAMA_KEY, the key_env of"):
        one.endpoints.plan(engine="lama")
    monkeypatch.setenv("LAMA_KEY", "secret")
    with client(keyed) as one:
        assert one.endpoints.plan(engine="lama").change == "create"


@pytest.mark.parametrize("wrong", [{"artifact": "tiny-1"}, {"script": "predict.py"}])
def test_an_engine_goes_with_no_artifact_and_no_script(client, wrong):
    with client() as one, pytest.raises(ConfigError):
        one.endpoints.plan(engine="lama", **wrong)


def test_a_provider_without_engines_is_told(client):
    with client(provider="acme") as one, pytest.raises(Exception, match="acme"):
        one.endpoints.plan(engine="lama")


def test_a_strangers_project_names_no_engine_elsewhere(client):
    away = TOML.replace("127.0.0.1", "llm.example.com")
    with pytest.raises(ConfigError, match="points away from this machine"):
        client(away)


def test_a_strangers_project_sends_no_key_to_an_engine_of_the_users(client, monkeypatch):
    monkeypatch.setenv("FREELANE_PROVIDERS__LOCAL__MODELS__LAMA__URL", "https://llm.example.com/v1")
    with pytest.raises(ConfigError, match="names a secret that would travel"):
        client(TOML + 'key_env = "AWS_SECRET_ACCESS_KEY"\n')


def test_what_stands_for_an_engine_is_no_model_to_deploy(client, tmp_path):
    (tmp_path / "gone.py").write_text("")
    with client() as one:
        session = one._session
        engine = engines.engine_of(session, "local", "lama")
        handle = engines.keep(session, "local", engine)
        assert engines.keep(session, "local", engine) == handle
        kept = json.loads(next((tmp_path / "home").rglob("engine.json")).read_text())
        assert (kept["url"], kept["model"]) == ("http://127.0.0.1:11434/v1", "llama3.2")
        with pytest.raises(Exception, match="has no trained model to deploy"):
            one.endpoints.plan()
        artifact = one.artifacts.list()[0].id
        with pytest.raises(ConfigError, match="freelane deploy --model lama"):
            one.endpoints.plan(artifact)
        assert one.endpoints.plan(engine="lama").upload_bytes == 0
