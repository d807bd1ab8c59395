"""The live server over HTTP: answers, refusals, limits, and the champion changed under it."""

import base64
import json
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from live_server import MAX_MEGABYTES, MAX_REQUESTS, Server, until
from tiny_model import contents, jpeg, register, registry, tiny_export

from mlops_assets.detector import files
from resources.mlflow_client import open_client

WHITE_ROUTER = 0.5862  # 0.5 and a tenth of the input's brightness, three quarters white and the rest the margin's grey
ROUTER = {
    "class_id": 0,
    "class_name": "router",
    "confidence": WHITE_ROUTER,
    "threshold": 0.4,
    "box_x": 0.375,
    "box_y": 0.333333,
    "box_w": 0.25,
    "box_h": 0.333333,
}

quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def form(photos: list[bytes], boundary: str = "b0undary") -> tuple[bytes, str]:
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="photo"; filename="{i}.jpg"\r\n\r\n'.encode() + photo
        for i, photo in enumerate(photos)
    ]
    return b"\r\n".join([*parts, f"--{boundary}--\r\n".encode()]), f"multipart/form-data; boundary={boundary}"


def records(*photos: bytes, **params: object) -> bytes:
    content = {"dataframe_records": [{"photo": base64.b64encode(photo).decode()} for photo in photos]}
    return json.dumps(content | ({"params": params} if params else {})).encode()


