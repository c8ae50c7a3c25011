"""Exports compile without warnings here."""

from __future__ import annotations

import pytest

from sparl.exporters import COMPILE_FLAGS, native_policy


@pytest.fixture(autouse=True)
def warnings_of_compilers_are_errors(monkeypatch):
    monkeypatch.setattr(native_policy, "COMPILE_FLAGS", (*COMPILE_FLAGS, "-Werror"))
