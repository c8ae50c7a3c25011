"""The benchmarks: tiny runs of each, the content of their JSON files, and what they refuse.

The figures depend on the machine, so the tests only assert that they agree with each other.
"""

from __future__ import annotations

import json

import pytest

from sparl.bench import contender, layers, timing, train
from sparl.cli import main
from sparl.errors import SparlError

ENV = "environments:Point-v0"
MACHINE = {"cpus", "instruction_set", "jax", "load_average"}


def bench(arguments: str, tmp_path) -> dict:
    """What a benchmark writes into its JSON file."""
    file = tmp_path / "figures.json"
    assert main(["bench", *arguments.split(), "--json", str(file)]) == 0
    return json.loads(file.read_text())


def test_layers_writes_a_row_per_size_and_pattern(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(layers, "PEAK_SIZES", (32, 64))
    monkeypatch.setattr(timing, "BLOCK", 0.002)
    kept = {"1:1": 16 * 16, "1:4": 16 * 4, "75%": 16 * 4, "G4-50%": 8 * 16}
    patterns = " ".join(kept)
    figures = bench(
        f"layers --widths 16 --batches 4 --patterns {patterns} --repetitions 2", tmp_path
    )
    assert figures.keys() == {"dense_peak_gflops", "machine", "rows"}
    assert figures["machine"].keys() == MACHINE
    rows = figures["rows"]
    assert [(row["width"], row["batch"], row["pattern"]) for row in rows] == [
        (16, 4, pattern) for pattern in kept
    ]
    for row in rows:
        assert list(row) == [
            *("width", "batch", "pattern", "forward_us", "backward_us", "both_us"),
            *("dense_both_us", "ratio_both", "useful_gflops", "share_of_peak"),
        ]
        assert min(row["forward_us"], row["both_us"], row["ratio_both"]) > 0
        gflops = 3 * 2e-3 * kept[row["pattern"]] * 4 / row["both_us"]
        assert row["useful_gflops"] == pytest.approx(gflops)
        share = row["useful_gflops"] / figures["dense_peak_gflops"]
        assert row["share_of_peak"] == pytest.approx(share)
    printed = capsys.readouterr().out
    assert "ratio" in printed and "75%" in printed


@pytest.mark.parametrize("pattern, parts", [("dense", 7), ("1:4", 8)])
def test_step_measures_the_parts_of_a_step(pattern, parts, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(contender, "RANDOM", 20)
    monkeypatch.setattr(contender, "WARM", 40)
    monkeypatch.setattr(contender, "BATCH", 8)
    figures = bench(f"step --env {ENV} --width 16 --steps 60 --pattern {pattern}", tmp_path)
    assert figures.keys() == {
        *("env", "pattern", "width", "steps", "machine", "parts"),
        *("sum_us", "overlapped_us", "whole_us", "steps_per_second"),
    }
    rows = {row["part"]: row for row in figures["parts"]}
    assert len(rows) == parts
    for row in rows.values():
        assert row.keys() == {"part", "us", "per_step", "us_per_step", "share"}
        assert row["us"] > 0
        assert row["us_per_step"] == pytest.approx(row["us"] * row["per_step"])
    assert rows["update: critics"]["per_step"] == 0.5
    assert rows["update: critics and actor"]["per_step"] == 0.5
    assert sum(row["share"] for row in rows.values()) == pytest.approx(1)
    assert figures["overlapped_us"] == pytest.approx(figures["sum_us"] - figures["whole_us"])
    assert "whole step" in capsys.readouterr().out


@pytest.fixture
def simulated_speeds(monkeypatch):
    """Speeds without training. The second turn is twice as fast. Gives the order of the turns."""
    turns: list[str] = []

    def measure(name, env, width, steps):
        turns.append(name)
        return {"sb3": 10.0, "sbx": 20.0}.get(name, 30.0) * (1 + (len(turns) > 3))

    monkeypatch.setattr(train, "refuse_missing", lambda names: None)
    monkeypatch.setattr(train, "in_a_process", measure)
    return turns


SMALL = f"train --envs {ENV} --names sb3 sbx 2:4 --repetitions 2"


def test_train_takes_turns_and_compares_within_a_turn(simulated_speeds, tmp_path):
    figures = bench(f"{SMALL} --widths 16", tmp_path)
    assert simulated_speeds == 2 * ["sb3", "sbx", "2:4"]
    assert figures == {
        "env": ENV,
        "width": 16,
        "rows": [
            {"name": n, "steps_per_second": 1.5 * s, "ratio_to_sb3": s / 10, "all": [s, 2 * s]}
            for n, s in (("sb3", 10.0), ("sbx", 20.0), ("2:4", 30.0))
        ],
    }


def test_train_in_several_settings_writes_a_list(simulated_speeds, tmp_path):
    figures = bench(f"{SMALL} --widths 16 32", tmp_path)
    assert [(one["env"], one["width"]) for one in figures] == [(ENV, 16), (ENV, 32)]


def test_the_message_names_a_contender_that_fails():
    with pytest.raises(SparlError, match="dense failed on Nowhere-v0"):
        train.in_a_process("dense", "Nowhere-v0", 16, 10)


def test_contenders_that_are_not_installed_are_refused_with_the_way_out(monkeypatch, capsys):
    monkeypatch.setattr(train, "PEERS", {"sb3": "sys", "sbx": "no_such_module"})
    assert main(["bench", "train", "--envs", ENV]) == 1
    printed = capsys.readouterr().err
    assert "sbx" in printed and 'pip install "sparl[bench]"' in printed
    assert "--names sb3 dense 2:4 1:4 1:8" in printed
    monkeypatch.setattr(train, "PEERS", {"sb3": "no_such_module"})
    assert main(["bench", "train", "--envs", ENV, "--names", "sb3", "dense"]) == 1
    printed = capsys.readouterr().err
    assert "sb3" in printed and "--names" not in printed


def test_all_contenders_share_their_settings():
    agent = contender.agent_of(32)
    assert (agent.hidden, agent.batch_size, agent.policy_delay) == ((32, 32), 256, 2)
    assert (agent.learning_rate, agent.exploration_noise) == (3e-4, 0.1)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("layers --widths 0", "--widths is 0"),
        ("layers --batches -1", "--batches is -1"),
        ("layers --repetitions 0", "--repetitions is 0"),
        ("layers --patterns half", "'half' is neither N:M, as 2:4, nor a sparsity, as 90%"),
        ("layers --patterns G3", "'G3': blocks are of 2, 4, 8, 16"),
        ("layers --patterns 100%", "above 0% and below 100%"),
        ("layers --patterns 5:4", "5:4 is not possible"),
        ("layers --json no/such/folder.json", "no/such/folder.json cannot be written"),
        ("step --pattern sparse", "'sparse' is neither dense nor N:M"),
        ("step --steps 0", "--steps is 0"),
        ("step --env Nowhere-v0", "no environment 'Nowhere-v0'"),
        ("train --names dense", "must have sb3"),
        ("train --names sb3 rllib", "no contender 'rllib': choose sb3, sbx, dense or N:M"),
        ("train --envs Nowhere-v0", "no environment 'Nowhere-v0'"),
    ],
)
def test_a_bad_value_is_refused_with_a_message(arguments, message, capsys):
    assert main(["bench", *arguments.split()]) == 1
    assert message in capsys.readouterr().err


def test_bench_without_arguments_and_with_help_lists_the_benchmarks(capsys):
    for arguments in ([], ["--help"]):
        assert main(["bench", *arguments]) == 0
        printed = capsys.readouterr().out
        assert all(f"sparl bench {name}" in printed for name in ("layers", "train", "step"))
    with pytest.raises(SystemExit) as ended:
        main(["bench", "lawyers"])
    assert ended.value.code == 2
    assert "no benchmark 'lawyers'" in capsys.readouterr().err
