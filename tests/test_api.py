"""The Python interface, in the habit of its ecosystem."""

from __future__ import annotations

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from edits import edit
from environments import LIMIT, OFTEN, TINY, TINY_DQN, TINY_SAC
from safetensors.numpy import load_file

import sparl
from sparl.envs import Spaces
from sparl.errors import BadEnvironment, BadFile
from sparl.layouts import Dense, RowSparse
from sparl.networks import plain
from sparl.storage import RunFolder, files
from sparl.topology import NofM, PerLayer, PerRow
from sparl.training import snapshot

ENV = "environments:Point-v0"


class Record(sparl.Callback):
    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []

    def on_episode(self, step, episode_return, length):
        assert (step % LIMIT, length) == (0, LIMIT)
        assert -LIMIT * LIMIT < episode_return < 0  # minus the distances
        self.calls.append(("episode", step))

    def on_evaluation(self, step, evaluation):
        assert len(evaluation.returns) == 2
        self.calls.append(("evaluation", step))

    def on_checkpoint(self, step, path):
        assert (path / "state.json").exists()
        self.calls.append(("checkpoint", step))

    def on_restructure(self, step, figures):
        networks = ("actor", "critic_0", "critic_1")
        assert set(figures) == {f"{of}_{n}" for of in ("sad", "kept") for n in networks}
        self.calls.append(("restructure", step))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("api") / "run"
    record = Record()
    method = sparl.RNM("2:4", interval=50)
    policy = sparl.train(ENV, TINY, method, out=out, callbacks=[record], **OFTEN)
    return policy, out, record.calls


def test_callbacks_are_called_in_order(trained):
    _, _, calls = trained
    evaluations = [step for kind, step in calls if kind == "evaluation"]
    checkpoints = [step for kind, step in calls if kind == "checkpoint"]
    restructures = [step for kind, step in calls if kind == "restructure"]
    assert [step for kind, step in calls if kind == "episode"] == list(range(20, 201, 20))
    assert evaluations == [50, 100, 150, 200]
    assert checkpoints == [40, 80, 120, 160, 200]
    assert restructures == [90, 140, 190]  # updates 50, 100, 150; the first is of step 41
    assert calls == sorted(calls, key=lambda call: call[1])


def test_predict_takes_one_observation_or_a_batch(trained):
    policy, _, _ = trained
    action, state = policy.predict(np.array([0.5, 0.0]))
    assert action.shape == (1,)
    assert state is None
    batch = np.array([[0.5, 0.0], [-2.0, 0.3], [0.0, 1.0]])
    actions, state = policy.predict(batch, state="as given")
    assert actions.shape == (3, 1)
    assert actions.dtype == np.float32
    assert state == "as given"
    np.testing.assert_allclose(actions[0], action, rtol=1e-5)
    assert (actions >= -1.0).all()
    assert (actions <= 3.0).all()


def test_predict_is_called_as_stable_baselines3_does(trained):
    """The keywords of its `evaluate_policy`, with an observation per environment."""
    policy, _, _ = trained
    observations = np.zeros((4, 2), np.float32)
    actions, states = policy.predict(
        observations, state=None, episode_start=np.ones(4, bool), deterministic=True
    )
    assert actions.shape == (4, 1)
    assert states is None


def test_predict_refuses_another_shape(trained):
    with pytest.raises(BadEnvironment, match=r"shape \(3,\); this agent was made for \(2,\)"):
        trained[0].predict(np.zeros(3))


