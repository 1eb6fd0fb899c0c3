import pytest

from freelane.config.load import Layer
from freelane.config.redact import redacted
from freelane.errors import ConfigError

TOP = 'name = "digits"\n'


def test_rows_show_values_as_written_with_origins_and_defaults(load_text):
    config = load_text(TOP + '[deploy]\nttl = "120m"\n[providers.acme]\na = { b = [1] }\n')
    rows = [(key, value, str(origin)) for key, value, origin in config.rows()]
    assert rows == [
        ("name", "digits", "freelane.toml:1"),
        ("provider", "local", "default"),
        ("deploy.max_upload", "100MiB", "default"),
        ("deploy.mode", "auto", "default"),
        ("deploy.replicas.max", 1, "default"),
        ("deploy.replicas.min", 0, "default"),
        ("deploy.script", "predict.py", "default"),
        ("deploy.ttl", "120m", "freelane.toml:3"),
        ("guard.credits", "ask", "default"),
        ("guard.exhausted", "refuse", "default"),
        ("guard.policy", "free", "default"),
        ("providers.acme.a.b", [1], "freelane.toml:5"),
    ]


def test_no_secret_is_in_rows_or_reprs(load_text):
    config = load_text(
        TOP + '[train.env]\nHF_TOKEN = "canary"\n[providers.acme]\napi_key = "canary"\n',
        user='database_url = "postgresql://me:canary@db.example/state?password=canary"\n'
        '[providers.acme]\nbase_url = "https://u:canary@acme.example"\n'
        'tokens = [{ password = "canary" }]\n',
        environ={"FREELANE_PROVIDERS__ACME__SECRET": "canary", "OTHER": "canary"},
    )
    assert config.database_url.get_secret_value().startswith("postgresql://me:canary@")
    assert "canary" not in repr(config.rows())
    assert "canary" not in repr(config)
    assert "canary" not in repr(config.provider_table("acme"))
    shown = {key: value for key, value, _ in config.rows()}
    assert shown["database_url"] == "postgresql://***@db.example/state?password=***"
    assert shown["providers.acme.api_key"] == "***"


@pytest.mark.parametrize(
    ("key", "value"),
    [("api_key_env", "ACME"), ("secrets", ["HF_TOKEN"]), ("role_arn", "arn:x"), ("monkey", "x")],
)
def test_names_of_secrets_are_shown(key, value):
    assert redacted(key, value) == value


def test_the_database_is_postgresql_and_a_wrong_url_is_not_repeated(load_text):
    with pytest.raises(ConfigError, match="database_url should start with postgresql://") as caught:
        load_text(user='database_url = "mysql://u:canary@h/d"\n')
    assert "canary" not in str(caught.value)


def test_the_database_may_stand_in_the_environment(load_text):
    environ = {"FREELANE_DATABASE_URL": "postgresql://h/d"}
    config = load_text(environ=environ)
    assert config.database_url.get_secret_value() == "postgresql://h/d"
    assert config.origins["database_url"].layer is Layer.ENVIRONMENT
