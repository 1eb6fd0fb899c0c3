import pytest

from freelane.errors import ConfigError

TOP = 'name = "digits"\n'


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example",
        "http://10.0.0.1:80",
        "http://0.0.0.0",
        "http://localhost.evil.example",
        "http://localhost@evil.example",
        "http://localhost:80,http://evil.example",
        "http://localhost/,http://evil.example",
        "http://local\\\\@evil.example",
        "http://localhost\\t@evil.example",
        "http://127.0.0.1.evil.example/",
        "http://[::2]/",
        "http://[::1",
        "HTTPS://EVIL.EXAMPLE",
        " https://evil.example",
        "//evil.example",
        "grpc://evil.example:443",
        "http:\\\\\\\\evil.example",
        "s3://bucket,https://evil.example",
    ],
)
def test_a_project_may_not_name_the_address_of_another_machine(load_text, url, user_file):
    with pytest.raises(ConfigError) as caught:
        load_text(TOP + f'[providers.acme]\nkey = "{url}"\n')
    assert str(caught.value) == (
        "freelane.toml:3: providers.acme.key points away from this machine, and a project file "
        f"may be somebody else's; put it in {user_file} or in FREELANE_PROVIDERS__ACME__KEY"
    )


@pytest.mark.parametrize(
    "value",
    [
        'key = ["a", "https://evil.example"]',
        'key = [{ a = "https://evil.example" }]',
        'key = [{ "https://evil.example" = 1 }]',
        'train = { key = "https://evil.example" }',
        'api_endpoint = "evil.example"',
        'base_url = "https:evil.example"',
        'host = "10.1.2.3:80"',
        'http_proxy = "evil.example:3128"',
    ],
)
def test_an_address_is_found_wherever_it_hides(load_text, value):
    with pytest.raises(ConfigError, match="points away from this machine"):
        load_text(TOP + f"[providers.acme]\n{value}\n")


@pytest.mark.parametrize(
    "value",
    [
        'endpoint_url = "http://localhost:4566"',
        'endpoint_url = "http://127.0.0.1:4566/path?x=1"',
        'endpoint_url = "http://[::1]:4566"',
        'host = "localhost:80"',
        'host = ""',
        'model_uri = "s3://bucket/model"',
        'model_uri = "gs://bucket/model"',
        'region = "us-east-1"',
        'role_arn = "arn:aws:iam::123456789012:role/x"',
        "port = 80",
    ],
)
def test_this_machine_and_stores_of_data_are_fine_in_a_project(load_text, value):
    load_text(TOP + f'[providers.acme]\n{value}\napi_key_env = "ACME_KEY"\n')


def test_the_user_may_name_any_address(load_text):
    user = '[providers.acme]\nbase_url = "https://acme.example"\napi_key_env = "ACME_KEY"\n'
    environ = {"FREELANE_PROVIDERS__EU__BASE_URL": "https://eu.example"}
    config = load_text(
        TOP, user=user, environ=environ, flags={"providers.us.base_url": "https://us.example"}
    )
    assert sorted(config.project.providers) == ["acme", "eu", "us"]


def test_a_project_may_not_choose_the_secret_that_travels_to_the_users_address(load_text):
    user = '[providers.acme]\nbase_url = "https://acme.example"\n'
    with pytest.raises(ConfigError) as caught:
        load_text(TOP + '[providers.acme]\napi_key_env = "AWS_SECRET_ACCESS_KEY"\n', user=user)
    assert str(caught.value).startswith(
        "freelane.toml:3: providers.acme.api_key_env names a secret that would travel to the "
        "address of acme"
    )


def test_a_project_may_set_plain_keys_beside_the_users_address(load_text):
    user = '[providers.acme]\nbase_url = "https://acme.example"\n'
    config = load_text(TOP + '[providers.acme]\nmodel = "m"\n', user=user)
    assert config.provider_table("acme").values["model"] == "m"


