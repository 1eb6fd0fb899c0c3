import json

import pytest

from freelane.errors import PluginInvalid, ProviderNotFound
from freelane.registry import PluginState, Registry

BROKEN = {
    "freelane-raises": ("raises", "raised RuntimeError: the raising plugin raises on import"),
    "freelane-exits": ("exits", "raised SystemExit: 3"),
    "freelane-usurper": ("usurper", "provider 'local' is brought by freelane itself"),
    "freelane-future": ("future", "contract version 999; this Freelane speaks version 1"),
    "freelane-rubbish": ("rubbish", "declared a dict where a ProviderInfo belongs"),
}

HOUSE = ["cloudrun", "gemini", "local", "sagemaker", "vertex"]

HOOK = """
from freelane.contract.capability import FULL, Capability
from freelane.contract.hookspecs import hookimpl
from freelane.contract.provider import ProviderInfo

@hookimpl
def freelane_register_providers():
"""


@pytest.fixture
def registry():
    return Registry(environ={})


def _infos(*names, change=""):
    """The text of a plugin that declares providers of these names."""
    declared = ", ".join(
        f"ProviderInfo(**(dict(name={name!r}, summary='', owned=True, contract=1, "
        f"capabilities={{Capability.TRAIN: FULL}}, config='a:b', factory='a:b') | dict({change})))"
        for name in names
    )
    return f"{HOOK}    return [{declared}]\n"


def _reason(registry, distribution):
    (reason,) = (q.reason for q in registry.quarantined() if q.distribution == distribution)
    return reason


def test_the_house_brings_this_machine_and_two_clouds(registry):
    assert [info.name for info in registry.infos().values() if info.owned] == ["local"]
    assert list(registry.infos()) == HOUSE
    rows = [row for row in registry.plugins() if row.distribution == "freelane"]
    assert {row.entry_point: row.state for row in rows} == dict.fromkeys(
        ["local", "sagemaker", "vertex"], "loaded"
    )


def test_a_third_partys_provider_stands_beside_local(with_plugins, registry):
    with_plugins("freelane-acme")

    assert list(registry.infos()) == sorted(["acme", *HOUSE])
    (row,) = (row for row in registry.plugins() if row.entry_point == "acme")
    assert (row.distribution, row.version, row.state) == ("freelane-acme", "0.1.0", "loaded")
    assert row.providers == ("acme",)


@pytest.mark.parametrize("distribution", BROKEN)
def test_a_broken_plugin_is_quarantined_with_its_reason(with_plugins, registry, distribution):
    with_plugins(distribution)
    entry_point, reason = BROKEN[distribution]

    (quarantined,) = (q for q in registry.quarantined() if q.distribution == distribution)

    assert quarantined.entry_point == entry_point
    assert quarantined.version
    assert reason in quarantined.reason
    assert "\n" not in quarantined.reason


def test_the_others_work_on_beside_every_broken_plugin(with_plugins, registry):
    with_plugins("freelane-acme", *BROKEN)

    assert list(registry.infos()) == sorted(["acme", *HOUSE])
    assert len(registry.quarantined()) == len(BROKEN)


def test_no_third_party_displaces_local(with_plugins, registry):
    before = registry.info("local")
    with_plugins("freelane-usurper")

    assert Registry(environ={}).info("local") == before


def test_local_stays_empty_rather_than_a_third_partys_when_it_is_not_allowed(with_plugins):
    with_plugins("freelane-usurper")
    registry = Registry(environ={"FREELANE_PLUGINS": "usurper"})

    assert not registry.infos()
    assert "brought by freelane itself" in _reason(registry, "freelane-usurper")


def test_two_third_parties_of_one_provider_name_are_both_quarantined(with_plugins, registry):
    with_plugins("freelane-acme", "freelane-acme-double")

    assert list(registry.infos()) == HOUSE
    assert "also brought by freelane-acme-double" in _reason(registry, "freelane-acme")
    assert "also brought by freelane-acme" in _reason(registry, "freelane-acme-double")


def test_a_quarantined_plugin_takes_no_name_from_another(with_plugins, write_plugin, registry):
    write_plugin("greedy", _infos("local", "acme"))
    with_plugins("freelane-acme")

    assert "acme" in registry.infos()
    assert "'local' is brought by freelane" in _reason(registry, "greedy")


def test_a_borrowed_entry_point_name_is_never_imported(with_plugins, write_plugin, registry):
    write_plugin("borrower", "raise AssertionError('imported')", entry_point="local")

    assert _reason(registry, "borrower") == "entry point 'local' is also that of freelane"
    assert "local" in registry.infos()


def test_two_third_parties_of_one_entry_point_name_keep_each_other_out(
    with_plugins, write_plugin, registry
):
    write_plugin("one", _infos("first"), entry_point="same")
    write_plugin("two", _infos("second"), entry_point="same")

    assert list(registry.infos()) == HOUSE
    assert _reason(registry, "one") == "entry point 'same' is also that of two"
    assert _reason(registry, "two") == "entry point 'same' is also that of one"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("x = 1", "no freelane_register_providers hook answered"),
        ("import freelane_no_such_thing", "ModuleNotFoundError"),
        ("import asyncio\nraise asyncio.CancelledError('odd')", "raised CancelledError: odd"),
        (
            HOOK + "    return 'acme'",
            "answered a str, not a list",
        ),
        (
            HOOK + "    raise ValueError('mine')",
            "raised ValueError: mine",
        ),
        (HOOK.replace("providers", "provider") + "    return []", "PluginValidationError"),
        (HOOK.replace("()", "(client)") + "    return []", "PluginValidationError"),
    ],
)
def test_a_module_that_does_not_keep_to_the_hook_is_quarantined(
    with_plugins, write_plugin, registry, body, reason
):
    write_plugin("odd", body)

    assert reason in _reason(registry, "odd")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("name='Two Words'", "provider 'Two Words' is not a name"),
        ("name=7", "name is an int, not a text"),
        ("capabilities={'train': True}", "not a mapping of Capability to Support"),
        ("capabilities=None", "not a mapping of Capability to Support"),
        ("factory='odd_plugin'", "factory 'odd_plugin' is not a module:attribute path"),
        ("config='a-b:c'", "config 'a-b:c' is not a module:attribute path"),
        ("checks=''", "checks '' is not a module:attribute path"),
    ],
)
def test_a_declaration_that_does_not_hold_is_quarantined(
    with_plugins, write_plugin, registry, change, reason
):
    write_plugin("odd", _infos("odd", change=change))

    assert reason in _reason(registry, "odd")


