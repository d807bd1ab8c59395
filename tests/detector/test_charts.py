import cv2
import numpy as np
from tiny_detector import Trained

from mlops_assets.detector.charts import annotate, training_curves


def test_training_curves_are_a_png_of_the_epochs(trained: Trained) -> None:
    png = training_curves(trained.result.curves)
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (400, 1100, 3)
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 100


def test_boxes_are_drawn_where_they_are_and_the_photo_stays_as_it_was() -> None:
    photo = np.full((400, 600, 3), 200, np.uint8)
    drawn = annotate(photo, [("Túlfeszültség-levezető", 0.91, 0.5, 0.5, 0.4, 0.5)])
    assert (photo == 200).all()
    changed = (drawn != 200).any(axis=2)
    assert changed[300, 200:400].all(), "lower edge"
    assert changed[100:300, 420].all(), "right edge"
    assert not changed[150:250, 200:400].any(), "inside"
    assert not changed[320:].any()


def test_a_label_at_the_edge_stays_inside_the_photo_and_labels_have_their_own_colours() -> None:
    photo = np.full((300, 300, 3), 128, np.uint8)
    left = annotate(photo, [("first", None, 0.98, 0.02, 0.04, 0.04), ("second", 0.4, 0.3, 0.6, 0.3, 0.3)])
    assert tuple(left[180, 45]) != tuple(photo[180, 45])
    assert (left[:20, -60:] != 128).any()
    one_colour = annotate(photo, [("first", None, 0.3, 0.6, 0.3, 0.3)])[180, 45]
    assert tuple(one_colour) != tuple(left[180, 45])
