"""Networks that see some entries of an observation: an actor its sensors, critics more."""

from __future__ import annotations

import json
from dataclasses import replace

import gymnasium as gym
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from environments import OFTEN, TINY, TINY_CROSSQ, TINY_DQN, TINY_SAC, Point
from gymnasium import spaces
from interruptions import StopAt, Stopped

import sparl
from sparl.cli import main
from sparl.errors import BadFile, BadValue
from sparl.methods import RNM
from sparl.policy import Policy
from sparl.storage import RunFolder

ANY = spaces.Box(-np.inf, np.inf, (3,))
STATE = ("state",)


class Bare(Point):
    """What sensors of the point give."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,))


class Told(Point):
    """The point as a simulator tells it: what no sensor measures, too, before and behind."""

    observation_space = spaces.Dict(
        {"a_force": ANY, "state": spaces.Dict({"at": spaces.Box(-9, 9, (1,)),
                                               "time": spaces.Box(0, 1, (1,))}), "wind": ANY}
    )  # fmt: skip

    def observe(self):
        at, time = np.split(super().observe(), 2)
        hidden = self.np_random.normal(size=(2, 3)).astype(np.float32)
        return {"a_force": hidden[0], "state": {"at": at, "time": time}, "wind": hidden[1]}


for kind in (Bare, Told):
    gym.register(f"{kind.__name__}-v0", kind, max_episode_steps=20, disable_env_checker=True)


@pytest.mark.parametrize(
    "agent, frames", [(TINY, 3), (TINY_SAC, 1), (TINY_CROSSQ, 1)], ids=["td3", "sac", "crossq"]
)
def test_entries_that_nobody_sees_change_nothing(default_emitter, tmp_path, agent, frames):
    """Bit for bit the run of an environment that does not give them."""
    views = {"actor_obs": STATE, "critic_obs": ("state.at", "state.time"), "frame_stack": frames}
    told = sparl.train("Told-v0", agent, RNM("2:4"), out=tmp_path / "told", **OFTEN, **views)
    bare = sparl.train(
        "Bare-v0", agent, RNM("2:4"), out=tmp_path / "bare", **OFTEN, frame_stack=frames
    )
    one, other = told.policy.narrowed(), bare.policy
    for a, b in zip(jax.tree.leaves(one.network), jax.tree.leaves(other.network), strict=True):
        assert np.array_equal(a, b)
    summaries = (RunFolder(tmp_path / name).read_summary() for name in ("told", "bare"))
    assert len({summary and summary["final_return"] for summary in summaries}) == 1


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """An actor of what sensors measure, critics of everything, normalised observations."""
    out = tmp_path_factory.mktemp("views") / "run"
    options = OFTEN | {"actor_obs": STATE, "normalize_observations": True}
    return sparl.train("Told-v0", TINY, RNM("2:4"), out=out, **options)


def test_an_actor_sees_its_entries_alone_and_critics_all(trained):
    engine, _ = sparl.training.snapshot(RunFolder(trained.folder))
    actor, critic = (engine.learner.all_networks()[n] for n in ("actor", "critic_0"))
    assert (actor.in_features, critic.in_features) == (2, 8 + 1)
    observation = np.random.default_rng(0).normal(size=(1, 8)).astype(np.float32)
    told = trained.policy.act(observation)
    for i in range(8):
        moved = observation.copy()
        moved[0, i] += 1.0
        assert np.array_equal(trained.policy.act(moved), told) == (i not in (3, 4)), i
        seen = np.concatenate([moved, np.zeros((1, 1), np.float32)], axis=1)
        before = np.concatenate([observation, np.zeros((1, 1), np.float32)], axis=1)
        assert not np.array_equal(critic(jnp.array(seen.T)), critic(jnp.array(before.T))), i


def test_its_run_is_resumed_bit_for_bit_evaluated_and_reported(trained, tmp_path):
    run = tmp_path / "run"
    options = OFTEN | {"actor_obs": STATE, "normalize_observations": True}
    with pytest.raises(Stopped):
        sparl.train(
            *("Told-v0", TINY, RNM("2:4")), out=run, callbacks=[StopAt(checkpoint=2)], **options
        )
    again = sparl.resume(run, quiet=True)
    arrays = (folder / "policy" / "policy.safetensors" for folder in (run, trained.folder))
    assert len({array.read_bytes() for array in arrays}) == 1
    assert again.evaluate(episodes=1).mean_return == trained.evaluate(episodes=1).mean_return
    page = trained.report(tmp_path / "report.html", video=False).read_text()
    assert "does not belong" not in page and "policy" in page


def test_exports_read_the_actors_entries_alone(trained, tmp_path):
    found = sparl.export(trained.folder, "c", tmp_path / "c", episodes=0)
    assert found["error"]["max"] < 1e-5
    header = (tmp_path / "c" / "policy.h").read_text()
    assert "#define POLICY_OBSERVATION_SIZE 2" in header
    assert "POLICY_OBSERVATION_STATE_TIME 1" in header
    assert "WIND" not in header
    assert sparl.export(trained.folder, "c", tmp_path / "i", dtype="int8", episodes=1)["returns"]
    assert sparl.export(trained.folder, "onnx", tmp_path / "onnx")["error"]["max"] < 1e-5


def test_a_policy_takes_observations_as_the_environment_gives_them(trained):
    env = gym.make("Told-v0")
    observation, _ = env.reset(seed=3)
    policy = Policy.load(trained.folder / "policy")
    action, _ = policy.predict(observation)
    alone = np.concatenate([observation["state"]["at"], observation["state"]["time"]])
    assert np.array_equal(action, policy.narrowed().predict(alone)[0])
    assert np.array_equal(action, trained.predict(observation)[0])


@pytest.mark.parametrize("inputs", [[[0, 2], [1, 3]], [[3, 9]], [[4, 3]], [[3, 4]]])
def test_inputs_that_are_none_are_refused(trained, tmp_path, inputs):
    policy = tmp_path / "policy"
    trained.policy.save(policy)
    content = json.loads((policy / "policy.json").read_text())
    del content["digest"]
    (policy / "policy.json").write_text(json.dumps(content | {"inputs": inputs}))
    with pytest.raises(BadFile):
        Policy.load(policy)


@pytest.mark.parametrize(
    "env, agent, options, told",
    [
        ("Told-v0", TINY, {"actor_obs": ("stat",)}, "no entry 'stat', but a_force, state.at"),
        ("Bare-v0", TINY, {"critic_obs": STATE}, "no entries with names"),
        (
            "Told-v0",
            replace(TINY, representation="ofenet", representation_units=8),
            {"actor_obs": STATE},
            "do not go with representation ofenet",
        ),
        ("TwoChoices-v0", TINY_DQN, {"critic_obs": STATE}, "has no critics beside"),
    ],
)
def test_views_that_cannot_be_are_refused_before_anything_is_written(
    tmp_path, env, agent, options, told
):
    with pytest.raises(BadValue, match=told):
        sparl.train(env, agent, out=tmp_path / "run", **OFTEN, **options)
    assert not (tmp_path / "run").exists()


def test_the_command_line_takes_several_names(tmp_path, capsys):
    words = ["train", "Told-v0", "--steps", "40", "--hidden", "8", "--eval-episodes", "1"]
    words += ["--actor-obs", "a_force", "state.time", "--critic-obs", "wind"]
    assert main([*words, "--out", str(tmp_path / "run")]) == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["run"]["actor_obs"] == ["a_force", "state.time"]
    assert config["run"]["critic_obs"] == ["wind"]
    assert main(["eval", str(tmp_path / "run"), "--episodes", "1"]) == 0
    assert sparl.load(tmp_path / "run").policy.network.inputs == ((0, 3), (4, 5))