def test_a_plugin_that_declares_a_name_twice_is_quarantined(with_plugins, write_plugin, registry):
    write_plugin("odd", _infos("twin", "twin"))

    assert _reason(registry, "odd") == "it declares provider 'twin' twice"


def test_a_keyboard_interrupt_is_not_the_plugins_fault(with_plugins, write_plugin, registry):
    write_plugin("odd", "raise KeyboardInterrupt")

    with pytest.raises(KeyboardInterrupt):
        registry.infos()


def test_an_empty_allow_list_allows_no_plugin(with_plugins):
    with_plugins("freelane-acme")
    registry = Registry(environ={"FREELANE_PLUGINS": ""})

    assert not registry.infos()
    assert {row.state for row in registry.plugins()} == {PluginState.NOT_ALLOWED}


def test_an_allow_list_names_entry_points_with_commas_between_them(with_plugins):
    with_plugins("freelane-acme", "freelane-raises")
    registry = Registry(environ={"FREELANE_PLUGINS": " local, acme ,"})

    assert list(registry.infos()) == ["acme", "local"]
    assert not registry.quarantined()


def test_a_plugin_that_is_not_allowed_is_never_imported(run_python):
    code = (
        "import sys; from freelane.registry import Registry; Registry().plugins(); "
        "print('freelane_acme' in sys.modules)"
    )

    assert run_python(code, "freelane-acme", FREELANE_PLUGINS="local") == "False\n"
    assert run_python(code, "freelane-acme", FREELANE_PLUGINS="local,acme") == "True\n"


def test_a_listed_plugin_that_is_not_installed_is_reported():
    registry = Registry(environ={"FREELANE_PLUGINS": "local,sagemakr"})

    (row,) = (row for row in registry.plugins() if row.state is PluginState.NOT_INSTALLED)
    assert row.entry_point == "sagemakr"
    assert row.reason == "FREELANE_PLUGINS lists it and no installed distribution brings it"


def test_listing_providers_imports_none_of_them(run_python):
    code = (
        "import json, sys; from freelane.registry import Registry; r = Registry(); "
        "names = list(r.infos()); r.plugins(); print(json.dumps([names, sorted(sys.modules)]))"
    )

    names, modules = json.loads(run_python(code, "freelane-acme", "freelane-raises"))

    assert names == sorted(["acme", *HOUSE])
    theirs = {m for m in modules if m.startswith("freelane_")}
    packages = ["acme", "local", "sagemaker", "vertex"]
    assert theirs == {f"freelane_{p}{part}" for p in packages for part in ("", ".plugin")}
    # `google` itself stands there from the start: a .pth file of google-cloud-aiplatform makes it.
    heavy = {"pydantic", "sqlalchemy", "httpx", "rich", "psutil", "pynvml", "boto3"}
    heavy |= {"google.api_core", "google.auth", "google.genai"}
    assert not heavy & set(modules)


def test_what_a_plugin_prints_while_it_loads_keeps_out_of_stdout(run_python):
    code = "from freelane.registry import Registry; print(len(Registry().quarantined()))"

    assert run_python(code, "freelane-raises") == "1\n"


def test_a_near_name_is_suggested(registry):
    with pytest.raises(
        ProviderNotFound, match=r"'locla'; did you mean local\? .*installed: .*local"
    ):
        registry.info("locla")


def test_a_quarantined_plugin_is_named_with_its_distribution(with_plugins, registry):
    with_plugins("freelane-future")

    with pytest.raises(PluginInvalid, match=r"freelane-future 9\.9\.9 is quarantined") as caught:
        registry.info("future")

    assert caught.value.distribution == "freelane-future"
    assert caught.value.exit_code == 2


def test_a_plugin_that_is_not_allowed_is_found_installed(with_plugins):
    with_plugins("freelane-acme")

    with pytest.raises(ProviderNotFound, match="FREELANE_PLUGINS does not list it") as caught:
        Registry(environ={"FREELANE_PLUGINS": "local"}).info("acme")

    assert caught.value.hint == "add acme to FREELANE_PLUGINS"


def test_an_unreadable_list_of_entry_points_takes_no_other_down(write_plugin, registry, tmp_path):
    write_plugin("well", _infos("well"))
    write_plugin("damaged", _infos("damaged"))
    damaged = tmp_path / "site" / "damaged-1.0.dist-info" / "entry_points.txt"
    damaged.write_text("[freelane]\nno value here\n")

    assert list(registry.infos()) == sorted([*HOUSE, "well"])


def test_a_distribution_without_metadata_is_unknown_and_works(write_plugin, registry, tmp_path):
    write_plugin("well", _infos("well"))
    (tmp_path / "site" / "well-1.0.dist-info" / "METADATA").unlink()

    (row,) = (row for row in registry.plugins() if row.entry_point == "well")

    assert (row.distribution, row.state) == ("unknown", "loaded")
