import itertools
import json
import socket
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from label_samples import coco_text, rectangle, task

from mlops_assets.labels.formats import parse_labels
from mlops_assets.labels.items import BoxError, LabelFormatError, ReadRules
from mlops_assets.labels.masks import brush_bounds, coco_mask_bounds
from mlops_assets.labels.shapes import ellipse_bounds, shape_of
from mlops_assets.labels.yolo import read_class_names

NO_NAMES = LabelFormatError("YOLO labels without class names", "put classes.txt beside them")


def parse(source, content, names=NO_NAMES, rules=None):
    return parse_labels(source, content if isinstance(content, bytes) else content.encode(), names, rules)


def only_box(parsed):
    assert [problem.reason for problem in parsed.problems] == []
    ((box,),) = [photo.boxes for photo in parsed.photos]
    return box


def bit_text(mask):
    """Label Studio's brush format of a mask, by the description in `brush_bounds`, in runs of up to 2 ** 16."""
    values = np.repeat(mask.astype(int).ravel() * 255, 4)
    bits = f"{values.size:032b}" + f"{7:05b}" + "".join(f"{size - 1:04b}" for size in (3, 4, 8, 16))
    at = 0
    for value, group in itertools.groupby(values):
        length = len(list(group))
        while length:
            now = min(length, 1 << 16)
            size = next(n for n, bits_ in enumerate((3, 4, 8, 16)) if now <= 1 << bits_)
            if now < 3:  # literally, value by value
                bits += f"0{size:02b}" + f"{now - 1:0{(3, 4, 8, 16)[size]}b}" + f"{value:08b}" * now
            else:
                bits += f"1{size:02b}" + f"{now - 1:0{(3, 4, 8, 16)[size]}b}" + f"{value:08b}"
            length -= now
            at += now
    bits += "0" * (-len(bits) % 8)
    return [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]


masks = st.builds(
    lambda seed, height, width, share: np.random.default_rng(seed).random((height, width)) < share,
    st.integers(0, 10_000),
    st.integers(1, 9),
    st.integers(1, 9),
    st.sampled_from([0.05, 0.3, 0.9]),
)


def bounds_of(mask):
    rows, columns = np.nonzero(mask)
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


@settings(deadline=None)
@given(masks)
def test_bounds_of_masks_are_those_of_their_pixels(mask):
    from pycocotools import mask as coco_masks

    height, width = mask.shape
    column_major = [(bool(value), len(list(run))) for value, run in itertools.groupby(mask.ravel(order="F"))]
    counts = [0] * bool(column_major[0][0]) + [length for _, length in column_major]
    text = coco_masks.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    forms = [
        lambda: coco_mask_bounds({"size": [height, width], "counts": counts}),
        lambda: coco_mask_bounds({"size": [height, width], "counts": text}),
        lambda: brush_bounds(bit_text(mask), width, height),
    ]
    for bounds in forms:
        if mask.any():
            assert bounds() == bounds_of(mask)
        else:
            with pytest.raises(BoxError, match="empty mask"):
                bounds()


@given(st.text(max_size=12), st.lists(st.integers(-3, 40), max_size=6), st.lists(st.integers(0, 255), max_size=40))
def test_a_damaged_mask_is_a_bad_box_and_nothing_else(text, counts, painted):
    for damaged in (
        lambda: coco_mask_bounds({"size": [4, 5], "counts": text}),
        lambda: coco_mask_bounds({"size": [4, 5], "counts": counts}),
        lambda: coco_mask_bounds({"size": counts, "counts": text}),
        lambda: brush_bounds(painted, 2, 2),
    ):
        with suppress(BoxError):
            left, top, right, bottom = damaged()
            assert 0 <= left < right <= 5
            assert 0 <= top < bottom <= 40


def test_a_mask_that_says_to_be_huge_costs_nothing():
    assert coco_mask_bounds({"size": [10**9, 10**9], "counts": [10**17, 5]}) == (10**8, 0, 10**8 + 1, 5)