def test_a_project_may_not_choose_the_secret_beside_an_address_of_the_environment(load_text):
    environ = {"FREELANE_PROVIDERS__ACME__BASE_URL": "https://acme.example"}
    with pytest.raises(ConfigError, match="would travel"):
        load_text(TOP + '[providers.acme]\nsecrets = ["X"]\n', environ=environ)


@pytest.mark.parametrize("line", ['database_url = "postgresql://u:canary@h/d"', 'owner = "canary"'])
def test_the_database_and_the_owner_do_not_count_in_a_project(load_text, line):
    with pytest.raises(
        ConfigError, match=r"^freelane.toml:2: \w+ does not count in a pro"
    ) as caught:
        load_text(TOP + line + "\n")
    assert "canary" not in str(caught.value)


def test_a_project_tables_wrong_type_is_left_to_the_schema(load_text):
    with pytest.raises(ConfigError, match="providers should be a table"):
        load_text(TOP + "providers = 3\n")


@pytest.mark.parametrize(
    ("caps", "asked"),
    [
        ('policy = "free"', 'policy = "count"'),
        ('policy = "free"', 'policy = "budget"\nbudget = "1 USD/month"'),
        ('policy = "budget"\nbudget = "5 USD/month"', 'policy = "count"'),
        ('budget = "5 USD/month"', 'policy = "count"'),
        ('budget = "5 USD/month"', 'budget = "5.01 USD/month"'),
        ('budget = "5 USD/month"', 'budget = "1 USD/day"'),
        ('budget = "5 USD/day"', 'budget = "6 USD/month"'),
        ('credits = "never"', 'credits = "ask"'),
        ('credits = "ask"', 'credits = "use"'),
        ('exhausted = "refuse"', 'exhausted = "wait"'),
        ('exhausted = "wait"', 'exhausted = "ask"'),
    ],
)
def test_a_project_cannot_raise_the_users_ceiling(load_text, caps, asked, user_file):
    text = TOP + "[guard]\n" + asked + "\n"
    with pytest.raises(ConfigError) as caught:
        load_text(text, user="[guard]\n" + caps + "\n")
    message = str(caught.value)
    assert message.startswith("freelane.toml:3: [guard] ")
    assert f"of {user_file}:" in message
    assert "which a project cannot raise" in message


@pytest.mark.parametrize(
    ("caps", "asked"),
    [
        ('policy = "count"', 'policy = "free"'),
        ('policy = "budget"', 'policy = "budget"\nbudget = "9 USD/month"'),
        ('budget = "31 USD/month"', 'budget = "1 USD/day"'),
        ('budget = "5 USD/day"', 'budget = "5 USD/month"'),
        ('credits = "use"', 'credits = "never"'),
        ('exhausted = "ask"', 'exhausted = "wait"'),
        ("", 'policy = "count"'),
    ],
)
def test_a_project_may_be_as_strict_or_stricter(load_text, caps, asked):
    load_text(TOP + "[guard]\n" + asked + "\n", user="[guard]\n" + caps + "\n")


def test_the_user_may_pass_the_ceiling_by_a_flag(load_text):
    flags = {"guard.policy": "count"}
    config = load_text(TOP, user='[guard]\npolicy = "free"\n', flags=flags)
    assert config.project.guard.policy == "count"


def test_a_flag_does_not_hide_what_the_project_asks(load_text):
    text = TOP + '[guard]\npolicy = "count"\n'
    with pytest.raises(ConfigError, match="cannot raise"):
        load_text(text, user='[guard]\npolicy = "free"\n', flags={"guard.policy": "free"})


def test_a_wrong_ceiling_is_named_even_where_a_project_hides_it(load_text, user_file):
    with pytest.raises(ConfigError) as caught:
        load_text(TOP + '[guard]\npolicy = "count"\n', user='[guard]\npolicy = "fre"\n')
    assert str(caught.value).startswith(f"{user_file}:2: guard.policy should be 'free', 'budget'")
