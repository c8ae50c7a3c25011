"""Weights & Biases, by a fake of its module: what is sent, under which name, and that it ends."""

from __future__ import annotations

import csv
import sys
from types import SimpleNamespace

import pytest
from environments import OFTEN, TINY

import sparl
from sparl.errors import BadValue

ENV = "environments:Point-v0"


class Fake:
    """Remembers what it is told."""

    def __init__(self):
        self.begun, self.rows, self.finished = [], {}, 0

    def init(self, **options):
        self.begun.append(options)
        return SimpleNamespace(log=self.log, finish=self.finish)

    def log(self, figures, step):
        self.rows[step] = figures

    def finish(self):
        self.finished += 1


def test_rows_of_the_log_are_sent_and_a_resumed_run_goes_on(tmp_path, monkeypatch):
    fake = Fake()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    callbacks, short = [sparl.LogToWandb("points", mode="offline")], OFTEN | {"steps": 60}
    sparl.train(ENV, TINY, out=tmp_path / "run", callbacks=callbacks, **short)
    sparl.resume(tmp_path / "run", steps=80, callbacks=callbacks, quiet=True)
    first, second = fake.begun
    assert first["id"] == second["id"] and first["resume"] == "allow"
    assert (first["project"], first["mode"]) == ("points", "offline")
    assert first["config"]["agent"] | {"name": "td3", "batch_size": 8} == first["config"]["agent"]
    assert fake.finished == 2
    with open(tmp_path / "run" / "metrics.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {int(row["step"]) for row in rows} <= fake.rows.keys()
    for row in rows:
        sent = fake.rows[int(row["step"])]
        assert {name for name, cell in row.items() if cell} == {
            name for name, value in sent.items() if value == value
        }


def test_without_wandb_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(BadValue, match=r'pip install "sparl\[wandb\]"'):
        sparl.LogToWandb("points")
