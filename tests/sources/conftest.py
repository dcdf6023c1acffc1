"""A server without files, and downloads that hardly wait before they try again."""

from collections.abc import Iterator

import pytest

from tests.servers import Site, serving
from tissue.sources import cache


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "BACK_OFF", 0.01)


@pytest.fixture
def site() -> Iterator[Site]:
    with serving(Site({})) as served:
        yield served
