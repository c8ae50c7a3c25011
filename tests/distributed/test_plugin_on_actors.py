"""An agent from a file explores in processes that do not have the file as a module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from environments import OFTEN
from interruptions import outcome

import sparl
from sparl.agents import AGENTS
from sparl.storage import RunFolder

pytest.importorskip("ray", reason="the extra `ray` is not installed")

FILE = Path(__file__).parents[1] / "helpers" / "plugins" / "toy_agent.py"


def test_an_agent_of_a_file_on_one_actor_learns_what_it_does_without(tmp_path):
    ToyAgent: Any = AGENTS.find(f"{FILE}:ToyAgent")
    agent = ToyAgent(hidden=(8,), batch_size=8, learning_starts=20)
    options: dict[str, Any] = OFTEN | {"steps": 60}
    sparl.train("environments:Point-v0", agent, out=tmp_path / "local", **options)
    sparl.train("environments:Point-v0", agent, out=tmp_path / "actor", actors=1, **options)
    ran = [outcome(tmp_path / name) for name in ("local", "actor")]
    assert ran[0]["policy"] == ran[1]["policy"]
    assert ran[0]["evals"] == ran[1]["evals"]
    # What a folder has is read into the class, which must still be sent to the actors after that.
    sparl.resume(tmp_path / "actor", steps=80, quiet=True)
    assert RunFolder(tmp_path / "actor").checkpoints.steps()[-1] == 80
