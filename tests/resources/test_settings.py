from pathlib import Path

import pytest

from resources.settings import Settings, SettingsError, load_settings


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLOPS_HOME", "MLOPS_PROFILE"):
        monkeypatch.delenv(name, raising=False)


def test_a_laptop_needs_no_setting() -> None:
    settings = load_settings()
    places = settings.places("enclosures")
    assert settings.profile == "local"
    assert places.store == f"{settings.home}/enclosures/store"
    assert settings.fill(settings.mlflow_tracking_uri) == f"sqlite:///{settings.home}/mlflow.db"


def test_use_cases_do_not_share_a_folder() -> None:
    settings = load_settings()
    first, second = settings.places("enclosures"), settings.places("substations")
    assert len({first.landing, second.landing, first.labels, second.labels, first.store, second.store}) == 6


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("MLOPS_PROFILE", "cluster", "'local' or 'k8s'"),
        ("MLOPS_THREADS", "-1", "threads of a step"),
        ("MLOPS_EPOCHS", "many", "epochs of every training"),
        ("MLOPS_DEVICE", "tpu", "'cpu', 'cuda'"),
    ],
)
def test_a_wrong_setting_names_itself_and_what_it_takes(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert variable in str(caught.value)
    assert words in str(caught.value)
    assert value in str(caught.value)


def test_an_unknown_setting_is_refused_with_the_closest_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLOPS_PROFIL", "k8s")
    with pytest.raises(SettingsError, match="did you mean MLOPS_PROFILE"):
        load_settings()


def test_weights_from_an_address_need_their_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLOPS_BASE_WEIGHTS_URI", "https://example.org/w.pt")
    with pytest.raises(SettingsError, match="MLOPS_BASE_WEIGHTS_URI needs MLOPS_BASE_WEIGHTS_SHA256"):
        load_settings()


def test_a_hash_needs_weights_and_weights_are_given_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLOPS_BASE_WEIGHTS_SHA256", "0" * 64)
    with pytest.raises(SettingsError, match="MLOPS_BASE_WEIGHTS_SHA256 needs MLOPS_BASE_WEIGHTS_URI or"):
        load_settings()
    monkeypatch.setenv("MLOPS_BASE_WEIGHTS", "w.pt")
    assert load_settings().base_weights == Path("w.pt")
    monkeypatch.setenv("MLOPS_BASE_WEIGHTS_URI", "https://example.org/w.pt")
    with pytest.raises(SettingsError, match="give one"):
        load_settings()


def test_home_is_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLOPS_HOME", "here")
    assert load_settings().home == tmp_path / "here"


def test_two_use_cases_cannot_share_a_store() -> None:
    settings = Settings(store="s3://bucket/store", pages="s3://bucket/{use_case}")
    assert settings.places(settings.use_case).store == "s3://bucket/store"
    with pytest.raises(SettingsError, match=r"MLOPS_STORE must hold \{use_case\}: other would write over"):
        settings.places("other")