def test_a_saved_policy_acts_the_same_and_saves_the_same_bytes(trained, tmp_path):
    policy, run, _ = trained
    policy.save(tmp_path / "a")
    again = sparl.load(tmp_path / "a")
    again.save(tmp_path / "b")
    observations = np.random.default_rng(0).normal(size=(50, 2))
    np.testing.assert_array_equal(policy.predict(observations)[0], again.predict(observations)[0])
    for name in ("policy.json", "policy.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
        assert (tmp_path / "a" / name).read_bytes() == (run / "policy" / name).read_bytes()


def test_a_policy_is_stored_packed_with_small_indices(trained):
    arrays = load_file(trained[1] / "policy" / "policy.safetensors")
    assert arrays["layer_1.weight"].shape == (16 * 8,)
    assert arrays["layer_1.columns"].dtype == np.uint8
    assert "layer_1.row_starts" not in arrays
    assert arrays["golden.observation"].shape == (8, 2)
    assert len(np.unique(arrays["golden.observation"], axis=0)) == 8


@pytest.mark.parametrize("pattern", [PerRow(3), PerLayer(11), NofM(2, 4, 4)])
def test_packed_policies_round_trip(pattern, tmp_path):
    rng = np.random.default_rng(1)
    dense = jnp.asarray(rng.normal(size=(6, 5)), jnp.float32)
    bias = jnp.asarray(rng.normal(size=6), jnp.float32)
    hidden = RowSparse.of(dense, bias, pattern, pattern.select(jnp.abs(dense)))
    head = Dense(jnp.asarray(rng.normal(size=(2, 6)), jnp.float32), jnp.zeros(2))
    spaces = Spaces((5,), (2,), (-1.0, -1.0), (1.0, 1.0))
    policy = sparl.Policy(plain((hidden, head), True), spaces, np.ones((1, 5), np.float32))
    policy.save(tmp_path)
    observations = rng.normal(size=(20, 5))
    np.testing.assert_array_equal(
        sparl.load(tmp_path).predict(observations)[0], policy.predict(observations)[0]
    )


@pytest.fixture(scope="module", params=["sac", "dqn"])
def other(request, tmp_path_factory):
    """A trained policy of the other agents, and its run."""
    out = tmp_path_factory.mktemp(request.param) / "run"
    env, agent = {"sac": (ENV, TINY_SAC), "dqn": ("environments:Steps-v0", TINY_DQN)}[request.param]
    return sparl.train(env, agent, sparl.RNM("2:4"), out=out, **OFTEN).policy, out


def test_policies_of_other_agents_are_saved_and_loaded(other, tmp_path):
    policy, run = other
    policy.save(tmp_path)
    again = sparl.load(tmp_path)
    assert again.spaces == policy.spaces
    observations = np.random.default_rng(0).normal(size=(50, 2))
    np.testing.assert_array_equal(policy.predict(observations)[0], again.predict(observations)[0])
    for name in ("policy.json", "policy.safetensors"):
        assert (tmp_path / name).read_bytes() == (run / "policy" / name).read_bytes()


def test_policies_of_other_agents_act_as_their_learner_did(other, tmp_path):
    """What the run saved, and what its newest checkpoint says."""
    policy, run = other
    (tmp_path / "moved").mkdir()
    (run / "policy").rename(tmp_path / "moved" / "policy")
    from_checkpoint = sparl.load(run)
    (tmp_path / "moved" / "policy").rename(run / "policy")
    observations = np.random.default_rng(0).normal(size=(50, 2))
    np.testing.assert_array_equal(
        policy.predict(observations)[0], from_checkpoint.predict(observations)[0]
    )
    engine, _ = snapshot(RunFolder(run))
    actions = policy.spaces.to_env_action(engine.act(observations.astype(np.float32)))
    np.testing.assert_allclose(policy.predict(observations)[0], actions, rtol=1e-5, atol=1e-5)


def test_predict_for_discrete_actions_gives_numbers_of_the_environment():
    head = Dense(jnp.array([[1.0], [-1.0], [0.0]]), jnp.array([0.0, 0.0, 0.5]))
    spaces = Spaces((1,), (), (), (), choices=3, first=3)
    policy = sparl.Policy(plain((head,), False), spaces, np.zeros((1, 1), np.float32))
    actions, _ = policy.predict(np.array([[2.0], [-2.0], [0.1]]))
    assert actions.tolist() == [3, 4, 5]
    assert actions.dtype == np.int64
    action, _ = policy.predict(np.array([2.0]))
    assert action == 3
    assert action.shape == ()
    assert action.dtype == np.int64


def test_golden_values_of_choices_are_compared_by_their_size(tmp_path):
    """Float32 rounds a value of 1e6 by 0.06: nothing is wrong with that; 200 off is."""
    spaces = Spaces((1,), (), (), (), choices=2)
    for error, refused in ((0.06, False), (200.0, True)):
        head = Dense(jnp.ones((2, 1)), jnp.array([1e6, 0.0]))
        sparl.Policy(plain((head,), False), spaces, np.zeros((3, 1), np.float32)).save(tmp_path)
        path = tmp_path / "policy.safetensors"
        arrays = load_file(path)
        assert arrays["golden.q_value"].tolist() == [[1e6, 0.0]] * 3
        arrays["golden.q_value"] = arrays["golden.q_value"] + np.float32(error)
        sha256 = files.write_bytes(path, safetensors.numpy.save(arrays))
        edit(tmp_path / "policy.json", lambda content: content.update(sha256=sha256))  # noqa: B023
        if refused:
            with pytest.raises(BadFile, match="differ from the golden ones"):
                sparl.load(tmp_path)
        else:
            sparl.load(tmp_path)


def test_an_altered_policy_is_refused(trained, tmp_path):
    trained[0].save(tmp_path)
    path = tmp_path / "policy.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(BadFile, match="altered"):
        sparl.load(tmp_path)


def test_a_policy_that_acts_otherwise_than_its_golden_pairs_is_refused(trained, tmp_path):
    trained[0].save(tmp_path)
    path = tmp_path / "policy.safetensors"
    arrays = load_file(path)
    arrays["layer_0.bias"] = arrays["layer_0.bias"] + np.float32(1.0)
    sha256 = files.write_bytes(path, safetensors.numpy.save(arrays))
    edit(tmp_path / "policy.json", lambda content: content.update(sha256=sha256))
    with pytest.raises(BadFile, match="differ from the golden ones"):
        sparl.load(tmp_path)


def test_a_policy_of_another_format_is_refused(trained, tmp_path):
    trained[0].save(tmp_path)
    edit(tmp_path / "policy.json", lambda content: content.update(format=2))
    with pytest.raises(BadFile, match="policy format 2"):
        sparl.load(tmp_path)


def test_an_unfinished_run_loads_its_newest_checkpoint(tmp_path):
    class Stop(sparl.Callback):
        def on_checkpoint(self, step: int, path: Path) -> None:
            if step == 80:
                raise RuntimeError

    with pytest.raises(RuntimeError):
        sparl.train(ENV, TINY, out=tmp_path / "run", callbacks=[Stop()], **OFTEN)
    assert sparl.load(tmp_path / "run").predict(np.zeros(2))[0].shape == (1,)
