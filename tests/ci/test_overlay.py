import pytest

from scripts.ci.overlay import with_images

DIGEST = "sha256:" + "a" * 64
OVERLAY = {
    "resources": ["../../base"],
    "images": [
        {"name": "enclosure-catalog-cpu", "newName": "registry.example.com/enclosure-catalog-cpu", "newTag": "0.1.0"},
        {"name": "nginx-unprivileged", "newName": "docker.io/nginxinc/nginx-unprivileged", "newTag": "1.29-alpine"},
    ],
}


def test_an_image_is_set_by_digest_and_the_rest_stays() -> None:
    changed = with_images(OVERLAY, {"enclosure-catalog-cpu": f"ghcr.io/owner/enclosure-catalog-cpu@{DIGEST}"})
    assert changed["images"] == [
        {"name": "enclosure-catalog-cpu", "newName": "ghcr.io/owner/enclosure-catalog-cpu", "digest": DIGEST},
        OVERLAY["images"][1],
    ]
    assert changed["resources"] == OVERLAY["resources"]


@pytest.mark.parametrize("address", ["ghcr.io/owner/enclosure-catalog-cpu:main", "ghcr.io/owner/x@main", ""])
def test_an_address_without_digest_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="no address by digest"):
        with_images(OVERLAY, {"enclosure-catalog-cpu": address})


def test_an_image_that_the_overlay_does_not_name_is_refused() -> None:
    with pytest.raises(ValueError, match="names no image other"):
        with_images(OVERLAY, {"other": f"ghcr.io/owner/other@{DIGEST}"})