@given(st.floats(0.05, 0.2), st.floats(0.05, 0.2), st.floats(-360, 360))
def test_an_ellipse_touches_its_bounds(radius_x, radius_y, degrees):
    angles, turn = np.linspace(0, 2 * np.pi, 2_000), np.radians(degrees)
    x, y = radius_x * np.cos(angles), radius_y * np.sin(angles)
    across, down = 0.5 + x * np.cos(turn) - y * np.sin(turn), 0.5 + x * np.sin(turn) + y * np.cos(turn)
    expected = across.min(), down.min(), across.max(), down.max()
    assert ellipse_bounds(0.5, 0.5, radius_x, radius_y, degrees) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("points", "shape"),
    [
        ([(0, 0), (2, 0), (2, 1), (0, 1)], "box"),
        ([(2, 1), (0, 1), (0, 0), (2, 0), (2, 1)], "box"),
        ([(1, 0), (3, 1), (2, 3), (0, 2)], "rotated_box"),
        ([(1, 0), (3, 1), (2, 3), (0, 1)], "polygon"),
        ([(1, 0), (3, 1), (2, 3)], "polygon"),
    ],
)
def test_polygons_that_are_rectangles_are_told(points, shape):
    assert shape_of(points) == shape


def cvat(shape):
    return f"<annotations><image id='0' name='E/a.jpg' width='1280' height='960'>{shape}</image></annotations>"


CUBOID = (
    '<cuboid label="a" xtl1="480" ytl1="360" xtr1="600" ytr1="360" xbl1="480" ybl1="600" xbr1="600" ybr1="600"'
    ' xtl2="700" ytl2="360" xtr2="800" ytr2="360" xbl2="700" ybl2="600" xbr2="800" ybr2="600"/>'
)
KEY_POINT = ("keypointlabels", {"x": 1, "y": 1, "keypointlabels": ["a"]})
QUARTER = (0.5, 0.5, 0.25, 0.25)  # 480 to 800 of 1280 across, 360 to 600 of 960 down


@pytest.mark.parametrize(
    ("shape", "drawn_as"),
    [
        ('<box label="a" xtl="480" ytl="360" xbr="800" ybr="600"/>', "box"),
        ('<box label="a" xtl="520" ytl="320" xbr="760" ybr="640" rotation="90"/>', "rotated_box"),
        ('<polygon label="a" points="480,360;800,480;640,600"/>', "polygon"),
        ('<polygon label="a" points="480,360;800,360;800,600;480,600"/>', "box"),
        ('<ellipse label="a" cx="640" cy="480" rx="160" ry="120"/>', "ellipse"),
        ('<ellipse label="a" cx="640" cy="480" rx="120" ry="160" rotation="90"/>', "ellipse"),
        ('<mask label="a" rle="0,1" left="480" top="360" width="320" height="240"/>', "mask"),
        (
            CUBOID,
            "cuboid",
        ),
    ],
)
def test_shapes_of_cvat_become_the_box_around_them(shape, drawn_as):
    name, *box, how = only_box(parse("a.xml", cvat(shape)))
    assert (name, how) == ("a", drawn_as)
    assert box == pytest.approx(QUARTER)


def brushed():
    mask = np.zeros((960, 1280), bool)
    mask[360:600, 480] = mask[360, 480:800] = mask[599, 799] = True
    return {"format": "rle", "rle": bit_text(mask), "brushlabels": ["a"]}


@pytest.mark.parametrize(
    ("region", "drawn_as"),
    [
        (rectangle("a", 37.5, 37.5, 25, 25), "box"),
        (rectangle("a", 62.5, 62.5, 18.75, 100 / 3, rotation=90), "rotated_box"),
        (("polygonlabels", {"points": [[37.5, 37.5], [62.5, 40], [50, 62.5]], "polygonlabels": ["a"]}), "polygon"),
        (("ellipselabels", {"x": 50, "y": 50, "radiusX": 12.5, "radiusY": 12.5, "ellipselabels": ["a"]}), "ellipse"),
        (("labels", {"x": 37.5, "y": 37.5, "width": 25, "height": 25, "labels": ["a"]}), "box"),
        (("brushlabels", brushed()), "mask"),
    ],
)
def test_shapes_of_label_studio_become_the_box_around_them(region, drawn_as):
    # turned about its corner at (800, 600), the rectangle of 240 x 320 reaches from there to the left and down
    expected = (0.5, 0.75, 0.25, 0.25) if drawn_as == "rotated_box" else QUARTER
    name, *box, how = only_box(parse("a.json", json.dumps([task("E/a.jpg", region)])))
    assert (name, how) == ("a", drawn_as)
    assert box == pytest.approx(expected, abs=1e-6)


