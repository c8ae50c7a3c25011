"""Every kind of policy of Stable-Baselines3: the same actions, and what can be done with it."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from sb3_files import (
    LEARNING,
    OTHERS,
    VECNORMALIZE,
    predicted,
    rezipped,
    saved,
    with_data,
    with_pickle,
)
from support import adam_state

import sparl
from sparl.agents import PPO, Imported
from sparl.cli import main
from sparl.envs import spaces_of
from sparl.errors import BadFile, BadValue, SparlError
from sparl.interop import sb3, torch_file, vecnormalize
from sparl.interop.sb3_on_policy import combinations
from sparl.policy import Policy
from sparl.storage import RunFolder
from sparl.training import snapshot

FEW: dict[str, Any] = {"steps": 20, "eval_episodes": 1, "quiet": True}


def imported(name: str, out: Path, **options: Any) -> sparl.Run:
    more = {"vecnormalize": VECNORMALIZE} if name == "ppo" else {}
    return sparl.import_sb3(saved(name), OTHERS[name], out=out, **FEW | more | options)


@pytest.mark.parametrize("name", OTHERS)
def test_every_policy_acts_as_in_its_library(name):
    seen, expected = predicted(name)
    trained = sb3.read(saved(name))
    part, member = trained.agent.acting
    spaces = spaces_of(gym.make(OTHERS[name]))
    trained.refuse_other_spaces(OTHERS[name], spaces)
    normalization = None
    if name == "ppo":
        known = vecnormalize.read(VECNORMALIZE)
        normalization = known.observations.normalization._replace(clip=known.clip)
    network = trained.agent.policy(trained.parts[part].members)
    actions, _ = Policy(
        network, spaces, np.zeros((1, seen.shape[1]), np.float32), normalization
    ).predict(seen)
    assert actions.shape == expected.shape and member in trained.parts[part].members
    np.testing.assert_allclose(actions, expected, atol=1e-5)
    assert np.ptp(expected, axis=0).min() > 0.01
    assert trained.agent.name == LEARNING.get(name, "imported")
    if isinstance(trained.agent, Imported):
        assert trained.agent.algorithm == name.partition("_")[0].replace("ddpg", "td3")


def test_what_ppo_was_trained_with_is_taken_over(tmp_path):
    """Also what VecNormalize knew, and it stays as it is while the agent only acts."""
    run = imported("ppo", tmp_path / "run")
    seen, expected = predicted("ppo")
    np.testing.assert_allclose(run.predict(seen)[0], expected, atol=1e-5)
    config = RunFolder(run.folder).read_config()
    assert config.agent == PPO(
        hidden=(8, 6),
        critic_hidden=(12,),
        activation="elu",
        learning_rate=config.agent.learning_rate,
        rollout=64,
        batch_size=16,
        n_epochs=2,
        gamma=0.9,
        clip_range=0.3,
        normalize_rewards=True,
        learning_starts=20,
        distribution="gaussian",
    )
    assert 0 < config.agent.learning_rate < 1e-3  # the last of its schedule
    assert (config.run.normalize_observations, config.run.clip_observations) == (True, 1.5)
    assert config.run.vecnormalize == str(VECNORMALIZE)
    engine, _ = snapshot(RunFolder(run.folder))
    assert engine.statistics is not None and engine.statistics.count == 66
    assert (
        engine.discounted_returns is not None
        and engine.discounted_returns.statistics.count == 64 + 20
    )
    # Point's actions are from -1 to 3, so a deviation of the file is twice one of sparl's.
    with zipfile.ZipFile(saved("ppo")) as archive:
        tensors = torch_file.read(archive.read("policy.pth"), "policy.pth")
    found = np.asarray(engine.learner.parts["log_std"].values)
    np.testing.assert_allclose(np.exp(found), np.exp(tensors["log_std"]) / 2, rtol=1e-6)


def test_ppo_goes_on_with_its_moments_and_learns(tmp_path):
    run = imported("ppo_discrete", tmp_path / "run")
    engine, _ = snapshot(RunFolder(run.folder))
    with zipfile.ZipFile(saved("ppo_discrete")) as archive:
        names = list(torch_file.read(archive.read("policy.pth"), "policy.pth"))
        state = torch_file.read(archive.read("policy.optimizer.pth"), "optimizer")["state"]
    for part, layer in (("actor", "action_net"), ("critic", "value_net")):
        held = engine.learner.parts[part]
        adam = adam_state(held.optimizer)
        moment = engine.learner.structures[part].networks(adam.mu, held.indices)[part]
        wanted = state[names.index(f"{layer}.weight")]
        np.testing.assert_array_equal(moment.layers[-1].weight, wanted["exp_avg"])
        assert int(adam.count) == int(wanted["step"])
    method = sparl.RNM("2:4", sparse_layers="all", keep_norm=False)
    run.prune(method, steps=64, out=tmp_path / "small", quiet=True)
    engine, _ = snapshot(RunFolder(tmp_path / "small"))
    assert engine.sparsity > 0.4 and engine.updates == 2 * 2 * 2  # two rollouts of 32 steps


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    """A policy with gSDE from an old file: its means are clipped, and it does not learn."""
    return imported("sac_sde", tmp_path_factory.mktemp("policy") / "run", steps=60)


def test_a_policy_that_does_not_learn_is_evaluated_inspected_reported_and_exported(
    policy, tmp_path, capsys
):
    folder = str(policy.folder)
    assert main(["eval", folder, "--episodes", "2"]) == 0
    assert main(["inspect", folder]) == 0
    assert main(["report", folder, "--out", str(tmp_path / "r.html"), "--no-video", "--quiet"]) == 0
    words = ["import", "sb3", str(saved("sac_sde")), "--env"]
    page = (tmp_path / "r.html").read_text()
    assert " ".join(f"<span>{word}</span>" for word in words) in page
    assert "does not import" not in page
    capsys.readouterr()
    seen, expected = predicted("sac_sde")
    report = sparl.export(policy.folder, out=tmp_path / "c")  # which runs its self-test
    assert report["error"]["max"] < 1e-5
    report = sparl.export(policy.folder, dtype="int8", out=tmp_path / "int8", episodes=1)
    assert report["returns"]["original"] == pytest.approx(report["returns"]["exported"], abs=1.0)
    policy.save(tmp_path / "policy")
    actions, _ = sparl.load(tmp_path / "policy").predict(seen)
    np.testing.assert_allclose(actions, expected, atol=1e-5)


def test_a_policy_that_does_not_learn_is_not_trained_on(policy, tmp_path):
    with pytest.raises(BadValue, match=r"trained by sac.* not be trained on or pruned"):
        policy.prune("rnm", steps=10, out=tmp_path / "run", quiet=True)
    with pytest.raises(BadValue, match="only `sparl import` makes such a run"):
        sparl.train(OTHERS["sac_sde"], Imported(), out=tmp_path / "run", steps=10, quiet=True)
    assert not (tmp_path / "run").exists()
    before = snapshot(RunFolder(policy.folder))[0].learner.parts["policy"].values
    policy.resume(steps=80, quiet=True)
    engine, _ = snapshot(RunFolder(policy.folder))
    assert engine.updates == 0
    np.testing.assert_array_equal(engine.learner.parts["policy"].values, before)


def test_environments_with_other_actions_are_refused(tmp_path):
    """Two numbers of an action are as many outputs as two choices."""
    with pytest.raises(BadValue, match="has discrete actions, and the environment continuous ones"):
        Imported(discrete=True).for_actions("continuous")
    with pytest.raises(SparlError, match="distribution is gaussian, and actions are discrete"):
        sparl.import_sb3(saved("ppo"), "CartPole-v1", out=tmp_path / "run", **FEW)
    spaces = replace(spaces_of(gym.make(OTHERS["ppo_choices"])), nvec=(3, 2))
    with pytest.raises(SparlError, match=r"actions of .3, 2. choices; .* trained with .2, 3."):
        sb3.read(saved("ppo_choices")).refuse_other_spaces("Other-v0", spaces)
    assert not (tmp_path / "run").exists()


def test_combinations_have_the_logits_of_their_parts():
    logits = np.float32([0.1, 0.7, 3.0, 2.0, 1.0])
    of_each = np.asarray(combinations((2, 3))) @ logits
    assert np.unravel_index(of_each.argmax(), (2, 3)) == (1, 0)
    np.testing.assert_allclose(of_each, [3.1, 2.1, 1.1, 3.7, 2.7, 1.7], rtol=1e-6)
    switches = np.asarray(combinations((2, 2, 2), binary=True)) @ np.float32([1.0, -1.0, 0.5])
    assert np.unravel_index(switches.argmax(), (2, 2, 2)) == (1, 0, 1)
    with pytest.raises(BadValue, match="one of 6561 combinations; sparl numbers up to 4096"):
        combinations((9, 9, 9, 9))
    for nothing in ((), (2, 0)):
        with pytest.raises(BadValue, match="each needs one at least"):
            combinations(nothing)


def test_an_ended_schedule_and_functions_take_the_usual_numbers(tmp_path):
    function = {":type:": "<class 'function'>", ":serialized:": ""}

    def ended(content: bytes) -> bytes:
        assert content.count(b"lr") == 1
        return content.replace(b"lr", b"lx")

    path = with_pickle("ppo", tmp_path, ended, "policy.optimizer.pth")
    trained = sb3.read(path)
    assert isinstance(trained.agent, PPO) and trained.agent.learning_rate == PPO.learning_rate
    assert any("had come to its end: here it is 0.0003" in note for note in trained.notes)
    path = with_data("ppo", tmp_path, lambda data: data.update(clip_range=function))
    trained = sb3.read(path)
    assert isinstance(trained.agent, PPO) and trained.agent.clip_range == 0.2
    assert any("its clip_range is a function" in note for note in trained.notes)


CHANGES: dict[str, tuple[str, Any]] = {
    "does not tell the bounds of its actions": (
        "ppo",
        lambda data: data["action_space"].update(low="[-1. ... 2.]"),
    ),
    "action_space.nvec '.2 x.', which should be": (
        "ppo_choices",
        lambda data: data["action_space"].update(nvec="[2 x]"),
    ),
    "n_envs 'many', which should be a number": ("ppo", lambda data: data.update(n_envs="many")),
    "clip_mean -1": ("sac_sde", lambda data: data["policy_kwargs"].update(clip_mean=-1)),
    "10 quantiles of 3 choices": ("qrdqn", lambda data: data["action_space"].update(n=3)),
}


@pytest.mark.parametrize("message", CHANGES)
def test_what_cannot_be_taken_over_is_refused(message, tmp_path):
    name, change = CHANGES[message]
    with pytest.raises(SparlError, match=message):
        sb3.read(with_data(name, tmp_path, change))


def test_statistics_of_another_size_are_refused(tmp_path):
    with pytest.raises(BadValue, match="2 entries of an observation, and the environment gives 4"):
        imported("ppo_discrete", tmp_path / "run", vecnormalize=VECNORMALIZE)
    assert not (tmp_path / "run").exists()


def test_an_old_file_that_is_cut_is_refused(tmp_path):
    content = saved("sac_sde").read_bytes()
    for share in (0.2, 0.6, 0.99):

        def cut(name: str, was: bytes, share: float = share) -> bytes:
            return was[: int(share * len(was))] if name == "policy.pth" else was

        (tmp_path / "cut.zip").write_bytes(rezipped(content, cut))
        with pytest.raises(BadFile, match=r"policy.pth of .* (truncated or altered|refused)"):
            sb3.read(tmp_path / "cut.zip")
