import pytest

from mlops_assets.labels.class_names import closest, fold_name, likeness


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("power_supply", "power suply"),  # left out
        ("power_supply", "pwoer supply"),  # swapped
        ("power_supply", "Power Supplies"),
        ("power_supply", "powersupply"),
        ("fan", "fans"),
        ("patch_box", "Patch boxes"),
        ("surge_arrester", "surge arrestor"),
        ("ups_smart1500", "ups_smrt1500"),
    ],
)
def test_typos_and_plurals_are_alike(first: str, second: str) -> None:
    assert likeness(first, second) == likeness(second, first) >= 0.8


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("port_24", "port_48"),
        ("10-key", "11-key"),
        ("fibre_patch_panel", "copper_patch_panel"),
        ("switch_c9300", "switch_c9200"),
        ("server_r6515", "server_t6515"),
        ("splitter a", "splitter b"),
        ("fibre_enclosure_2u", "fibre_enclosure_1u"),
        ("bus", "bu"),
        ("jack", "king"),
    ],
)
def test_numbers_codes_and_other_words_tell_things_apart(first: str, second: str) -> None:
    assert likeness(first, second) < 0.8


def test_case_spaces_and_accents_written_otherwise_are_the_same_name() -> None:
    assert fold_name("Power-Supply") == fold_name("power_supply") == fold_name(" POWER  supply")
    assert fold_name("armoire e\u0301lectrique") == fold_name("Armoire \u00e9lectrique")


def test_the_closest_is_the_most_alike_then_the_oldest() -> None:
    known = [(3, "routers"), (1, "splitter"), (2, "router"), (0, "rooter")]
    assert closest("router", known, 0.8) == 2
    assert closest("roter", known, 0.8) == 0
    assert closest("battery", known, 0.8) is None
