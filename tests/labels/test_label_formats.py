import json
from xml.sax.saxutils import quoteattr

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.labels.formats import parse_labels
from mlops_assets.labels.items import BoxError, LabelFormatError, ParsedLabels
from mlops_assets.labels.label_studio import image_path
from mlops_assets.labels.shapes import relative_box
from mlops_assets.labels.yolo import read_class_names

WIDTH, HEIGHT = 1280, 960
NO_NAMES = LabelFormatError("YOLO labels without class names", "put classes.txt beside them")

names = st.text(st.characters(categories=("L", "N")), min_size=1, max_size=12)
sides = st.floats(0.01, 0.45)


@st.composite
def boxes(draw):
    x, y = draw(st.floats(0.25, 0.75)), draw(st.floats(0.25, 0.75))
    return (draw(names), x, y, draw(sides), draw(sides))


def corners(box):
    _, x, y, w, h = box
    return x - w / 2, y - h / 2, x + w / 2, y + h / 2


def coco(photos):
    categories = {name: number for number, name in enumerate(sorted({b[0] for boxes in photos for b in boxes}))}
    annotations = [
        {
            "id": f"{image}-{number}",
            "image_id": image,
            "category_id": categories[box[0]],
            "bbox": [corners(box)[0] * WIDTH, corners(box)[1] * HEIGHT, box[3] * WIDTH, box[4] * HEIGHT],
        }
        for image, boxes in enumerate(photos)
        for number, box in enumerate(boxes)
    ]
    images = [{"id": i, "file_name": f"E/{i}.jpg", "width": WIDTH, "height": HEIGHT} for i in range(len(photos))]
    listed = [{"id": number, "name": name} for name, number in categories.items()]
    return json.dumps({"images": images, "annotations": annotations, "categories": listed}).encode()


def label_studio(photos):
    tasks = []
    for number, boxes in enumerate(photos):
        result = [
            {
                "id": f"r{position}",
                "type": "rectanglelabels",
                "original_width": WIDTH,
                "original_height": HEIGHT,
                "value": {
                    "x": corners(box)[0] * 100,
                    "y": corners(box)[1] * 100,
                    "width": box[3] * 100,
                    "height": box[4] * 100,
                    "rectanglelabels": [box[0]],
                },
            }
            for position, box in enumerate(boxes)
        ]
        annotation = {"created_at": "2026-10-08T08:00:00Z", "completed_by": {"email": "a@b.c"}, "result": result}
        tasks.append(
            {"id": number, "data": {"image": f"/data/local-files/?d=E/{number}.jpg"}, "annotations": [annotation]}
        )
    return json.dumps(tasks).encode()


def voc(boxes):
    objects = "".join(
        "<object><name>{}</name><bndbox><xmin>{!r}</xmin><ymin>{!r}</ymin><xmax>{!r}</xmax><ymax>{!r}</ymax></bndbox></object>".format(
            box[0], *(value * side for value, side in zip(corners(box), (WIDTH, HEIGHT) * 2, strict=True))
        )
        for box in boxes
    )
    size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height></size>"
    return f"<annotation><folder>E</folder><filename>0.jpg</filename>{size}{objects}</annotation>".encode()


def cvat(photos):
    images = []
    for number, boxes in enumerate(photos):
        shapes = "".join(
            "<box label={} xtl='{!r}' ytl='{!r}' xbr='{!r}' ybr='{!r}'/>".format(
                quoteattr(box[0]), *(v * side for v, side in zip(corners(box), (WIDTH, HEIGHT) * 2, strict=True))
            )
            for box in boxes
        )
        images.append(f"<image name='E/{number}.jpg' width='{WIDTH}' height='{HEIGHT}'>{shapes}</image>")
    dumped = "<meta><dumped>2026-10-08 08:00:00+00:00</dumped></meta>"
    return f"<annotations>{dumped}{''.join(images)}</annotations>".encode()


def assert_same(parsed: ParsedLabels, photos):
    assert parsed.problems == []
    assert len(parsed.photos) == len(photos)
    for found, expected in zip(parsed.photos, photos, strict=True):
        assert [box[0] for box in found.boxes] == [box[0] for box in expected]
        for got, wanted in zip(found.boxes, expected, strict=True):
            assert got[1:5] == pytest.approx(wanted[1:], abs=1e-9)


photo_sets = st.lists(st.lists(boxes(), max_size=4), min_size=1, max_size=3)


