"""Agents that Stable-Baselines3 saved, imported into a run folder."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import environments
import gymnasium as gym
import jax.numpy as jnp
import numpy as np
import pytest
from interruptions import StopAt, Stopped, outcome
from sb3_files import ENVS, computed, rezipped, saved, with_data, with_pickle
from support import adam_state

import sparl
from sparl import methods
from sparl.cli import main
from sparl.envs import Spaces
from sparl.errors import BadEnvironment, BadFile, BadRun, BadValue, SparlError
from sparl.interop import sb3
from sparl.replay import Columns, Replay
from sparl.storage import RunFolder
from sparl.training import snapshot

STEPS = 60
FEW: dict[str, Any] = {
    "steps": STEPS,
    "eval_every": 30,
    "eval_episodes": 1,
    "checkpoint_every": 20,
    "log_every": 20,
    "quiet": True,
}


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """The run folder of each agent."""
    folders = {name: tmp_path_factory.mktemp("imported") / name for name in ENVS}
    for name, folder in folders.items():
        sparl.import_sb3(saved(name), ENVS[name], out=folder, **FEW)
    return folders


@pytest.mark.parametrize("name", ENVS)
def test_an_imported_agent_predicts_the_same_actions(name, imported):
    """For 1000 observations, in the environment's bounds."""
    policy, expected = sparl.load(imported[name]).policy, computed(name)
    actions, _ = policy.predict(expected["observation"])
    if name == "dqn":
        assert np.array_equal(actions, expected["predicted"])
    else:
        assert actions.shape == expected["predicted"].shape
        span = np.subtract(policy.spaces.high, policy.spaces.low)
        assert np.all(np.abs(actions - expected["predicted"]) <= 1e-6 * span)
        assert np.ptp(expected["predicted"], axis=0).min() > 0.1  # they are not all equal


def outputs(engine: Any, expected: dict[str, np.ndarray], action: Any) -> dict[str, np.ndarray]:
    """Outputs of each network for recorded observations; critics also get `action`."""
    actual = {}
    for name, network in engine.learner.all_networks().items():
        inputs = expected["observation"][:100]
        if "critic" in name:
            inputs = np.concatenate([inputs, action], axis=1)
        actual[name] = np.asarray(network(jnp.asarray(inputs.T))).T
    return actual


def assert_equal(actual: dict[str, np.ndarray], expected: dict[str, np.ndarray], prefix: str = ""):
    for name, output in actual.items():
        target = expected[prefix + name]
        assert np.abs(output - target).max() <= 1e-5 * np.abs(target).max(), name


@pytest.mark.parametrize("name", ENVS)
def test_every_network_has_the_same_outputs(name, imported):
    engine, expected = snapshot(RunFolder(imported[name]))[0], computed(name)
    actual = outputs(engine, expected, expected.get("action"))
    assert len(actual) == {"td3": 6, "sac": 5, "dqn": 2}[name]
    assert_equal(actual, expected)
    for network in actual.keys() & {f"target_{other}" for other in actual}:
        assert np.abs(actual[network] - actual[network.removeprefix("target_")]).max() > 1e-3


@pytest.mark.parametrize("name", ["td3", "dqn"])
def test_updates_go_on_as_in_stable_baselines3(name, imported):
    """Two updates with the same transitions agree only if networks, targets, moments, step count,
    learning rate, discount and loss do."""
    engine, expected = snapshot(RunFolder(imported[name]))[0], computed(name)
    before = outputs(engine, expected, np.zeros_like(expected.get("action", 0)))
    for rows in expected["rows"]:
        discount = np.full((len(rows), 1), engine.agent.gamma, np.float32)
        engine.update(np.concatenate([rows, discount], axis=1))
    after = outputs(engine, expected, np.zeros_like(expected.get("action", 0)))
    assert_equal(after, expected, "after_")
    network = "q" if name == "dqn" else "actor"
    assert np.abs(after[network] - before[network]).max() > 1e-3 * np.abs(after[network]).max()


def test_sac_goes_on_with_its_temperature_and_all_moments(imported):
    engine = snapshot(RunFolder(imported["sac"]))[0]
    parts = engine.learner.parts
    assert np.asarray(parts["temperature"].values) == computed("sac")["log_temperature"]
    for part in parts.values():
        moments = adam_state(part.optimizer)
        assert int(moments.count) == 252
        assert np.abs(moments.mu).max() > 0 and np.abs(moments.nu).max() > 0


