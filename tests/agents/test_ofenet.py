"""OFENet beside an agent: what trains it, what it leaves alone, and what is shipped of it."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from environments import OFTEN, SMALL_OFENET, TINY, TINY_SAC
from support import same_bits

import sparl
from sparl import kernels
from sparl.agents.common import learner_parts, ofenet
from sparl.agents.common.ofenet import ACTION, PART, PREDICTION, STATE, OFENet
from sparl.config import RunConfig
from sparl.engine import Engine
from sparl.errors import BadValue
from sparl.kernels import BATCH_EPSILON
from sparl.learner import AgentState, Learner, StepRules
from sparl.methods import RNM, Dense
from sparl.networks import BATCH_MEMORY, by_batch
from sparl.replay import Columns
from sparl.storage import RunFolder
from sparl.training import Trainer, inspect, snapshot

COLUMNS = Columns(4, 2)
OFENET = OFENet(units=10, layers=3, targets=0, updates=0)
CONFIGS = {
    "td3": replace(TINY, **SMALL_OFENET, representation_updates=0),
    "sac": replace(TINY_SAC, **SMALL_OFENET, representation_updates=0),
}


def rows(seed, count=16):
    """Transitions of linear dynamics, which can be predicted."""
    rng = np.random.default_rng(seed)
    found = rng.normal(size=(count, COLUMNS.width)).astype(np.float32)
    found[:, 7:11] = found[:, :4] + 0.5 * np.tanh(found[:, 4:5])
    found[:, -2:] = (0.0, 0.99)
    return found


def learner(representation=OFENET, optimizer=None):
    networks = ofenet.init(representation, jax.random.key(0), 4, 2)
    optimizers = {PART: optimizer or learner_parts.optimizer(None, PART)}
    return Learner.start(networks, optimizers, frozenset(), {PART: "representation"})


def state_of(learner, part=None):
    """What an update of the representation alone takes."""
    rules = StepRules(learner.structures, learner.optimizers, {name: 1.0 for name in learner.parts})
    parts = learner.parts if part is None else learner.parts | {PART: part}
    return AgentState(parts, {}, None, {}, rules, frozenset({PART}))


def step(learner, batch):
    state, metrics = ofenet.update(state_of(learner), COLUMNS.split(jnp.asarray(batch)))
    return learner.with_parts(state.parts), metrics["representation_loss"]


def test_units_are_shared_among_the_blocks():
    networks = learner().networks(PART)
    assert [layer.shape for layer in networks[STATE].layers] == [(4, 4), (3, 8), (3, 11)]
    assert [layer.shape for layer in networks[ACTION].layers] == [(4, 16), (3, 20), (3, 23)]
    assert [layer.shape for layer in networks[PREDICTION].layers] == [(4, 26)]
    leading = learner(OFENET._replace(targets=3)).networks(PART)
    assert leading[PREDICTION].layers[0].shape == (3, 26)


def test_the_error_of_prediction_falls():
    found = learner()
    moved = jax.jit(lambda values, batch: step_of(found, values, batch))
    part, losses = found.parts[PART], []
    for seed in range(400):
        part, loss = moved(part, rows(seed, 64))
        losses.append(float(loss))
    assert np.mean(losses[-20:]) < 0.15 * np.mean(losses[:20])


def step_of(found, part, batch):
    after, loss = step(found.with_parts({PART: part}), batch)
    return after.parts[PART], loss


def test_batch_norms_learn_by_the_batch_and_remember_it():
    """The first block of the state branch, written out: its loss sees the batch's own mean, others
    the running one."""
    found, batch = learner(), rows(1)
    before = found.networks(PART)[STATE]
    after = step(found, batch)[0].networks(PART)[STATE]
    x, layer = batch[:, :4].T, before.layers[0]
    z = np.asarray(layer.weight) @ x + np.asarray(layer.bias)[:, None]
    norm = after.norms[0]
    np.testing.assert_allclose(norm.mean, (1 - BATCH_MEMORY) * z.mean(1), rtol=1e-4, atol=1e-7)
    wanted = BATCH_MEMORY + (1 - BATCH_MEMORY) * z.var(1)
    np.testing.assert_allclose(norm.variance, wanted, rtol=1e-5)
    assert (np.asarray(norm.gain) != 1).all()  # it was trained

    y, _ = by_batch(before, jnp.asarray(x))
    own = (z - z.mean(1, keepdims=True)) / np.sqrt(z.var(1, keepdims=True) + BATCH_EPSILON)
    swish = own / (1 + np.exp(-own))
    np.testing.assert_allclose(y[-8:-4], swish, rtol=1e-3, atol=1e-5)
    assert np.abs(np.asarray(before(jnp.asarray(x)) - y)).max() > 0.01


@pytest.mark.parametrize("method", [Dense(), RNM("2:4")], ids=["dense", "rnm"])
def test_the_kernels_train_it_as_jax_does(method, monkeypatch):
    # Plain gradient descent: Adam's first steps would make 1 of every rounding.
    found = learner(optimizer=optax.sgd(0.1))
    roles = {PART: "representation"}
    start = jax.jit(lambda networks, key: method.start(networks, key, roles))
    networks, _ = start({PART: found.networks(PART)}, jax.random.key(1))
    found = found.afresh(networks)

    def moved():
        def run(part, batch):
            state, metrics = ofenet.update(state_of(found, part), COLUMNS.split(batch))
            return state.parts[PART], metrics

        return jax.jit(run), (found.parts[PART], jnp.asarray(rows(1)))

    run, operands = moved()
    assert str(jax.make_jaxpr(run)(*operands)).count("sparl_backward_by_batch") == 2
    part, metrics = run(*operands)
    monkeypatch.setattr(kernels, "usable", lambda: False)
    run, operands = moved()
    assert "by_batch" not in str(jax.make_jaxpr(run)(*operands))
    wanted, wanted_metrics = run(*operands)
    np.testing.assert_allclose(part.values, wanted.values, rtol=1e-4, atol=2e-6)
    for name, value in metrics.items():
        np.testing.assert_allclose(value, wanted_metrics[name], rtol=1e-5)
    assert not same_bits(part.values, found.parts[PART].values)


@pytest.mark.parametrize("agent", CONFIGS)
def test_an_agents_losses_leave_the_representation_alone(agent):
    """After an update of everything, it is where its own step alone takes it, by its own batch."""
    engine = Engine(CONFIGS[agent], Dense(), COLUMNS, seed=0)
    batch = rows(2)
    before = {name: np.asarray(part.values) for name, part in engine.learner.parts.items()}
    for _ in range(2):  # td3's actor moves with every second one
        alone, _ = step(engine.learner, batch[8:])
        engine.update(batch)
        wanted = alone.parts[PART].values
        np.testing.assert_allclose(engine.learner.parts[PART].values, wanted, atol=1e-6)
    for name in ("actor", "critics"):
        assert (np.asarray(engine.learner.parts[name].values) != before[name]).any()


def test_critics_read_features_of_the_action_and_the_actor_learns_through_them():
    engine = Engine(CONFIGS["td3"], Dense(), COLUMNS, seed=0)
    learned = engine.learner
    shapes = engine.shapes
    assert shapes["actor"][0] == (16, 4 + 10) and shapes["critic_0"][0] == (16, 4 + 10 + 2 + 10)
    observation, action = jnp.ones((14, 3)), jnp.full((2, 3), 0.3)

    def read(action):
        return ofenet.critic_inputs(state_of(learned), observation, action)

    def by_features(action):
        return jnp.sum(read(action)[:10])

    assert np.array_equal(read(action)[-16:], jnp.concatenate([observation, action]))
    assert np.abs(jax.grad(by_features)(action)).min() > 0


def test_first_the_representation_alone_is_updated():
    config = replace(CONFIGS["td3"], representation_updates=3)
    engine = Engine(config, Dense(), COLUMNS, seed=0)
    for update in range(5):
        before = engine.learner.parts
        values = {name: np.asarray(part.values) for name, part in before.items()}
        engine.update(rows(update))
        moved = {
            name for name, old in values.items() if (engine.learner.parts[name].values != old).any()
        }
        delayed = {"actor"} if update == 4 else set()
        assert moved == ({PART} if update < 3 else {PART, "critics"} | delayed)
    assert engine.take_metrics()["representation_loss"] > 0


def test_what_is_shipped_has_the_state_branch_and_nothing_else_of_it(tmp_path):
    """And with a method, the towers are sparse like all else."""
    config, options = replace(CONFIGS["sac"], representation_updates=10), OFTEN | {"steps": 80}
    method = RNM("2:4", sparse_layers="all")
    run = sparl.train("environments:Point-v0", config, method, out=tmp_path / "run", **options)
    trained = run.policy
    assert len(trained.network.layers) == 3 + 3 and trained.network.squash
    sizes = inspect(tmp_path / "run")["networks"]
    tower = sizes[STATE]
    assert tower["weights_kept"] < tower["weights_total"]
    engine, _ = snapshot(sparl.storage.RunFolder(tmp_path / "run"))
    tried = trained.golden
    np.testing.assert_allclose(engine.act(tried), trained.act(tried), atol=1e-5)
    metrics = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    assert "representation_loss" in metrics[0]


def test_a_methods_time_is_the_agents(tmp_path):
    """Nothing is restructured while the representation alone learns, and its updates do not
    count."""
    asked = []

    class Asked(Dense):
        def stage(self, update, updates):
            asked.append((update, updates))

    agent = replace(CONFIGS["td3"], representation_updates=3)
    run = RunConfig("environments:Point-v0", steps=60, eval_episodes=1)
    trainer = Trainer(RunFolder(tmp_path), run, agent, Asked(), quiet=True)
    schedule = trainer.updater.schedule
    # Learning starts after step 40, with the first of the agent's updates after three others.
    assert [schedule.step_of(update) for update in (1, 2)] == [41, 42]
    trainer.run()
    assert asked == [(update, 20) for update in range(1, 21)]
    assert trainer.engine.updates == 23


def test_no_more_is_predicted_than_there_is(tmp_path):
    config = replace(CONFIGS["td3"], representation_targets=3)
    with pytest.raises(BadValue, match=r"representation_targets is 3: .* have 2 components"):
        sparl.train("environments:Point-v0", config, out=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "wrong, told",
    [
        ({"n_step": 3}, "n_step is 3: a representation predicts the next observation"),
        ({"representation_units": 2}, "representation_units is 2: it must be at least"),
        ({"representation": "vae"}, "representation is 'vae'"),
        ({"representation_updates": -1}, "representation_updates is -1"),
    ],
)
def test_what_cannot_be_is_refused_by_name(wrong, told):
    with pytest.raises(BadValue, match=told):
        replace(CONFIGS["td3"], **wrong)
