"""Exported C steers the simulator, as on a device: what it sees is what its own actions led to."""

import ctypes
import subprocess

import gymnasium as gym
import numpy as np
import pytest

import sparl
from sparl.exporters import compiler

ENV, STEPS = "HalfCheetah-v5", 200
NEAR = 1e-2
"""Metres and radians after so many steps, in which contacts make more of any rounding."""


class Firmware:
    """What a device does 20 times a second: `policy_act` of the export, compiled by itself."""

    def __init__(self, export, folder):
        library = folder / "firmware.so"
        build = [*compiler().split(), "-O2", "-std=c99", "-shared", "-fPIC", "-o", library]
        subprocess.run([*build, export / "policy.c", "-lm"], check=True)
        self._act = ctypes.CDLL(str(library)).policy_act
        self._scratch = np.zeros(4096, np.float32)

    def __call__(self, observation):
        seen, action = np.asarray(observation, np.float32), np.empty(6, np.float32)
        arrays = (seen, action, self._scratch)
        assert self._act(*(ctypes.c_void_p(array.ctypes.data) for array in arrays)) == 0
        return action


def positions(act):
    """Where the robot and its joints are at every step of an episode, [steps, 9]."""
    env = gym.make(ENV)
    observation, _ = env.reset(seed=5)
    at = []
    for _ in range(STEPS):
        observation, *_ = env.step(act(observation))
        at.append(env.unwrapped.data.qpos.copy())
    env.close()
    return np.array(at)


@pytest.mark.skipif(compiler() is None, reason="needs a C compiler: cc, gcc or clang")
@pytest.mark.parametrize("pattern", ["1:8", "2:4x4"])
def test_the_walk_by_the_c_is_that_by_the_policy(pattern, tmp_path):
    agent = sparl.TD3(hidden=(32, 32), batch_size=16, learning_starts=50)
    options = {"steps": 150, "eval_episodes": 1, "quiet": True}
    method = sparl.RNM(pattern, sparse_layers="all")
    sparl.train(ENV, agent, method, out=tmp_path / "run", **options)
    sparl.export(tmp_path / "run", "c", out=tmp_path / "c")
    policy = sparl.load(tmp_path / "run")
    expected = positions(lambda observation: policy.predict(observation)[0])
    steered = positions(Firmware(tmp_path / "c", tmp_path))
    assert np.abs(steered - expected).max() < NEAR
    still = positions(lambda observation: np.zeros(6, np.float32))
    assert np.abs(steered - still).max() > 10 * NEAR
