import logging

import pytest

from mlops_assets import progress


def test_a_line_says_what_is_left_and_the_last_one_how_long_it_took(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = iter([100.0, 101.0, 110.0, 112.0, 140.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with caplog.at_level(logging.INFO):
        report = progress.logged_progress(logging.getLogger("progress"), "photos cleaned")
        for done in (1, 25, 27, 100):
            report(done, 100)
    assert caplog.messages == [
        "25 of 100 photos cleaned, 2.5 a second, about 30 s left",
        "100 of 100 photos cleaned in 40 s",
    ]
