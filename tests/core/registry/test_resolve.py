import pytest
from pydantic import BaseModel

from freelane.contract.capability import FULL, Capability, Level, Support
from freelane.contract.provider import CONTRACT_VERSION, ProviderInfo
from freelane.errors import AuthenticationFailed, PluginInvalid, ProviderUnavailable
from freelane.registry import Registry, unsupported


class Empty(BaseModel):
    pass


@pytest.fixture
def registry(with_plugins):
    with_plugins("freelane-lazy", "freelane-acme")
    return Registry(environ={})


@pytest.fixture
def connect(registry, context):
    def connect(name):
        return registry.connect(registry.info(name), Empty(), context)

    return connect


def test_a_provider_is_wired_from_its_config_and_context(registry, context):
    info = registry.info("acme")
    config = registry.config_class(info).model_validate({"greeting": "hello"})

    provider = registry.connect(info, config, context)

    assert provider.name == "mine"
    assert provider.info == info
    assert not context.folder.exists()


def test_the_config_class_is_loaded_by_its_path(registry):
    config_class = registry.config_class(registry.info("acme"))

    assert config_class.__name__ == "AcmeConfig"
    assert config_class().model_dump() == {"greeting": None}


@pytest.mark.parametrize("name", ["lazy-needs-sdk", "lazy-needs-sdk-late"])
def test_a_missing_module_of_the_extra_names_the_extra(connect, name):
    with pytest.raises(ProviderUnavailable, match="'sdk' of freelane-lazy") as caught:
        connect(name)

    assert caught.value.extra == "sdk"
    assert caught.value.hint == "pip install 'freelane-lazy[sdk]'"


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("lazy-broken", "broken:connect raised ZeroDivisionError: a mistake of the plugin's own"),
        ("lazy-absent", "raised AttributeError"),
        ("lazy-own-typo", "raised ModuleNotFoundError: No module named 'freelane_lazy.no_such"),
        ("lazy-text", "answers_text made a str, not a Provider"),
    ],
)
def test_any_other_failure_names_the_distribution(connect, name, fault):
    with pytest.raises(PluginInvalid) as caught:
        connect(name)

    assert fault in caught.value.message
    assert "brought by freelane-lazy" in caught.value.message
    assert caught.value.distribution == "freelane-lazy"


def test_a_providers_own_refusal_passes_unchanged(connect):
    with pytest.raises(AuthenticationFailed, match="no key for lazy"):
        connect("lazy-refuses")


def test_a_config_that_is_no_model_names_the_distribution(registry):
    with pytest.raises(PluginInvalid, match="answers_text is not a pydantic model"):
        registry.config_class(registry.info("lazy-text"))


def test_checks_are_none_where_none_are_declared(registry, context):
    assert registry.checks(registry.info("lazy-well"), Empty(), context) is None


def test_checks_are_made_from_config_and_context(registry, context):
    checks = registry.checks(registry.info("acme"), Empty(), context)

    assert checks is not None
    assert callable(checks.run)


def test_checks_that_cannot_run_name_the_distribution(registry, context):
    with pytest.raises(PluginInvalid, match="answers_text made a str, which cannot run"):
        registry.checks(registry.info("lazy-text"), Empty(), context)


def _info(name, **capabilities):
    return ProviderInfo(
        name=name,
        summary="",
        owned=True,
        contract=CONTRACT_VERSION,
        capabilities={Capability(key): support for key, support in capabilities.items()},
        config="a:b",
        factory="a:b",
    )


LOCAL, GEMINI, VERTEX = (
    _info("local"),
    _info("gemini", deploy=FULL),
    _info("vertex", deploy=Support(Level.PARTIAL, excludes=frozenset({"x"}))),
)


def test_an_unsupported_capability_names_those_that_have_it():
    error = unsupported(
        Capability.DEPLOY, "here", LOCAL, {"here": LOCAL, "vertex": VERTEX, "gemini": GEMINI}
    )

    assert error.message == "here does not deploy; gemini and vertex do"
    assert (error.capability, error.provider) == ("deploy", "here")
    assert error.alternatives == ["gemini", "vertex"]


def test_an_unsupported_capability_says_why_and_that_nothing_else_has_it():
    info = _info("acme", accelerator=Support(Level.IMPOSSIBLE, note="acme has no cards"))

    error = unsupported(Capability.ACCELERATOR, "acme", info, {"acme": info, "local": LOCAL})

    assert error.message == (
        "acme does not offer accelerators (acme has no cards); nothing here does"
    )


def test_acme_does_not_deploy_and_local_does(registry):
    acme = registry.info("acme")

    error = unsupported(Capability.DEPLOY, "acme", acme, registry.infos())

    assert error.message == "acme does not deploy; local does"


@pytest.mark.parametrize("capability", Capability)
def test_every_capability_can_be_refused_in_words(capability):
    assert unsupported(capability, "here", LOCAL, {}).message.startswith("here does not ")