def test_hyperparameters_are_those_of_its_training(imported):
    configs = {name: RunFolder(folder).read_config()[:2] for name, folder in imported.items()}
    common = {"learning_starts": STEPS, "batch_size": 16, "hidden": (8, 8)}
    assert configs["td3"][1] == sparl.TD3(
        **common, learning_rate=1e-3, gamma=0.9, policy_noise=0.0, exploration_noise=0.3
    )
    assert configs["sac"][1] == sparl.SAC(
        **common,
        critic_hidden=(12,),
        target_entropy=-2.0,
        initial_temperature=math.exp(computed("sac")["log_temperature"][0]),
    )
    assert configs["dqn"][1] == sparl.DQN(
        **common,
        tau=1.0,
        double=False,
        target_update_interval=70,
        epsilon_start=0.05,
        epsilon_steps=0,
        max_grad_norm=10.0,
    )
    assert (configs["dqn"][0].buffer_size, configs["dqn"][0].seed) == (5_000, 3)
    assert configs["dqn"][0].begun_from == str(saved("dqn"))


def test_the_replay_is_filled_by_the_agent_itself(imported):
    """All actions are the policy's with its own noise, none is random."""
    folder = RunFolder(imported["td3"])
    engine, state = snapshot(folder)
    assert (state.step, state.updates, engine.updates) == (STEPS, 0, 0)
    replay = Replay(1000, Columns(2, 1))
    folder.checkpoints.load_replay(STEPS, replay)
    rows = replay.span(0, STEPS)
    noise = np.abs(rows[:, 2:3] - engine.act(rows[:, :2]))
    assert 0.05 < noise.mean() < 0.45


@pytest.mark.parametrize("name", ENVS)
def test_an_imported_run_can_be_pruned(name, imported, tmp_path):
    method = methods.RNM("1:4", sparse_layers="all", keep_norm=False)
    policy = sparl.prune(imported[name], method, steps=40, out=tmp_path / "run", quiet=True)
    engine, state = snapshot(RunFolder(tmp_path / "run"))
    assert engine.updates == 40 == state.step  # it learns from the first step on
    assert engine.sparsity > 0.6
    assert (tmp_path / "run" / "policy" / "policy.json").exists()
    policy.predict(computed(name)["observation"])


def test_an_imported_run_can_be_trained_further(imported, tmp_path):
    shutil.copytree(imported["sac"], tmp_path / "run")
    sparl.resume(tmp_path / "run", steps=STEPS + 20, quiet=True)
    assert snapshot(RunFolder(tmp_path / "run"))[0].updates == 20


def test_an_interrupted_import_resumes_bit_for_bit_without_the_file(imported, tmp_path):
    path = tmp_path / "agent.zip"
    shutil.copy(saved("td3"), path)
    with pytest.raises(Stopped):
        stop = [StopAt(checkpoint=2)]
        sparl.import_sb3(path, ENVS["td3"], out=tmp_path / "run", callbacks=stop, **FEW)
    path.unlink()
    sparl.resume(tmp_path / "run", quiet=True)
    assert outcome(tmp_path / "run") == outcome(imported["td3"])


def test_the_command_line_imports_and_prints_how_to_go_on(tmp_path, capsys):
    out = tmp_path / "run"
    arguments = ["import", "sb3", str(saved("dqn")), "--out", str(out), "--steps", "30"]
    with pytest.raises(SystemExit):
        main(arguments)
    assert "--env" in capsys.readouterr().err
    assert main([*arguments, "--env", ENVS["dqn"], "--seed", "7"]) == 0
    printed = capsys.readouterr()
    assert "the agent acts for 30 steps to fill its replay" in printed.err
    assert f"sparl prune {out}" in printed.out
    assert RunFolder(out).read_config()[0].seed == 7
    assert main(["eval", str(out), "--episodes", "2"]) == 0
    assert main(["inspect", str(out)]) == 0
    assert main([*arguments, "--env", ENVS["dqn"]]) == 1
    assert "already holds another run" in capsys.readouterr().err


def option(**options: Any) -> Any:
    return lambda data: data["policy_kwargs"].update(options)


def policy_of(module: str) -> Any:
    return lambda data: data["policy_class"].update(__module__=module)


IMAGE = {"dtype": "uint8", "_shape": [1, 1, 2], "low": "[[[0 0]]]", "high": "[[[255 255]]]"}
REFUSED_FOR_ATTRIBUTES = {
    r"activation.LeakyReLU'>; sparl's networks have ReLU, Tanh, ELU, SiLU": option(
        activation_fn="<class 'torch.nn.modules.activation.LeakyReLU'>"
    ),
    r"its policy is from 'my\\nmodule'\); sparl imports": policy_of("my\nmodule"),
    r"features extractor <class '__main__.Mine'>": option(
        features_extractor_class="<class '__main__.Mine'>"
    ),
    r"observations of <class 'gymnasium.spaces.dict.Dict'>.*FlattenObservation": (
        lambda data: data["observation_space"].update(
            {":type:": "<class 'gymnasium.spaces.dict.Dict'>"}
        )
    ),
    # As the file has them that its library writes.
    r"bytes of three axes .* divides by 255 .*'normalize_images': False": (
        lambda data: data["observation_space"].update(IMAGE)
    ),
    r"its policy is from 'sb3_contrib.common.recurrent.policies'\); sparl imports": policy_of(
        "sb3_contrib.common.recurrent.policies"
    ),
    "saved by SBX, which keeps its networks as a pickle": policy_of("sbx.td3.policies"),
    "gamma '0.9', which should be a number": lambda data: data.update(gamma="0.9"),
    "not as Stable-Baselines3's": lambda data: data.pop("observation_space"),
    "batch_size 1.5, which should be a whole": lambda data: data.update(batch_size=1.5),
    "gamma is 1.5": lambda data: data.update(gamma=1.5),
}


