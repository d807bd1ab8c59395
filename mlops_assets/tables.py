"""Every table's name and columns in one place, for the IO manager; each schema stands beside its stage."""

from mlops_assets.catalog import schema as catalog
from mlops_assets.dataset import schema as dataset
from mlops_assets.detector import schema as detector
from mlops_assets.labelling import schema as labelling
from mlops_assets.labels import schema as labels
from mlops_assets.monitoring import schema as monitoring
from mlops_assets.photos import schema as photos

SCHEMAS = {
    "raw_photos": photos.RAW_PHOTOS,
    "clean_photos": photos.CLEAN_PHOTOS,
    "annotations": labels.ANNOTATIONS,
    "equipment_classes": labels.EQUIPMENT_CLASSES,
    "split_assignments": dataset.SPLIT_ASSIGNMENTS,
    "training_dataset": dataset.TRAINING_DATASET,
    "detector_weights": detector.DETECTOR_WEIGHTS,
    "detector_evaluation": detector.DETECTOR_EVALUATION,
    "detector_curves": detector.DETECTOR_CURVES,
    "detector_confusion": detector.DETECTOR_CONFUSION,
    "detector_intervals": detector.DETECTOR_INTERVALS,
    "detector_reliability": detector.DETECTOR_RELIABILITY,
    "detector_slices": detector.DETECTOR_SLICES,
    "champion_detector": detector.CHAMPION_DETECTOR,
    "champion_history": detector.CHAMPION_HISTORY,
    "detections": catalog.DETECTIONS,
    "visit_inventory": catalog.VISIT_INVENTORY,
    "equipment_catalog": catalog.EQUIPMENT_CATALOG,
    "equipment_changes": catalog.EQUIPMENT_CHANGES,
    "review_queue": monitoring.REVIEW_QUEUE,
    "label_studio_tasks": labelling.LABEL_STUDIO_TASKS,
}