def coco_with(**annotation):
    content = json.loads(coco_text(["E/a.jpg"], [(1, 0, 0, 0, 1, 1)]))
    del content["annotations"][0]["bbox"]
    content["annotations"][0].update(annotation)
    return json.dumps(content)


def rle(top, left, bottom, right):
    mask = np.zeros((960, 1280), bool)
    mask[top:bottom, left:right] = True
    runs = [len(list(run)) for _, run in itertools.groupby(mask.ravel(order="F"))]
    return {"size": [960, 1280], "counts": runs}


@pytest.mark.parametrize(
    ("annotation", "drawn_as"),
    [
        ({"bbox": [480, 360, 320, 240]}, "box"),
        ({"bbox": [480, 360, 320, 240], "segmentation": []}, "box"),
        ({"bbox": [480, 360, 320, 240], "segmentation": [[480, 360, 800, 360, 800, 600, 480, 600]]}, "box"),
        ({"bbox": [480, 360, 320, 240], "segmentation": [[480, 360, 800, 480, 640, 600]]}, "polygon"),
        ({"segmentation": [[480, 360, 500, 360, 500, 600], [700, 400, 800, 400, 700, 500]]}, "polygon"),
        ({"segmentation": rle(360, 480, 600, 800)}, "mask"),
        ({"bbox": [480, 360, 320, 240], "segmentation": {"counts": "???", "size": [1, 1]}}, "mask"),
        ({"bbox": ["480", "360.0", 320, 240], "iscrowd": "false"}, "box"),
        ({"bbox": [480, 360, 320, 240], "category_id": "0", "image_id": 1.0}, "box"),
    ],
)
def test_boxes_and_segmentations_of_coco(annotation, drawn_as):
    name, *box, how = only_box(parse("a.json", coco_with(**annotation)))
    assert (name, how) == ("device", drawn_as)
    assert box == pytest.approx(QUARTER)


@pytest.mark.parametrize(
    ("line", "drawn_as"),
    [
        ("0 0.5 0.5 0.25 0.25", "box"),
        ("0 0.375 0.375 0.625 0.4 0.5 0.625", "polygon"),
        ("0 0.5 0.375 0.625 0.5 0.5 0.625 0.375 0.5", "rotated_box"),
        ("0.0 5e-1 .5 0.25 2.5e-1", "box"),
    ],
)
def test_boxes_polygons_and_oriented_boxes_of_yolo(line, drawn_as):
    name, *box, how = only_box(parse("s/a.txt", line, {0: "a"}))
    assert (name, how) == ("a", drawn_as)
    assert box == pytest.approx(QUARTER)


@pytest.mark.parametrize(
    ("source", "content", "left"),
    [
        (
            "a.xml",
            cvat('<points label="a" points="1,1;2,2"/><polyline label="a" points="1,1;5,5"/>'),
            {"key points": 1, "line": 1},
        ),
        ("a.json", coco_with(bbox=[1, 1, 5, 5], iscrowd=1), {"crowd": 1}),
        ("a.json", coco_with(keypoints=[1, 1, 2], num_keypoints=1), {"key points": 1, "key points without a box": 1}),
        (
            "a.json",
            json.dumps([task("a.jpg", ("keypointlabels", {"x": 1, "y": 1, "keypointlabels": ["a"]}))]),
            {"key points": 1},
        ),
        ("a.json", json.dumps([task("a.jpg", ("textarea", {"text": ["broken"]}))]), {"textarea": 1}),
    ],
)
def test_what_is_no_box_is_counted_and_left_and_its_photo_is_not_taken_as_empty(source, content, left):
    parsed = parse(source, content)
    assert parsed.left == left
    assert parsed.photos == []
    assert "holds no boxes but" in parsed.problems[0].reason


def test_key_points_beside_boxes_are_left_and_the_boxes_stay():
    parsed = parse(
        "a.json", json.dumps([task("a.jpg", rectangle("a"), ("keypointlabels", {"x": 1, "keypointlabels": ["a"]}))])
    )
    assert (len(parsed.photos[0].boxes), parsed.left, parsed.problems) == (1, {"key points": 1}, [])


