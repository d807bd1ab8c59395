"""What is measured of a backfill, and the history that it is measured on."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from test_story_proofs import record

from rehearsal.backfill import MOST_STEP_PODS, PHOTOS_A_DAY, Figures, history, land_history, most_at_once

GOOD = Figures("ingest_day", 60, 60, 4, 10.0, 11.0, 600.0, 2)


def test_history_ends_before_the_storys_first_day() -> None:
    days = history("2026-10-05", 60)
    assert (days[0], days[-1], len(days)) == ("2026-08-06", "2026-10-04", 60)
    assert days == sorted(days)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 20)), max_size=15))
def test_the_most_pods_at_once(spans: list[tuple[int, int]]) -> None:
    records = [record("case__detections", started=float(start), ended=float(start + long)) for start, long in spans]
    by_moment = [sum(start <= moment < start + long for start, long in spans) for moment in range(71)]
    assert most_at_once(records) == max(by_moment)


def test_a_pod_that_still_runs_counts_to_the_end() -> None:
    assert most_at_once([record("a", started=1.0, ended=None), record("b", started=90.0, ended=91.0)]) == 2


def test_good_figures_have_nothing_wrong() -> None:
    assert list(GOOD.failures()) == []
    assert "60 of 60 days in 600 s, at most 4 step pods at once" in GOOD.sentence()


@pytest.mark.parametrize(
    ("figures", "told"),
    [
        (Figures("x", 60, 59, 4, 10.0, 10.0, 1.0, 1), "1 of 60 days were not done"),
        (Figures("x", 60, 60, MOST_STEP_PODS + 1, 10.0, 10.0, 1.0, 1), "5 step pods at once"),
        (Figures("x", 60, 60, 4, 10.0, 20.0, 1.0, 1), "10.0 s first and 20.0 s last"),
        (Figures("x", 60, 60, 4, 10.0, 10.0, 1.0, 60), "made 60 times"),
    ],
)
def test_what_is_wrong_is_told(figures: Figures, told: str) -> None:
    (line,) = figures.failures()
    assert told in line


def test_every_day_of_the_history_has_small_photos_that_differ(tmp_path: Path) -> None:
    (tmp_path / "rendered").mkdir()
    Image.effect_noise((1600, 1200), 40).convert("RGB").save(tmp_path / "rendered" / "photo.jpg")
    (tmp_path / "rendered" / "bad.jpg").write_bytes(b"<html>413</html>")
    days = history("2026-10-05", 4)
    landing = tmp_path / "landing"
    whole = (tmp_path / "rendered" / "photo.jpg").read_bytes()
    (tmp_path / "rendered" / "truncated.jpg").write_bytes(whole[:-2000])  # as one of the demo's bad uploads
    assert land_history(tmp_path / "rendered", str(landing), days) == 4 * PHOTOS_A_DAY
    files = sorted(landing.rglob("*.jpg"))
    assert {file.relative_to(landing).parts[0] for file in files} == set(days)
    assert len({file.read_bytes() for file in files}) == len(files) == 4 * PHOTOS_A_DAY
    with Image.open(files[0]) as image:
        assert max(image.size) == 960
