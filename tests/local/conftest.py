"""Tests with servers, processes, estimators and many days in a store: this machine alone, and more than a moment."""

from __future__ import annotations

from tests.unit.conftest import pytest_configure

__all__ = ["pytest_configure"]