@pytest.mark.parametrize(
    ("images", "annotations", "boxes", "reason"),
    [
        ([(1, "a.jpg"), (1, "a.jpg")], [(1, 10)], {"a.jpg": 1}, None),
        ([(1, "a.jpg"), (2, "a.jpg")], [(1, 10), (2, 10), (2, 20)], {"a.jpg": 2}, None),
        ([(1, "a.jpg"), (1, "b.jpg")], [(1, 10)], {}, "2 images have the id 1"),
        ([("x1", "a.jpg"), (0, "b.jpg")], [("x1", 10), (0, 10)], {"a.jpg": 1, "b.jpg": 1}, None),
        ([(1, "a.jpg")], [(1, 10), (7, 10)], {"a.jpg": 1}, "1 annotations of an image that the file does not list"),
        ([(1, "szekrény ajtó 1.jpg")], [(1, 10)], {"szekrény ajtó 1.jpg": 1}, None),
        ([(1, "")], [(1, 10)], {}, "has no file_name"),
    ],
)
def test_images_and_ids_of_coco(images, annotations, boxes, reason):
    content = {
        "images": [{"id": key, "file_name": name, "width": 1280, "height": 960} for key, name in images],
        "annotations": [
            {"id": n, "image_id": a[0], "category_id": 0, "bbox": [a[1], 1, 5, 5]} for n, a in enumerate(annotations)
        ],
        "categories": [{"id": 0, "name": "device"}],
    }
    parsed = parse("a.json", json.dumps(content))
    assert {photo.reference: len(photo.boxes) for photo in parsed.photos} == boxes
    assert [p.reason for p in parsed.problems if reason is None or reason not in p.reason] == []
    assert bool(parsed.problems) == (reason is not None)


def test_a_category_of_two_names_refuses_the_file():
    content = json.loads(coco_text(["a.jpg"], [], categories=["fan"]))
    content["categories"].append({"id": 0, "name": "router"})
    assert "two names" in parse("a.json", json.dumps(content)).problems[0].reason


@pytest.mark.parametrize(
    ("bbox", "reason"),
    [
        ([10, 10, 0, 5], "no area"),
        ([10, 10, -5, 5], "swapped"),
        (["NaN", 1, 5, 5], "not finite"),
        ([1e400, 1, 5, 5], "not finite"),
        ([None, 1, 5, 5], "no number"),
        (["1_0", 1, 5, 5], "no number"),
        ([True, 1, 5, 5], "no number"),
        ([1400, 1, 5, 5], "outside"),
        ([1, 1, 5], "no bbox"),
    ],
)
def test_boxes_that_are_none_are_refused_with_their_reason(bbox, reason):
    parsed = parse("a.json", coco_with(bbox=bbox))
    assert reason in parsed.problems[0].reason
    assert parsed.photos == []


def test_the_tolerance_is_the_use_cases():
    overshoots = "0 0.5 0.5 1.08 0.5"  # by 4 % on either side
    assert "outside" in parse("s/a.txt", overshoots, {0: "a"}).problems[0].reason
    box = only_box(parse("s/a.txt", overshoots, {0: "a"}, ReadRules(outside_tolerance=0.05)))
    assert box[1:5] == (0.5, 0.5, 1.0, 0.5)


VIDEO = """<annotations><meta><task><original_size><width>1280</width><height>960</height></original_size></task></meta>
<track id="0" label="a"><box frame="10" outside="0" xtl="480" ytl="360" xbr="800" ybr="600"/>
<box frame="13" outside="1" xtl="480" ytl="360" xbr="800" ybr="600"/></track>
<track id="1" label="b"><box frame="10" outside="0" xtl="0" ytl="0" xbr="128" ybr="96"/></track></annotations>"""


def test_frames_of_a_video_are_photos_and_unseen_ones_are_not_taken_as_empty():
    parsed = parse("drop/CAB-1/annotations.xml", VIDEO)
    assert [(photo.reference, [box[0] for box in photo.boxes]) for photo in parsed.photos] == [
        ("CAB-1/frame_000010.*", ["a", "b"])
    ]
    assert parsed.photos[0].boxes[0][1:5] == pytest.approx(QUARTER)
    no_size = VIDEO.replace("1280", "")
    assert "image size" in parse("a.xml", no_size).problems[0].reason


