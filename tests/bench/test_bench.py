"""The benchmarks: tiny runs of each, the content of their JSON files, and what they refuse.

The figures depend on the machine, so the tests only assert that they agree with each other.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

import pytest

from sparl import api, kernels
from sparl.bench import contender, layers, report, timing, trace, train
from sparl.bench.contender import Speed
from sparl.cli import main
from sparl.errors import SparlError

ENV = "environments:Point-v0"
MACHINE = {"cpu", "cpus", "instruction_set", "jax", "load_average"}


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


@pytest.fixture
def short(monkeypatch):
    """Tiny batches, and few steps before the clock starts."""
    monkeypatch.setattr(contender, "RANDOM", 20)
    monkeypatch.setattr(contender, "WARM", 40)
    monkeypatch.setattr(contender, "BATCH", 8)


@pytest.mark.parametrize("pattern, parts", [("dense", 7), ("1:4", 8)])
def test_step_measures_the_parts_of_a_step(pattern, parts, short, tmp_path, capsys):
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


@pytest.mark.skipif(kernels.why_not_native() is not None, reason="the kernels are not built")
def test_a_trace_tells_what_the_parts_of_an_update_are(short, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(trace, "WARM", 4)
    monkeypatch.setattr(trace, "UPDATES", 4)
    monkeypatch.setattr(report, "cores", lambda: [0, 1])
    asked = []

    def here(env, pattern, width, threads):
        asked.append(threads)
        return [{"threads": threads, **one} for one in trace.measured(env, pattern, width)]

    monkeypatch.setattr(trace, "in_a_process", here)
    figures = bench(f"step --env {ENV} --width 16 --pattern 1:4 --trace", tmp_path)
    assert asked == [1, 2] and figures["machine"].keys() == MACHINE
    updates = figures["updates"]
    assert [one["update"] for one in updates] == 2 * ["critics", "critics and actor"]
    critics, actor = ({p["part"]: p for p in one["parts"]} for one in updates[:2])
    # The target actor, the target critics, the critics; behind them the actor and one critic.
    assert (critics["forward"]["calls"], actor["forward"]["calls"]) == (3, 5)
    assert (critics["deltas"]["calls"], actor["deltas"]["calls"]) == (1, 2)
    for part in [*critics.values(), *actor.values()]:
        assert 0 <= part["waited_us"] <= part["us"] and part["by_helpers"] <= part["tasks"]
        assert part["meetings"] <= part["calls"]
    assert "gradients of weights" in capsys.readouterr().out


@pytest.fixture
def simulated_speeds(monkeypatch):
    """Speeds without training. The second turn is twice as fast. Gives the order of the turns."""
    turns: list[tuple] = []

    def measure(name, setting, steps, runs):
        faster = 2 if (name, runs, *setting) in turns else 1
        turns.append((name, runs, *setting))
        speed = {"sb3": 10.0, "sbx": 20.0}.get(name, 30.0) * (1 if runs == 1 else 1.5)
        return Speed(speed * faster, 1e6 / speed)

    monkeypatch.setattr(train, "refuse_missing", lambda options: None)
    monkeypatch.setattr(train, "measure", measure)
    return turns


SMALL = f"train --envs {ENV} --widths 16 --repetitions 2"


def test_train_takes_turns_and_compares_within_a_turn(simulated_speeds, tmp_path, capsys):
    figures = bench(f"{SMALL} --names sb3 sbx 2:4", tmp_path)
    names = ("sb3", "sbx", "2:4")
    assert simulated_speeds == 2 * [(name, 1, "td3", ENV, 16) for name in names]
    machine = figures.pop("machine")
    assert machine.keys() == MACHINE
    assert report.told(machine) in capsys.readouterr().out
    assert figures == {
        **{"agent": "td3", "env": ENV, "width": 16},
        "rows": [
            {"name": n, "runs": 1, "steps_per_second": 1.5 * s, "core_us_per_step": 1e6 / s}
            | {"ratio_to_sb3": s / 10, "all": [s, 2 * s]}
            for n, s in zip(names, (10.0, 20.0, 30.0), strict=True)
        ],
    }


def test_pairs_are_beside_pairs_of_the_peer_and_beside_one_of_it(
    simulated_speeds, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(report, "cores", lambda: [0, 1])
    rows = bench(f"{SMALL} --names sb3 dense --pairs", tmp_path)["rows"]
    assert [(row["name"], row["runs"]) for row in rows] == [
        *(("sb3", 1), ("sb3", 2), ("dense", 1), ("dense", 2))
    ]
    pair = rows[3]
    assert (pair["ratio_to_sb3"], pair["ratio_to_one_sb3"]) == (3.0, 4.5)
    assert pair["ratio_to_dense"] == 1.0 and "ratio_to_one_sb3" not in rows[2]
    assert "dense, 2 runs" in capsys.readouterr().out
    monkeypatch.setattr(report, "cores", lambda: [0])
    assert main(["bench", *SMALL.split(), "--pairs"]) == 1
    assert "--pairs needs two cores" in capsys.readouterr().err


def test_every_agent_is_beside_the_peers_that_have_it(simulated_speeds, tmp_path):
    figures = bench(f"{SMALL} --agents sac crossq --repetitions 1", tmp_path)
    assert [one["agent"] for one in figures] == ["sac", "crossq"]
    assert [row["name"] for row in figures[1]["rows"]] == ["sbx", "dense", "1:8@512"]
    assert figures[1]["rows"][2]["ratio_to_sbx"] == 1.5
    simulated_speeds.clear()
    bench(f"{SMALL} --agents crossq --names sb3 sbx rltools 1:4", tmp_path)
    assert {turn[0] for turn in simulated_speeds} == {"sbx", "1:4"}


def test_train_in_several_settings_writes_a_list(simulated_speeds, tmp_path):
    figures = bench(f"{SMALL} --widths 16 32", tmp_path)
    assert [(one["env"], one["width"]) for one in figures] == [(ENV, 16), (ENV, 32)]


def test_two_runs_have_a_core_each_and_add_up(monkeypatch):
    started = {}

    def run(command, env, **options):
        started[command[-1]] = env["NPROC"]
        return subprocess.CompletedProcess(command, 0, f"noise 3\n10 {command[-1]}00\n", "")

    monkeypatch.setattr(report, "cores", lambda: [4, 6, 7])
    monkeypatch.setattr(train.subprocess, "run", run)
    setting = train.Setting("td3", ENV, 16)
    assert train.measure("dense", setting, 5, 2) == Speed(20.0, 500.0)
    assert started == {"4": "1", "6": "1"}


def test_the_message_names_a_contender_that_fails():
    with pytest.raises(SparlError, match="dense failed on td3 Nowhere-v0"):
        train.in_a_process("dense", train.Setting("td3", "Nowhere-v0", 16), 10)


def test_contenders_that_are_not_installed_are_refused_with_the_way_out(monkeypatch, capsys):
    peer, missing = (train.Peer(module, ("td3",)) for module in ("sys", "no_such_module"))
    monkeypatch.setattr(train, "PEERS", {"sb3": peer, "sbx": missing})
    assert main(["bench", "train", "--envs", ENV]) == 1
    printed = capsys.readouterr().err
    assert "sbx" in printed and 'pip install "sparl[bench]"' in printed
    assert "--names sb3 dense 2:4 1:4 1:8" in printed
    monkeypatch.setattr(train, "PEERS", {"sb3": missing})
    assert main(["bench", "train", "--envs", ENV, "--names", "sb3", "dense"]) == 1
    printed = capsys.readouterr().err
    assert "sb3" in printed and "--names" not in printed


def test_all_contenders_share_their_settings():
    agent = contender.agent_of("td3", 32)
    assert (agent.hidden, agent.batch_size, agent.policy_delay) == ((32, 32), 256, 2)
    assert (agent.learning_rate, agent.exploration_noise) == (3e-4, 0.1)
    wide = contender.agent_of("crossq", 32, 64)
    assert (wide.hidden, wide.critic_hidden, wide.policy_delay) == ((32, 32), (64, 64), 3)
    assert contender.agent_of("sac", 32).policy_delay == 1


def test_critics_of_another_width_are_beside_a_dense_actor(short, monkeypatch):
    """The clock goes by steps: with a training that only tells of them."""

    def told(env, agent, method, callbacks, **options):
        assert (agent.hidden, agent.critic_hidden) == ((16, 16), (32, 32))
        assert (method.pattern, method.actor_pattern) == ("1:2", "none")
        for step in range(1, options["steps"] + 1):
            callbacks[0].on_step(step)

    monkeypatch.setattr(api, "train", told)
    assert contender.sparl("1:2@32", "crossq", ENV, 16, 20).steps_per_second > 0


@pytest.mark.parametrize(
    "name, agent",
    [(name, agent) for name, peer in train.PEERS.items() for agent in peer.agents],
)
def test_peers_train(name, agent):
    """In a process without sparl, as it is measured; RLtools refuses one that has PyTorch."""
    if importlib.util.find_spec(train.PEERS[name].module) is None:
        pytest.skip(f"{name} is not installed")
    code = """
import sys
from importlib import util

spec = util.spec_from_file_location("contender", sys.argv[1])
contender = util.module_from_spec(spec)
spec.loader.exec_module(contender)
contender.RANDOM, contender.WARM, contender.BATCH = 20, 40, 8
contender.main(*sys.argv[2:], "Pendulum-v1", "16", "20")
"""
    command = [sys.executable, "-c", code, contender.__file__, name, agent]
    printed = subprocess.check_output(command, encoding="utf-8")
    assert all(float(figure) > 0 for figure in printed.split()[-2:])


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
        ("train --names sb3 rllib", "no contender 'rllib': choose sb3, sbx, rltools, dense or N:M"),
        ("train --names sb3 1:8@wide", "'1:8@wide' has no width of critics behind its @"),
        ("train --agents crossq --names sb3 dense", "must have sbx: every ratio of crossq"),
        ("train --agents ppo", "no agent 'ppo' here: choose of td3, sac, crossq"),
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
