"""Stored files to test on; what writes them is the plain module stored_files beside this file."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from stored_files import Store  # noqa: E402


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / 'runs')


@pytest.fixture
def full(store):
    """A plan and all of its results."""
    store.plan()
    store.all_results()
    return store
