"""A run told as the command line that makes it: what `options` parses, it also spells."""

from __future__ import annotations

from dataclasses import replace
from itertools import cycle
from pathlib import Path

import pytest

import sparl
from sparl import agents, methods
from sparl.config import RunConfig, options, spelling
from sparl.errors import BadValue
from sparl.methods import METHODS

RUNS = [
    RunConfig("HalfCheetah-v5"),
    RunConfig("CartPole-v1", envs=4, vectorization="async", normalize_observations=True),
    RunConfig(
        "module:Env-v0", steps=7, seed=3, eval_every=5, dynamic_replay=True, buffer_drift=0.5
    ),
]
AGENTS = [
    *(agents.AGENTS.find(name)() for name in agents.AGENTS.names),
    sparl.TD3(hidden=(32, 16, 8), critic_hidden=(64,), learning_rate=1e-05, n_step=3),
    sparl.DQN(double=False, epsilon_end=0.0, learning_rate_by_density=True),
]
CHANGED = [
    methods.RNM("1:8", interval=7, sparse_layers="auto", least_inputs=4, keep_norm=False),
    methods.RNM("1:8", actor_pattern="none", first_pattern="1:4x2", head_pattern="none"),
    methods.SET(
        0.75, actor_sparsity=0.5, critic_sparsity=0.125, allocation="uniform", drop="magnitude"
    ),
    methods.DSP(penalty=0.25, tolerance=1.0, penalty_step="gradient"),
    methods.GST(group=2, ungroup=True),
    methods.Magnitude(sparsity=0.8, prunings=5),
]
ALL = [*(METHODS.find(name)() for name in METHODS.names), *CHANGED]


@pytest.mark.parametrize("method", ALL, ids=lambda method: method.name)
def test_the_command_of_a_run_makes_the_same_run(method):
    # Options of the three do not meet, so that not every run has to come with every agent.
    for run, agent in zip(cycle(RUNS), AGENTS, strict=False):
        words = spelling.command(run, agent, method)
        assert words[:2] == ["sparl", "train"]
        asked = options.parse(words[2:])
        assert (asked.run, asked.agent, asked.method) == (run, agent, method)


@pytest.mark.parametrize(
    "method", [method for method in ALL if method.prunes], ids=lambda method: method.name
)
def test_the_command_of_a_pruned_run_prunes_the_run_it_began_with(method):
    run = replace(RUNS[-1], begun_from="/some/where/first run/checkpoints/step-000000400")
    words = spelling.command(run, AGENTS[0], method)
    assert words[:2] == ["sparl", "prune"]
    asked = options.parse_prune(words[2:])
    method = spelling.as_trained(method)
    assert (asked.dir, asked.steps, asked.method) == (Path("/some/where/first run"), 7, method)


def test_what_has_its_default_is_not_said():
    words = spelling.command(RUNS[0], sparl.TD3(), sparl.RNM("2:4", interval=5))
    told = "sparl train HalfCheetah-v5 --agent td3 --method rnm"
    assert " ".join(words) == f"{told} --steps 1000000 --pattern 2:4 --interval 5"


def test_options_of_updates_and_learning_rates_reach_the_agent():
    words = [
        "Pendulum-v1",
        "--train-freq",
        "2",
        "--train-unit",
        "episodes",
        "--gradient-steps",
        "3",
    ]
    words += ["--max-grad-norm", "0.5", "--learning-rate-schedule", "cosine"]
    agent = options.parse(words).agent
    updates = {"train_freq": 2, "train_unit": "episodes", "gradient_steps": 3}
    assert agent == replace(
        sparl.TD3(max_grad_norm=0.5, learning_rate_schedule="cosine"), **updates
    )
    assert sparl.TD3().max_grad_norm is None
    assert options.parse(["Pendulum-v1", "--max-grad-norm", "None"]).agent == sparl.TD3()


@pytest.mark.parametrize("word", ["--train-unit=hours", "--learning-rate-schedule=square"])
def test_a_choice_that_there_is_not_is_a_usage_error(word, capsys):
    with pytest.raises(SystemExit) as ended:
        options.parse(["Pendulum-v1", word])
    assert ended.value.code == 2
    assert word.split("=")[1] in capsys.readouterr().err


def test_internal_fields_of_a_method_are_no_options():
    assert {"last_drop"} == methods.RigL.internal
    with pytest.raises(BadValue, match="--last-drop is no option of method rigl, but of set"):
        options.parse(["Pendulum-v1", "--method", "rigl", "--last-drop", "0.1"])


def test_a_pattern_is_one_option():
    method = options.parse(["Pendulum-v1", "--method", "rnm", "--pattern", "1:4x2"]).method
    assert method == methods.RNM("1:4x2")
    assert type(method) is methods.RNM


def test_a_run_that_began_with_another_librarys_file_is_told_as_an_import():
    run = RunConfig("Pendulum-v1", steps=50, seed=3, begun_from="/some/where/model.zip")
    words = spelling.command(run, sparl.TD3(learning_rate=0.001), methods.Dense())
    told = "sparl import sb3 /some/where/model.zip --env Pendulum-v1 --out imported"
    assert " ".join(words) == f"{told} --learning-rate 0.001 --seed 3 --steps 50"


@pytest.mark.parametrize("option", ["steps", "eval_every", "envs", "buffer_size", "log_every"])
def test_counts_of_a_run_begin_at_1(option):
    run = RunConfig("Pendulum-v1")
    assert getattr(replace(run, **{option: 1000}), option) == 1000
    with pytest.raises(BadValue, match=f"{option} is 0: it must be at least 1"):
        replace(run, **{option: 0})
