"""No photo is looked at twice by one version of model and code, but for what a killed step had not kept yet."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from detecting_process import DAY, look

from mlops_assets.catalog.detecting import CHUNK
from mlops_assets.catalog.looked_at import PARTS, Looked, LookedAt
from mlops_assets.catalog.schema import DETECTIONS, UNKNOWN_EQUIPMENT
from resources.tables import CODE_VERSION, ParquetTables, Tables, write_parquet

ROOT = Path(__file__).parents[2]
PHOTOS = 500


def reads(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


def kill_after(photos: int, store: Path, model: Path, log: Path) -> None:
    """Start looking in a process of its own and kill it once it has read so many photos."""
    command = [sys.executable, str(Path(__file__).with_name("detecting_process.py"))]
    arguments = [str(store), str(model), str(log), str(PHOTOS)]
    before = len(reads(log))
    process = subprocess.Popen([*command, *arguments], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    deadline = time.monotonic() + 120
    while len(reads(log)) - before < photos:
        assert process.poll() is None, "it came to its end"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def test_a_killed_step_goes_on_where_it_was_and_gives_the_same_table(onnx_model: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    kill_after(CHUNK + 60, tmp_path / "killed", onnx_model, log)
    tables = Tables(root=str(tmp_path / "killed"))
    assert len(tables.partitions(PARTS["detections"])) >= 1
    assert not tables.partitions("detections")
    found = look(tmp_path / "killed", onnx_model, log, PHOTOS)
    times = Counter(reads(log))
    assert len(times) == PHOTOS
    assert 0 < sum(times.values()) - PHOTOS <= CHUNK
    assert found.looked_at < PHOTOS
    assert all(not tables.partitions(table) for table in PARTS.values())

    straight = look(tmp_path / "straight", onnx_model, tmp_path / "other log", PHOTOS)
    assert found.detections.equals(straight.detections)
    assert found.unknown_equipment.equals(straight.unknown_equipment)
    assert found.detections["photo_id"].n_unique() == PHOTOS

    again = look(tmp_path / "straight", onnx_model, tmp_path / "third log", PHOTOS)
    assert again.looked_at == 0
    assert not reads(tmp_path / "third log")
    assert again.detections.equals(straight.detections)


def test_other_code_looks_again_and_takes_nothing_from_an_unfinished_run(onnx_model: Path, tmp_path: Path) -> None:
    store, tables = tmp_path / "store", Tables(root=str(tmp_path / "store"))
    first = look(store, onnx_model, tmp_path / "log", 4)
    tables.write(PARTS["detections"], first.detections, DETECTIONS, f"{DAY}.000000", code_version="code")
    tables.write(PARTS["unknown_equipment"], first.unknown_equipment, UNKNOWN_EQUIPMENT, f"{DAY}.000000", "code")
    assert look(store, onnx_model, tmp_path / "log", 4, code="other").looked_at == 4
    assert not tables.partitions(PARTS["detections"])


def test_what_a_later_day_had_is_taken_from_there(onnx_model: Path, tmp_path: Path) -> None:
    later = look(tmp_path, onnx_model, tmp_path / "log", 5, day="2026-10-07")
    moved = look(tmp_path, onnx_model, tmp_path / "log", 7, day=DAY)
    assert moved.looked_at == 2
    assert len(reads(tmp_path / "log")) == 7
    same = pl.col("photo_id").is_in(later.detections["photo_id"].implode())
    assert moved.detections.filter(same).equals(later.detections)
    assert moved.unknown_equipment.height == 7


def test_a_photo_that_one_of_two_tables_lacks_is_not_done(tmp_path: Path) -> None:
    tables = Tables(root=str(tmp_path))
    row = {"photo_id": "a", "model_version": "1"}
    write_parquet(pl.DataFrame([row], schema=DETECTIONS), tables._path("detections", DAY), {CODE_VERSION: "code"})
    found = Looked(tables.read("detections", DETECTIONS, DAY), tables.read("unknown_equipment", UNKNOWN_EQUIPMENT, DAY))
    assert found.detections.height == 1
    assert found.photo_ids().is_empty()
    assert Looked.joined([found]).detections.is_empty()


def test_dagster_goes_on_behind_an_output_when_its_table_is_written(tmp_path: Path) -> None:
    """So the parts are removed only when nothing depends on them any more."""
    written = []

    @dg.asset
    def table() -> Iterator[dg.Output[pl.DataFrame]]:
        yield dg.Output(DETECTIONS.to_frame())
        written.extend(path.name for path in (tmp_path / "tables").iterdir())

    assert dg.materialize(
        [table], resources={"io_manager": ParquetTables(str(tmp_path), {"table": DETECTIONS})}
    ).success
    assert written == ["table.parquet"]


def test_photos_whose_parts_another_run_has_cleared_are_not_published_as_without_boxes(
    onnx_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = LookedAt.append

    def cleared(self: LookedAt, chunk: Looked) -> None:
        kept(self, chunk)
        LookedAt(self._tables, self._day, "code", "7").clear()

    monkeypatch.setattr(LookedAt, "append", cleared)
    with pytest.raises(RuntimeError, match=r"Of 4 of the day's 4 usable photos .* The retry looks at them again"):
        look(tmp_path / "store", onnx_model, tmp_path / "log", 4)
    monkeypatch.setattr(LookedAt, "append", kept)
    assert look(tmp_path / "store", onnx_model, tmp_path / "log", 4).looked_at == 4
