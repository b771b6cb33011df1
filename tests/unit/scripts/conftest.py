"""What the tests of scripts/ share."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import pytest

from scripts.images import catalogue
from scripts.images.catalogue import Module

_load = cache(catalogue.load)


@pytest.fixture
def catalogue_read_once(monkeypatch: pytest.MonkeyPatch) -> Mapping[str, Module]:
    """The real catalogue, read once for all tests: reading its files takes 0.4 s."""
    monkeypatch.setattr(catalogue, "load", _load)
    return _load()