@pytest.mark.parametrize("message", REFUSED_FOR_ATTRIBUTES)
def test_agents_without_an_equal_in_sparl_are_refused(message, tmp_path):
    path = with_data("td3", tmp_path, REFUSED_FOR_ATTRIBUTES[message])
    with pytest.raises(SparlError, match=message):
        sparl.import_sb3(path, ENVS["td3"], out=tmp_path / "run", **FEW)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("change", [{"dtype": "int8"}, {"_shape": [1, 2]}, {"high": "[[[255 9]]]"}])
def test_bytes_that_its_library_does_not_divide_are_taken(change, tmp_path):
    def alter(data: dict[str, Any]) -> None:
        data["observation_space"].update(IMAGE | change)

    assert sb3.read(with_data("td3", tmp_path, alter)).parts

    def undivided(data: dict[str, Any]) -> None:
        data["observation_space"].update(IMAGE)
        data["policy_kwargs"].update(normalize_images=False)

    assert sb3.read(with_data("td3", tmp_path, undivided)).parts


def test_a_schedule_goes_on_with_its_last_learning_rate_or_with_a_given_one(tmp_path):
    """A function is pickled; the number that it came to stands in the optimizer's file."""
    schedule = {":type:": "<class 'function'>", ":serialized:": "gAWV"}
    path = with_data("td3", tmp_path, lambda data: data.update(learning_rate=schedule))
    trained = sb3.read(path)
    assert trained.agent.learning_rate == 1e-3
    assert "its learning rate followed a schedule: here it stays at the last" in trained.notes[0]
    assert sb3.read(path, 2e-4).agent.learning_rate == 2e-4


def test_a_fixed_entropy_coefficient_stays_fixed():
    agent = sb3.read(saved("sac_tanh")).agent
    assert isinstance(agent, sparl.SAC)
    assert agent.ent_coef == pytest.approx(0.2) and "temperature" not in agent.due(1)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"actor_target.mu.0.weight", b"features_extractor.cnn.w", "features extractor with weig"),
        (b"actor.mu.0.weight", b"actor.mu.0.norm_w", "'actor.mu.0.norm_w': no part of a plain MLP"),
        (b"actor.mu.2", b"actor.mu.3", r"actor.mu has its linear layers at \[0, 3, 4\]"),
        (b"actor.mu.2.bias", b"actor.mu.6.bias", r"lacks 'actor.mu.2.bias'"),
    ],
)
def test_networks_that_are_no_plain_mlp_are_refused(old, new, message, tmp_path):
    path = with_pickle("td3", tmp_path, lambda pickled: pickled.replace(old, new))
    with pytest.raises(SparlError, match=message):
        sparl.import_sb3(path, ENVS["td3"], out=tmp_path / "run", **FEW)
    assert not (tmp_path / "run").exists()


def test_optimizers_other_than_adam_start_afresh_with_a_note(tmp_path):
    optimizer = "<class 'torch.optim.rmsprop.RMSprop'>"
    trained = sb3.read(with_data("td3", tmp_path, option(optimizer_class=optimizer)))
    assert all(part.moments is None for part in trained.parts.values())
    assert trained.notes[0] == (
        "actor.optimizer is not Adam as sparl has it: its moments start afresh"
    )
    assert int(adam_state(trained.learner().parts["actor"].optimizer).count) == 0