def test_json_min_is_read_like_the_full_export():
    drawn = (rectangle("a"), rectangle("b", x=40, rotation=30))
    full = parse("a.json", json.dumps([task("E/a.jpg", *drawn)]))
    regions = [{**value, "original_width": 1280, "original_height": 960} for _, value in drawn]
    labelled = {"id": 1, "image": "/data/local-files/?d=E/a.jpg", "label": regions, "annotator": 3, "annotation_id": 7}
    records = [
        labelled | {"created_at": "2026-10-08T08:00:00Z"},
        {"id": 2, "image": "E/b.jpg", "annotator": 3, "annotation_id": 8},
        {"id": 3, "image": "E/c.jpg"},
    ]
    parsed = parse("min.json", json.dumps(records))
    assert parsed.photos[0].boxes == full.photos[0].boxes
    assert (parsed.photos[0].annotated_at, parsed.photos[0].annotator) == (full.photos[0].annotated_at, "3")
    assert (parsed.photos[1].reference, parsed.photos[1].boxes) == ("E/b.jpg", [])
    assert (len(parsed.photos), parsed.unlabelled, parsed.problems) == (2, 1, [])


def test_a_labelling_that_was_rejected_in_review_does_not_count():
    first, second = task("a.jpg", rectangle("old")), task("a.jpg", rectangle("new"), created_at="2026-10-08T09:00:00Z")
    second["annotations"][0]["reviews"] = [{"accepted": True}, {"accepted": False}]
    first["annotations"] += second["annotations"]
    parsed = parse("a.json", json.dumps([first]))
    assert [box[0] for photo in parsed.photos for box in photo.boxes] == ["old"]
    second["annotations"][0]["reviews"].append({"accepted": True})
    parsed = parse("a.json", json.dumps([first]))
    assert [box[0] for photo in parsed.photos for box in photo.boxes] == ["old", "new"]


def test_a_task_of_several_pictures_is_refused_rather_than_guessed():
    several = task("a.jpg", rectangle("a"))
    several["data"] = {"left": "E/a.jpg", "right": "E/b.jpg"}
    assert "names 2 images" in parse("a.json", json.dumps([several])).problems[0].reason


def test_yolo_key_points_are_refused_since_they_look_like_polygons():
    with pytest.raises(LabelFormatError, match="key points"):
        read_class_names("data.yaml", b"names: [a]\nkpt_shape: [17, 3]")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ('[{"image_id": 1, "bbox": [1, 1, 2, 2], "score": 0.5}]', "detection results"),
        ('{"shapes": [], "imagePath": "a.jpg"}', "LabelMe"),
        ('[{"image": "a.jpg", "annotations": []}]', "CreateML"),
    ],
)
def test_known_formats_that_are_not_read_are_named(content, what):
    assert what in parse("a.json", content).problems[0].reason


def test_names_that_no_table_can_hold_are_refused():
    with pytest.raises(LabelFormatError, match="class name is"):
        read_class_names("data.yaml", b'names: ["\\ud800"]')


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["id", "type", "value", "original_width", "image_rotation"]),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats()
            | st.sampled_from(["labels", "rectanglelabels", "1"]),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        ["x", "y", "width", "rle", "points", "labels", "rectanglelabels", "radiusX", "radiusY", "start"]
                    ),
                    inner,
                    max_size=5,
                )
            ),
            max_leaves=10,
        ),
    )
)
def test_regions_of_label_studio_may_hold_anything(region):
    full = [{"data": {"image": "a.jpg"}, "annotations": [{"result": [region, region]}]}]
    least = [{"image": "a.jpg", "annotator": 1, "label": [region.get("value"), region]}]
    for content in (full, least):
        parsed = parse("a.json", json.dumps(content))
        assert parsed.photos or parsed.problems


def test_xml_that_points_elsewhere_reaches_nobody():
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/a"
        voc = "<annotation><filename>a.jpg</filename>{}</annotation>"
        declared = f'<!DOCTYPE annotation SYSTEM "{address}">'
        entity = f'<!DOCTYPE annotation [<!ENTITY e SYSTEM "{address}">]>'
        include = f'<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="{address}"/>'
        assert parse("a.xml", declared + voc.format("")).photos[0].reference == "a.jpg"
        assert parse("a.xml", voc.format(include)).photos[0].reference == "a.jpg"
        assert "not safe" in parse("a.xml", entity + voc.format("&e;")).problems[0].reason
        with pytest.raises(TimeoutError):
            server.accept()
