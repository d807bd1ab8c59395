"""Runs the benchmark sections: `python -m benchmarks [section …]`; each writes `bench-output/<section>.json`."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks import (
    base_weights,
    class_names,
    demo,
    forgetting,
    gate,
    gate_simulation,
    inference,
    label_errors,
    labels,
    near_duplicates,
    photos,
    predictor_memory,
    quality,
    racks,
    resuming,
    sensors,
    serving,
    start,
    training,
    training_step,
    unknown_equipment,
)

SECTIONS: Mapping[str, Callable[[], dict[str, float]]] = {
    "start": start.run,
    "training": training.run,
    "training_step": training_step.run,
    "resuming": resuming.run,
    "base_weights": base_weights.run,
    "base_weights_10_minutes": base_weights.run_long,
    "demo": demo.run,
    "gate": gate.run,
    "gate_simulation": gate_simulation.run,
    "photos": photos.run,
    "quality": quality.run,
    "racks": racks.run,
    "near_duplicates": near_duplicates.run,
    "sensors": sensors.run,
    "class_names": class_names.run,
    "labels": labels.run,
    "label_errors": label_errors.run,
    "unknown_equipment": unknown_equipment.run,
    "forgetting": forgetting.run,
    "inference": inference.run,
    "predictor_memory": predictor_memory.run,
    "serving": serving.run,
}


def main() -> int:
    """Run the sections that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sections", nargs="*", choices=[[], *SECTIONS], metavar=f"{{{','.join(SECTIONS)}}}")
    parser.add_argument("--out", type=Path, default=Path("bench-output"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in arguments.sections or SECTIONS:
        ratios = SECTIONS[name]()
        path = arguments.out / f"{name}.json"
        path.write_text(json.dumps({"ratios": ratios}, indent=2), encoding="utf-8")
        print(f"\n{name}: " + ", ".join(f"{key} {value:.2f}" for key, value in ratios.items()) + f" -> {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