def test_damaged_and_foreign_files_are_refused(tmp_path):
    content = saved("td3").read_bytes()
    files: dict[str, tuple[bytes, type[Exception], str]] = {
        "cut.zip": (content[: len(content) // 2], BadFile, "cut.zip is truncated, or not as"),
        "empty.zip": (b"", BadFile, "truncated, or no zip"),
        "vecnormalize.pkl": (b"\x80\x04.", BadValue, "is a pickle, .* VecNormalize"),
        "weights.zip": (
            rezipped(content, lambda name, was: None if name == "policy.pth" else was),
            BadFile,
            "no policy.pth",
        ),
        "other.zip": (
            rezipped(content, lambda name, was: None if name == "data" else was),
            BadFile,
            "not as Stable-Baselines3's model.save writes it",
        ),
    }
    for name, (altered, error, message) in files.items():
        (tmp_path / name).write_bytes(altered)
        with pytest.raises(error, match=message):
            sb3.read(tmp_path / name)
    with pytest.raises(BadFile, match="nowhere is missing"):
        sb3.read(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "env", "message"),
    [
        ("td3", "Pendulum-v1", r"Pendulum-v1 has observations \(3,\) and 1 .*with \(2,\) and 1"),
        ("td3", "CartPole-v1", "td3 needs continuous ones"),
        ("td3", "Wide-v0", r"low \(-2.0,\); the agent was trained with \(-1.0,\)"),
        ("td3", "NoSuchThing-v0", "NoSuchThing-v0"),
        ("dqn", "environments:Steps-v0", r"\(2,\) and 3 actions; .* \(4,\) and 2"),
    ],
)
def test_environments_with_other_spaces_are_refused(name, env, message, tmp_path):
    with pytest.raises(BadEnvironment, match=message):
        sparl.import_sb3(saved(name), env, out=tmp_path / "run", **FEW)
    assert not (tmp_path / "run").exists()


class Wide(environments.Point):
    action_space = gym.spaces.Box(np.float32([-2.0]), np.float32([3.0]))


gym.register("Wide-v0", Wide, max_episode_steps=20, disable_env_checker=True)


def test_choices_numbered_otherwise_are_refused():
    spaces = Spaces((4,), (), (), (), choices=2, first=1)
    with pytest.raises(BadEnvironment, match="counts its choices from 1, and the agent from 0"):
        sb3.read(saved("dqn")).refuse_other_spaces("Shifted-v0", spaces)
    several = Spaces((4,), (1,), (), (), choices=2, nvec=(2,), starts=(1,))
    with pytest.raises(
        BadEnvironment, match=r"counts its choices from \(1,\), and the agent from 0"
    ):
        sb3.read(saved("dqn")).refuse_other_spaces("Shifted-v0", several)


def test_a_folder_with_another_run_is_left_unchanged(imported):
    before = {p: p.read_bytes() for p in imported["td3"].rglob("*") if p.is_file()}
    with pytest.raises(BadRun, match="already holds another run"):
        sparl.import_sb3(saved("td3"), ENVS["td3"], out=imported["td3"], **FEW)
    assert before == {p: p.read_bytes() for p in imported["td3"].rglob("*") if p.is_file()}


def test_an_agent_just_trained_is_imported_pruned_played_and_exported(tmp_path: Path):
    """The whole way, with an agent that Stable-Baselines3 trains here."""
    reason = "needs Stable-Baselines3 and PyTorch, which the tests do without elsewhere"
    library = pytest.importorskip("stable_baselines3", reason=reason)
    pytest.importorskip("torch").set_num_threads(1)
    options = {"net_arch": {"pi": [32, 32], "qf": [48, 48]}}
    common = {"batch_size": 64, "seed": 1, "device": "cpu"}
    model = library.TD3("MlpPolicy", "Pendulum-v1", policy_kwargs=options, **common)
    model.learn(2_000)
    model.save(tmp_path / "agent")
    folder = tmp_path / "dense"
    arguments = ["--env", "Pendulum-v1", "--steps", "500", "--out", str(folder), "--quiet"]
    assert main(["import", "sb3", str(tmp_path / "agent.zip"), *arguments]) == 0
    observations = np.random.default_rng(0).normal(size=(1000, 3)).astype(np.float32)
    expected = model.predict(observations, deterministic=True)[0]
    actions, _ = sparl.load(folder).predict(observations)
    assert np.abs(actions - expected).max() <= 1e-6 * 4  # from -2 to 2
    one, _ = sparl.load(folder).predict(observations[0])
    assert one.shape == expected[0].shape

    small = tmp_path / "small"
    arguments = ["--method", "rnm", "--pattern", "1:4", "--steps", "1000", "--quiet"]
    assert main(["prune", str(folder), *arguments, "--out", str(small)]) == 0
    assert main(["eval", str(small), "--episodes", "3"]) == 0
    kept = [sum(la.kept for la in sparl.load(run).policy.network.layers) for run in (folder, small)]
    assert kept == [3 * 32 + 32 * 32 + 32, 3 * 32 + 32 * 8 + 32]
    report = sparl.export(small)  # which runs the self-test where there is a compiler
    assert report["error"]["max"] < 1e-5 and report["bytes"] < 0.4 * report["dense_bytes"]


@pytest.mark.parametrize("value", [False, 0])
def test_a_clip_range_of_values_that_is_no_range_is_refused(value, tmp_path):
    path = with_data("ppo", tmp_path, lambda data: data.update(clip_range_vf=value))
    with pytest.raises(SparlError, match="clip_range_v"):
        sb3.read(path)