@settings(deadline=None)
@given(photo_sets)
def test_coco_boxes_come_back(photos):
    parsed = parse_labels("x.json", coco(photos), NO_NAMES)
    assert_same(parsed, photos)
    assert parsed.photos[0].reference == "E/0.jpg"


@settings(deadline=None)
@given(photo_sets)
def test_label_studio_boxes_come_back(photos):
    parsed = parse_labels("x.json", label_studio(photos), NO_NAMES)
    assert_same(parsed, photos)
    assert (parsed.photos[0].reference, parsed.photos[0].annotator) == ("E/0.jpg", "a@b.c")


@settings(deadline=None)
@given(st.lists(boxes(), max_size=4))
def test_voc_boxes_come_back(labelled):
    assert_same(parse_labels("x.xml", voc(labelled), NO_NAMES), [labelled])


@settings(deadline=None)
@given(photo_sets)
def test_cvat_boxes_come_back(photos):
    assert_same(parse_labels("x.xml", cvat(photos), NO_NAMES), photos)


@settings(deadline=None)
@given(st.lists(boxes(), max_size=4))
def test_yolo_boxes_come_back(labelled):
    classes = dict(enumerate(sorted({box[0] for box in labelled})))
    index = {name: number for number, name in classes.items()}
    text = "".join(f"{index[name]} {x!r} {y!r} {w!r} {h!r}\n" for name, x, y, w, h in labelled)
    parsed = parse_labels("set/labels/E/0.txt", text.encode(), classes)
    assert_same(parsed, [labelled])
    assert parsed.photos[0].reference == "labels/E/0.*"


@settings(deadline=None)
@given(
    st.one_of(st.binary(max_size=60), st.text(max_size=60).map(str.encode)),
    st.sampled_from(["a.txt", "a.json", "a.xml", "a"]),
)
def test_any_bytes_give_a_problem_or_labels_and_never_an_exception(content, source):
    parsed = parse_labels(source, content, {0: "x"})
    assert isinstance(parsed, ParsedLabels)
    assert parsed.photos or parsed.problems or not content.strip() or source == "a.txt"


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                [
                    "id",
                    "image_id",
                    "category_id",
                    "bbox",
                    "file_name",
                    "width",
                    "height",
                    "name",
                    "value",
                    "type",
                    "result",
                ]
            ),
            inner,
            max_size=5,
        ),
    ),
    max_leaves=20,
)


@settings(deadline=None)
@given(json_values, json_values, json_values)
def test_json_of_the_right_outline_with_anything_inside_is_never_an_exception(first, second, third):
    images = {
        "images": [first, {"id": 1, "file_name": second, "width": third, "height": 5}],
        "annotations": [third],
        "categories": [first],
    }
    tasks = [{"id": first, "data": {"image": second}, "annotations": [{"result": [third], "created_at": first}]}]
    region = [{"data": {"image": "a.jpg"}, "annotations": [{"result": [{"type": "rectanglelabels", "value": first}]}]}]
    for content in (images, tasks, region):
        parsed = parse_labels("x.json", json.dumps(content).encode(), NO_NAMES)
        assert parsed.photos or parsed.problems or parsed.unlabelled


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[" * 100_000, "nested too deeply"),
        (b'[{"id": 1, "data": {"image": "a.jpg"}, "annot', "broken JSON"),
        (b'{"images": [{"id": 1, "file_name": "\\ud800"}], "annotations": []}', "no valid Unicode"),
        (b"<annotation><object>", "broken XML"),
        (b'<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]><annotation>&c;</annotation>', "not safe"),
        (b'<?xml version="1.0" encoding="no-such-code"?><annotation/>', "broken XML"),
        (b'{"shapes": []}', "neither COCO nor Label Studio"),
        (b"\xff\xd8\xff\xe0 picture", "not Label Studio JSON"),
        (b"", "empty file"),
    ],
)
def test_an_unusable_file_is_one_problem_with_a_remedy(content, reason):
    (problem,) = parse_labels("drop/file", content, NO_NAMES).problems
    assert reason in problem.reason
    assert problem.remedy
    assert problem.source == "drop/file"


@pytest.mark.parametrize(
    ("corners", "reason"),
    [
        ((0.1, 0.1, float("nan"), 0.2), "not finite"),
        ((0.1, 0.1, 0.1, 0.2), "no area"),
        ((0.3, 0.1, 0.1, 0.2), "swapped"),
        ((-0.03, 0.1, 0.1, 0.2), "outside"),
        ((1.001, 0.1, 1.01, 0.2), "no area"),
    ],
)
def test_a_bad_box_is_refused(corners, reason):
    with pytest.raises(BoxError, match=reason):
        relative_box("x", corners)