def bomb(width: int, height: int) -> bytes:
    """The header of a PNG of that size, and no pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + chunk + b"\x00\x00\x00\x00IDAT\x35\xaf\x06\x1e"


def test_before_the_first_version_is_warm_it_lives_but_is_not_ready(server: Server) -> None:
    ready = server.before["/ready"]
    assert ready.status == 503
    assert ready.json()["ready"] is False
    for path in ("/detect", "/invocations"):
        assert server.before[path].status == 503
        assert server.before[path].headers["retry-after"] == "1"
    assert server.ask("GET", "/health").status == 200
    assert server.ask("GET", "/ready").status == 200


def test_a_photo_gives_boxes_with_names_thresholds_version_and_timing(server: Server) -> None:
    answer = server.detect(jpeg())
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    content = answer.json()
    assert (content["model"], content["model_version"]) == ("enclosures-detector", server.versions["left"].version)
    (photo,) = content["photos"]
    assert photo["boxes"] == [ROUTER]  # the battery is below its threshold
    assert (photo["width"], photo["height"]) == (120, 90)
    assert photo["milliseconds"] > 0
    assert content["milliseconds"]["total"] >= photo["milliseconds"]


def test_a_request_may_ask_for_another_confidence(server: Server) -> None:
    (photo,) = server.detect(jpeg(), "?confidence=0.1").json()["photos"]
    assert [(box["class_name"], box["threshold"]) for box in photo["boxes"]] == [("router", 0.1), ("battery", 0.1)]


@pytest.mark.parametrize("fmt", ["PNG", "WEBP", "TIFF", "AVIF"])
def test_other_formats_are_taken_as_the_intake_takes_them(server: Server, fmt: str) -> None:
    (photo,) = server.detect(jpeg(fmt=fmt), content_type=f"image/{fmt.lower()}").json()["photos"]
    assert [box["class_name"] for box in photo["boxes"]] == ["router"]


def test_a_form_holds_several_photos_in_their_order(server: Server) -> None:
    body, content_type = form([jpeg(), jpeg(value=0), jpeg(40, 90)])
    photos = server.ask("POST", "/detect", body, content_type).json()["photos"]
    assert [photo["width"] for photo in photos] == [120, 120, 40]
    assert photos[0]["boxes"] == [ROUTER]
    assert photos[1]["boxes"][0]["confidence"] < WHITE_ROUTER


def test_mlflows_scoring_server_answers_its_own_format(server: Server) -> None:
    answer = server.ask("POST", "/invocations", records(jpeg(), jpeg()), "application/json")
    predictions = answer.json()["predictions"]
    assert [each["boxes"] for each in predictions] == [[ROUTER], [ROUTER]]
    assert {each["model_version"] for each in predictions} == {server.versions["left"].version}
    split = {"dataframe_split": {"columns": ["photo"], "data": [[base64.b64encode(jpeg()).decode()]]}}
    answer = server.ask("POST", "/invocations", json.dumps(split).encode(), "application/json")
    assert answer.json()["predictions"][0]["boxes"] == [ROUTER]
    answer = server.ask("POST", "/invocations", records(jpeg(), confidence=0.1), "application/json")
    assert len(answer.json()["predictions"][0]["boxes"]) == 2
    assert server.ask("GET", "/version").status == 200


PHOTO = jpeg(640, 480)
MALFORMED = {
    "empty": ("/detect", b"", "image/jpeg", 400, "empty"),
    "no picture": ("/detect", b"hello", "image/jpeg", 400, "no picture"),
    "a document": ("/detect", b"%PDF-1.4 ...", "image/jpeg", 400, "PDF"),
    "cut short": ("/detect", PHOTO[: len(PHOTO) // 2], "image/jpeg", 400, "cut short"),
    "a PNG cut short": ("/detect", jpeg(200, 200, fmt="PNG")[:150], "image/png", 400, "truncated or broken"),
    "a bomb": ("/detect", bomb(60_000, 60_000), "image/png", 413, "60000 x 60000 pixels"),
    "no type": ("/detect", PHOTO, None, 415, "send a photo as image/jpeg"),
    "a wrong type": ("/detect", PHOTO, "text/html", 415, "text/html"),
    "a wrong confidence": ("/detect?confidence=2", PHOTO, "image/jpeg", 400, "between 0 and 1"),
    "a form without boundary": ("/detect", b"x", "multipart/form-data", 400, "boundary"),
    "a form without photos": ("/detect", *form([]), 400, "no photo"),
    "a form that ends early": ("/detect", form([PHOTO])[0][:200], form([])[1], 400, ""),
    "a form with a broken photo": ("/detect", *form([PHOTO, b"?"]), 400, "Photo 1: "),
    "too many photos": ("/detect", *form([PHOTO] * 4), 413, "more photos than the 3"),
    "no JSON": ("/invocations", b"{", "application/json", 400, "no JSON"),
    "no text": ("/invocations", b"\xff\xfe", "application/json", 400, "no JSON"),
    "deep JSON": ("/invocations", b"[" * 100_000, "application/json", 400, "no JSON"),
    "another shape": ("/invocations", b'{"inputs": ["eA=="]}', "application/json", 400, "another shape"),
    "a list": ("/invocations", b"[]", "application/json", 400, "another shape"),
    "no photos": ("/invocations", records(), "application/json", 400, "no photo"),
    "no base64": (
        "/invocations",
        b'{"dataframe_records": [{"photo": "%%%"}]}',
        "application/json",
        400,
        "Photo 0: not base64",
    ),
    "a number": ("/invocations", b'{"dataframe_records": [{"photo": 7}]}', "application/json", 400, "int instead"),
    "base64 of no picture": ("/invocations", records(b"hello"), "application/json", 400, "no picture"),
    "a wrong parameter": ("/invocations", records(PHOTO, confidence="x"), "application/json", 400, "confidence"),
    "a parameter out of range": ("/invocations", records(PHOTO, confidence=2.0), "application/json", 400, "0 and 1"),
    "parameters of no shape": (
        "/invocations",
        records(PHOTO)[:-1] + b', "params": [1]}',
        "application/json",
        400,
        "",
    ),
    "CSV": ("/invocations", b"photo\nx\n", "text/csv", 415, "application/json"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_what_is_malformed_is_refused_with_the_reason(server: Server, case: str) -> None:
    path, body, content_type, status, reason = MALFORMED[case]
    answer = server.ask("POST", path, body, content_type)
    assert (answer.status, answer.headers["content-type"]) == (status, "application/json"), answer.body[:500]
    content = answer.json()
    assert content["error_code"]
    assert reason in content["message"]
    assert "Traceback" not in content["message"]
    assert len(answer.body) < 2000  # the photo is not sent back


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/detect", 405), ("POST", "/ready", 405), ("GET", "/docs", 404)]
)
def test_other_methods_and_places_are_named(server: Server, method: str, path: str, status: int) -> None:
    answer = server.ask(method, path)
    assert answer.status == status
    assert path in answer.json()["message"]


@pytest.mark.parametrize("path", ["/ping", "/health", "/version", "/ready", "/metrics"])
def test_what_is_asked_by_get_may_be_asked_by_head(server: Server, path: str) -> None:
    answer = server.ask("HEAD", path)
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-type"] == server.ask("GET", path).headers["content-type"]


@quick
@given(
    st.binary(max_size=400),
    st.sampled_from(["image/jpeg", "multipart/form-data; boundary=x", "application/octet-stream"]),
)
def test_no_bytes_bring_the_server_to_fail(server: Server, body: bytes, content_type: str) -> None:
    assert 400 <= server.ask("POST", "/detect", body, content_type).status < 500


@quick
@given(st.data())
def test_no_damage_to_a_photo_brings_the_server_to_fail(server: Server, data: st.DataObject) -> None:
    photo = bytearray(PHOTO)
    for _ in range(data.draw(st.integers(1, 4))):
        photo[data.draw(st.integers(0, len(photo) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(photo)))
    answer = server.detect(bytes(photo[:cut]))
    assert answer.status in (200, 400, 413)
    if PHOTO.startswith(photo[:cut]) and cut < len(PHOTO):
        assert answer.status == 400  # nothing but its end is missing


keys = st.sampled_from(["dataframe_records", "dataframe_split", "columns", "data", "photo", "params", "inputs"])
json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | keys, inner, max_size=3),
    max_leaves=8,
)


@quick
@given(st.dictionaries(keys, json_values, max_size=3) | json_values)
def test_no_json_brings_mlflows_server_to_fail(server: Server, content: object) -> None:
    answer = server.ask("POST", "/invocations", json.dumps(content).encode(), "application/json")
    assert 400 <= answer.status < 500, answer.body[:500]


@quick
@given(json_values)
def test_no_parameters_bring_mlflows_server_to_fail(server: Server, params: object) -> None:
    body = records(PHOTO)[:-1] + b', "params": ' + json.dumps(params).encode() + b"}"
    answer = server.ask("POST", "/invocations", body, "application/json")
    assert answer.status in (200, 400), answer.body[:500]


def test_a_body_over_the_limit_is_refused_before_and_while_it_comes(server: Server) -> None:
    large = b"\xff" * (MAX_MEGABYTES * 1_000_000 + 1)
    answer = server.detect(large)
    assert (answer.status, "at most" in answer.json()["message"]) == (413, True)
    with connected(server) as wire:  # without a length, in chunks
        wire.sendall(
            b"POST /detect HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        wire.sendall(b"%x\r\n" % len(large) + large + b"\r\n0\r\n\r\n")
        assert wire.recv(100).startswith(b"HTTP/1.1 413")


def connected(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=20)


def test_more_requests_than_it_holds_are_told_to_come_again(server: Server) -> None:
    head = b"POST /detect HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: 100\r\n\r\n1"
    waiting = [connected(server) for _ in range(MAX_REQUESTS)]
    try:
        for wire in waiting:
            wire.sendall(head)
        until(lambda: f"detector_requests_in_flight {MAX_REQUESTS}" in server.ask("GET", "/metrics").body.decode())
        answer = server.detect(PHOTO)
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert "limit" in answer.json()["message"]
        assert server.ask("GET", "/ready").status == 200
    finally:
        for wire in waiting:
            wire.close()
    until(lambda: server.detect(PHOTO).status == 200)


class Load:
    """Valid requests and malformed ones from a few connections, until it is left."""

    def __init__(self, server: Server, connections: int = 4) -> None:
        self._server = server
        self._end = threading.Event()
        self.answers: list[tuple[bool, int, str]] = []
        self._threads = [threading.Thread(target=self._ask, args=(n,)) for n in range(connections)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, number: int) -> None:
        turn = number
        while not self._end.is_set():
            turn += 1
            valid = turn % 10 != 0
            answer = self._server.detect(PHOTO if valid else PHOTO[:-500])
            version = answer.json().get("model_version", "") if valid else ""
            self.answers.append((valid, answer.status, version))


def test_the_champion_changes_under_load_without_a_failed_request(server: Server) -> None:
    left, right = (server.versions[name].version for name in ("left", "right"))
    with Load(server) as load:
        for name in ("right", "left", "right"):
            time.sleep(0.3)
            server.serve(name)
        time.sleep(0.3)
    assert {status for valid, status, _ in load.answers if valid} == {200}
    assert {status for valid, status, _ in load.answers if not valid} == {400}
    assert {version for valid, _, version in load.answers if valid} == {left, right}
    moved = server.detect(jpeg()).json()
    assert moved["model_version"] == right
    assert moved["photos"][0]["boxes"][0]["box_x"] > ROUTER["box_x"]
    server.serve("left")  # rollback
    assert server.detect(jpeg()).json()["photos"][0]["boxes"] == [ROUTER]


def after(server: Server, change: Callable[[], None], polls: int = 2) -> dict:
    """The state after a change and some polls."""
    change()
    begun = server.state()["polls"]
    until(lambda: server.state()["polls"] >= begun + polls)
    return server.state()


def test_a_version_that_cannot_be_opened_leaves_the_old_one_and_says_so(server: Server) -> None:
    server.serve("left")
    champion = registry(server.uri).set_champion
    state = after(server, lambda: champion(server.versions["broken"].version))
    assert (state["ready"], state["version"]) == (True, server.versions["left"].version)
    assert "class list says c0000, c0004" in state["failure"]
    assert "detector_follows 0" in server.ask("GET", "/metrics").body.decode()
    assert server.detect(PHOTO).status == 200
    server.serve("left")
    assert "detector_follows 1" in server.ask("GET", "/metrics").body.decode()


def test_changed_bytes_are_not_loaded(server: Server, tmp_path: Path) -> None:
    version = register(server.uri, contents(tmp_path, tiny_export(tmp_path / "m.onnx", router_at=8)))
    source = open_client(server.uri).get_model_version("enclosures-detector", version.version).source
    stored = Path(urlsplit(source).path) / files.ONNX
    stored.write_bytes(tiny_export(tmp_path / "other.onnx", router_at=9).read_bytes())
    state = after(server, lambda: registry(server.uri).set_champion(version.version))
    assert state["version"] == server.versions["left"].version
    assert "is damaged" in state["failure"]
    server.serve("left")


def test_thresholds_that_were_set_later_are_followed(server: Server) -> None:
    server.serve("left")
    number = server.versions["left"].version
    registry(server.uri).set_tags(number, {"thresholds": {"0": 0.9, "3": 0.5}})
    names = lambda: [box["class_name"] for box in server.detect(jpeg()).json()["photos"][0]["boxes"]]  # noqa: E731
    until(lambda: names() == ["battery"])
    registry(server.uri).set_tags(number, {"thresholds": {"0": 0.4, "3": 0.6}})
    until(lambda: names() == ["router"])


def test_metrics_count_what_was_asked(server: Server) -> None:
    def value(name: str) -> float:
        lines = server.ask("GET", "/metrics").body.decode().splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(name)), 0.0)

    good, bad = (f'detector_requests_total{{path="/detect",status="{status}"}}' for status in (200, 400))
    before = (value(good), value(bad), value("detector_photos_total"))
    body, content_type = form([PHOTO, PHOTO])
    server.ask("POST", "/detect", body, content_type)
    server.detect(b"nothing")
    assert (value(good), value(bad), value("detector_photos_total")) == (before[0] + 1, before[1] + 1, before[2] + 2)
    assert value("detector_request_seconds_count") >= 1
