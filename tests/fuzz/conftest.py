"""Tells how many cases of fuzzing there were, and how they ended."""

from __future__ import annotations

import pytest
from fuzzing import OUTCOMES


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tells how many cases there were, and how they ended."""
    if OUTCOMES:
        terminalreporter.section("fuzzing")
        for (kind, outcome), count in sorted(OUTCOMES.items()):
            terminalreporter.write_line(f"{count:8} {kind}: {outcome}")
        terminalreporter.write_line(f"{sum(OUTCOMES.values()):8} in all")
