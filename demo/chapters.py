"""The parts of the story: what each is about and how long it takes, so that a reader knows what to wait for."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Chapter:
    """One part; seconds on two cores, the first time and when the story was told before."""

    title: str
    first: float
    again: float


RENDERING = Chapter("Photos of enclosures with known contents are rendered", 17, 1)
INGESTION = Chapter("Three days of photos are landed and taken in", 55, 45)
LEARNING = Chapter("Labels are dropped; the sensors train the first detector and fill the catalogue", 220, 15)
RELEARNING = Chapter("Labels of equipment never seen before are dropped; the sensors retrain", 170, 1)
CHAPTERS = (RENDERING, INGESTION, LEARNING, RELEARNING)


def clock(seconds: float) -> str:
    """Minutes and seconds, as 12:05."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def contents(chapters: Sequence[Chapter], *, again: bool, command: str = "make demo") -> str:
    """What will happen and how long it takes, a line a chapter; `command` is what the reader has started."""
    told = "the story was told before, so nothing is trained" if again else "the first time"
    lines = [f"What happens now, and about how long it takes on two cores ({told}):"]
    lines += [
        f"  {number}. {chapter.title} ({clock(_seconds(chapter, again))})" for number, chapter in enumerate(chapters, 1)
    ]
    return "\n".join([*lines, f"Lines start with minutes and seconds since `{command}`."])


def heading(chapters: Sequence[Chapter], chapter: Chapter, *, again: bool) -> str:
    """Where the story is, how long this chapter takes, and all that is left with it."""
    index = chapters.index(chapter)
    left = sum(_seconds(later, again) for later in chapters[index:])
    return (
        f"{index + 1} of {len(chapters)}: {chapter.title} "
        f"(about {clock(_seconds(chapter, again))}, {clock(left)} to the end)"
    )


def _seconds(chapter: Chapter, again: bool) -> float:
    return chapter.again if again else chapter.first
