from demo.chapters import CHAPTERS, Chapter, clock, contents, heading

TWO = (Chapter("One thing", first=60, again=5), Chapter("Another", first=65, again=10))


def test_a_heading_says_what_is_left_with_it() -> None:
    assert heading(TWO, TWO[0], again=False) == "1 of 2: One thing (about 1:00, 2:05 to the end)"
    assert heading(TWO, TWO[1], again=False) == "2 of 2: Another (about 1:05, 1:05 to the end)"
    assert heading(TWO, TWO[0], again=True) == "1 of 2: One thing (about 0:05, 0:15 to the end)"


def test_the_contents_list_every_chapter_with_its_time() -> None:
    first, again = contents(TWO, again=False), contents(TWO, again=True)
    assert "1. One thing (1:00)" in first
    assert "2. Another (1:05)" in first
    assert "2. Another (0:10)" in again
    assert "nothing is trained" in again
    assert "nothing is trained" not in first


def test_telling_it_again_is_never_said_to_take_longer() -> None:
    assert all(chapter.again <= chapter.first for chapter in CHAPTERS)


def test_a_clock_shows_minutes_and_seconds() -> None:
    assert [clock(0), clock(9.9), clock(75), clock(3600)] == ["0:00", "0:09", "1:15", "60:00"]
