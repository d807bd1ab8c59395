from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_support import Api, settings_of

from rehearsal.cluster.cluster import Cluster


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(settings_of(tmp_path / "cluster")) as running:
        yield running


@pytest.fixture
def api(cluster: Cluster) -> Api:
    return Api(cluster)