def test_a_box_slightly_outside_is_clipped():
    assert relative_box("x", (-0.01, 0.5, 0.5, 1.015))[1:5] == pytest.approx((0.25, 0.75, 0.5, 0.5))


def test_a_bad_box_is_quarantined_alone_and_a_photo_of_only_bad_boxes_is_not_taken_as_empty():
    content = b"0 0.5 0.5 0.2 0.2\n0 0.5 0.5 0 0.2\n7 0.5 0.5 0.1 0.1\n"
    parsed = parse_labels("s/a.txt", content, {0: "x"})
    assert len(parsed.photos[0].boxes) == 1
    assert [problem.item for problem in parsed.problems] == ["line 2", "line 3"]
    parsed = parse_labels("s/a.txt", b"0 0.5 0.5 0 0.2\n", {0: "x"})
    assert parsed.photos == []
    assert "none of the 1 boxes" in parsed.problems[-1].reason


def test_the_latest_label_studio_annotation_that_was_not_cancelled_counts():
    def annotation(created_at, name, **more):
        value = {"x": 10, "y": 10, "width": 10, "height": 10, "rectanglelabels": [name]}
        return {"created_at": created_at, "result": [{"type": "rectanglelabels", "value": value}], **more}

    task = {
        "id": 5,
        "data": {"image": "E/a.jpg"},
        "annotations": [
            annotation("2026-10-08T10:00:00Z", "second"),
            annotation("2026-10-08T09:00:00+00:00", "first"),
            annotation("2026-10-08T11:00:00Z", "cancelled", was_cancelled=True),
        ],
    }
    open_task = {"id": 6, "data": {"image": "E/b.jpg"}, "annotations": []}
    parsed = parse_labels("x.json", json.dumps([task, open_task]).encode(), NO_NAMES)
    assert [photo.boxes[0][0] for photo in parsed.photos] == ["first", "second"]  # the later one counts
    assert parsed.unlabelled == 1


def test_a_turned_rectangle_becomes_its_upright_bounds():
    value = {"x": 50, "y": 50, "width": 10, "height": 20, "rotation": 90, "rectanglelabels": ["a"]}
    region = {"type": "rectanglelabels", "original_width": 200, "original_height": 100, "value": value}
    task = {"data": {"image": "a.jpg"}, "annotations": [{"result": [region]}]}
    (photo,) = parse_labels("x.json", json.dumps([task]).encode(), NO_NAMES).photos
    # 20 x 20 pixels, turned about (100, 50): x from 80 to 100, y from 50 to 70.
    assert photo.boxes[0][1:5] == pytest.approx((0.45, 0.6, 0.1, 0.2))


def test_yolo_polygons_give_bounds_and_model_output_is_refused():
    parsed = parse_labels("s/a.txt", b"0 0.1 0.1 0.5 0.2 0.3 0.6\n0 0.5 0.5 0.1 0.1 0.93\n", {0: "x"})
    assert parsed.photos[0].boxes[0][1:5] == pytest.approx((0.3, 0.35, 0.4, 0.5))
    assert "model output" in parsed.problems[0].reason


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("/data/local-files/?d=CAB-1000/IMG%200121.jpg", "CAB-1000/IMG 0121.jpg"),
        ("s3://bucket/landing/2026-10-05/CAB-1/a.jpg", "/landing/2026-10-05/CAB-1/a.jpg"),
        ("https://host/x/CAB-1/a%20b.jpg?token=1", "/x/CAB-1/a b.jpg"),
        ("CAB-1/100%25.jpg", "CAB-1/100%25.jpg"),
    ],
)
def test_image_addresses_lead_to_paths(url, path):
    assert image_path(url) == path


def test_class_names_are_read_from_text_and_yaml():
    assert read_class_names("classes.txt", "\ufeffbattery\nfan unit\n".encode()) == {0: "battery", 1: "fan unit"}
    assert read_class_names("data.yaml", b"names: [a, b]") == read_class_names("d.yml", b"names: {0: a, 1: b}")
    assert read_class_names("other.yaml", b"nc: 3") is None
    with pytest.raises(LabelFormatError, match="names"):
        read_class_names("data.yaml", b"names: {one: a}")
    with pytest.raises(LabelFormatError, match="YAML"):
        read_class_names("data.yaml", b"names: [")
