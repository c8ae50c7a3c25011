"""A run's options as a YAML file: what is written is read, and what cannot be meant is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sparl
from sparl import methods
from sparl.agents import AGENTS
from sparl.cli import main
from sparl.config import RunConfig, options, run_file
from sparl.envs import WrapperSpec
from sparl.errors import BadFile, BadValue, SparlError
from sparl.methods import METHODS

OLD_RUN = Path(__file__).parents[1] / "helpers" / "runs_0_1" / "td3-rnm"
RUN = RunConfig(
    "module:Env-v0",
    steps=7,
    eval_every=5,
    stop_at_return=-3.5,
    buffer_drift=1e-05,
    env_kwargs={"name": "no", "gravity": 9.8, "numbers": [1, 2], "version": "1e3"},
    wrappers=(WrapperSpec("module:Wrapper", {"to": "2:4"}), WrapperSpec("other:One", {})),
    inputs=(0, 3),
)
PAIRS = [
    *((AGENTS.find(name)(), methods.Dense()) for name in AGENTS.names),
    *((sparl.TD3(hidden=(8,)), METHODS.find(name)()) for name in METHODS.names),
    (sparl.SAC(critic_hidden=(64, 32), learning_rate=1e-05), sparl.RNM("1:8x4", interval=7)),
]


def parsed(tmp_path: Path, text: str, *words: str) -> options.TrainOptions:
    (tmp_path / "run.yaml").write_text(text, encoding="utf-8")
    return options.parse(["--config", str(tmp_path / "run.yaml"), *words])


@pytest.mark.parametrize("agent, method", PAIRS, ids=lambda of: of.name)
def test_a_file_of_a_run_makes_the_same_run(agent, method, tmp_path):
    asked = parsed(tmp_path, run_file.text(RUN, agent, method))
    assert (asked.run, asked.agent, asked.method) == (RUN, agent, method)


def test_the_command_line_comes_before_the_file_and_the_file_before_defaults(tmp_path):
    text = """
        env: CartPole-v1   # a comment
        agent: dqn
        method: rnm
        pattern: 1:8
        steps: 1_000
        learning-rate: 1e-3
        hidden: [16, 16]
        double: false
        out: runs/mine
        quiet: true
        wrappers: ["module:Wrapper", "to=3"]
    """
    asked = parsed(tmp_path, text, "--steps", "300", "--hidden", "8", "--interval", "5")
    wrappers = (WrapperSpec("module:Wrapper", {"to": 3}),)
    assert asked.run == RunConfig("CartPole-v1", steps=300, wrappers=wrappers)
    assert asked.agent == sparl.DQN(hidden=(8,), learning_rate=1e-3, double=False)
    assert asked.method == sparl.RNM("1:8", interval=5)
    assert (asked.out, asked.quiet) == (Path("runs/mine"), True)
    other = parsed(tmp_path, "agent: sac\nsteps: 5", "Pendulum-v1", "--agent", "td3")
    assert (other.run, other.agent) == (RunConfig("Pendulum-v1", steps=5), sparl.TD3())
    with pytest.raises(SystemExit):
        parsed(tmp_path, "steps: 5")  # no environment anywhere


REFUSED = {
    "env: A\nstepz: 5": "run.yaml has stepz, which is no option here. Did you mean steps?",
    "lr: 1.0": "has lr, .* Did you mean learning_rate?",
    "n: 2\nmethod: rnm": "has n, which is no option here",
    "print_config: true": "has print_config, which is no option here",
    "env_spec: x": "has env_spec, which is no option here",
    "policy_delay: 2\nagent: dqn": "has policy_delay, which is no option here",
    "steps: many": "run.yaml: steps is 'many': it must be a whole number",
    "steps: 0": "run.yaml: steps is 0",
    "agent: sarsa": "agent is 'sarsa': choose of td3",
    "agent: 5": "run.yaml: agent is 5: it must be text",
    "hidden: 16": "run.yaml: hidden is 16: it must be a tuple",
    "steps: 5\nsteps: 6": "cannot be read in line 2, column 1: 'steps' comes twice",
    "1: 5": "line 1, column 1: 1 is no name",
    "a: [1": r"cannot be read in line \d",
    "- steps": "has no options",
    "": "has no options",
    "env: !!python/object:os.system 5": "cannot be read in line 1",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_cannot_be_meant_is_refused_by_name(text, tmp_path):
    with pytest.raises((BadFile, BadValue), match=REFUSED[text]):
        parsed(tmp_path, text)


def test_a_file_that_is_not_there_is_told(tmp_path, capsys):
    assert main(["train", "--config", str(tmp_path / "no.yaml")]) == 1
    assert "no.yaml cannot be read: No such file" in capsys.readouterr().err


def test_a_run_folder_gives_its_options(capsys, tmp_path):
    words = ["train", "--config", str(OLD_RUN), "--print-config", "--seed", "5"]
    assert main(words) == 0
    asked = parsed(tmp_path, capsys.readouterr().out)
    run, agent, method, _ = sparl.storage.RunFolder(OLD_RUN).read_config()
    found = {name: getattr(run, name) for name in ("env_spec", "env_folder")}
    assert replace(asked.run, seed=run.seed, **found) == run
    assert (asked.run.seed, asked.agent, asked.method) == (5, agent, method)


@pytest.mark.parametrize(
    "word, told",
    [
        ("--lr=1", "no option --lr. Did you mean --learning-rate?"),
        ("--total-timesteps", "no option --total-timesteps. Did you mean --steps?"),
        ("--algo", "no option --algo. Did you mean --agent?"),
        ("--env-id", "The environment comes first, without a name: sparl train ENV"),
    ],
)
def test_options_of_other_libraries_are_told_as_ours(word, told, capsys):
    assert main(["train", "Pendulum-v1", word, "5"]) == 1
    assert told in capsys.readouterr().err


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=60, deadline=None)
@given(content=st.dictionaries(st.sampled_from(["steps", "env", "hidden", "tau"]), VALUES))
def test_a_file_of_any_values_is_taken_or_refused(content: dict[str, Any]):
    try:
        given = run_file.Given(content, "run.yaml")
        given.run()
        given.of(sparl.TD3)
    except SparlError as error:
        assert str(error).startswith("run.yaml: ")


@settings(max_examples=60, deadline=None)
@given(content=st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes_are_read_or_refused(content: bytes, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content)
    try:
        assert all(isinstance(name, str) for name in run_file.read(path))
    except BadFile as error:
        assert "any.yaml" in str(error)


def test_a_pattern_in_a_file_counts_for_a_method_of_the_command_line(tmp_path):
    asked = parsed(tmp_path, "{env: CartPole-v1, agent: dqn, pattern: 1:8}", "--method", "rnm")
    assert asked.method.pattern == "1:8"
    own = "{env: CartPole-v1, agent: dqn, method: rnm, pattern: 1:8}"
    assert parsed(tmp_path, own, "--method", "asp").method.pattern == "2:4"


def test_an_option_in_both_spellings_is_refused(tmp_path):
    with pytest.raises(BadValue, match="learning_rate is given twice"):
        parsed(tmp_path, "{env: CartPole-v1, learning-rate: 0.1, learning_rate: 0.2}")
