import pytest

from scripts.checks.licences import Policy, allows, judge, load

POLICY = Policy(
    frozenset({"mit", "bsd", "apache-2.0", "agpl-3.0-or-later"}), {"nvidia-*": "a reason", "odd": "a reason"}
)


@pytest.mark.parametrize("licence", ["MIT", "MIT OR Proprietary", "MIT AND BSD", "MIT; BSD", "(MIT OR X) AND BSD"])
def test_what_goes_with_the_agpl_is_allowed(licence: str) -> None:
    assert allows(POLICY, licence)


@pytest.mark.parametrize(
    "licence", ["Proprietary", "MIT AND Proprietary", "MIT; Proprietary", "UNKNOWN", "", "GPL-2.0-only"]
)
def test_what_does_not_is_refused(licence: str) -> None:
    assert not allows(POLICY, licence)


def test_a_package_with_a_bad_licence_is_named() -> None:
    bad = {"good": "MIT", "nvidia-nccl": "Proprietary", "odd": "UNKNOWN", "bad": "GPL-2.0-only"}
    assert judge(POLICY, bad) == ["bad: GPL-2.0-only is neither allowed nor excepted in licences.toml"]


def test_an_exception_that_nothing_needs_is_named() -> None:
    assert judge(POLICY, {"good": "MIT", "odd": "UNKNOWN"}) == ["nvidia-*: the exception is not needed"]


def test_the_project_s_policy_gives_reasons_and_does_not_allow_what_excludes_the_agpl() -> None:
    policy = load()
    for licence in ("GPL-2.0-only", "LicenseRef-NVIDIA-Proprietary", "SSPL-1.0", "BUSL-1.1", "UNKNOWN"):
        assert not allows(policy, licence)


def test_an_exception_without_a_reason_is_refused(tmp_path) -> None:
    (tmp_path / "policy.toml").write_text('allowed = ["MIT"]\n[packages]\n"odd" = "fine"\n')
    with pytest.raises(ValueError, match="odd"):
        load(tmp_path / "policy.toml")
