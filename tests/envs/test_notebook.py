"""A class that is defined in a notebook: trained in, and made again by all that comes after."""

import nbclient
import nbformat

CELLS = [
    """
import gymnasium as gym
import numpy as np

import sparl
from sparl.methods import DSP


class Mine(gym.Env):
    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, length=10):
        self.length = length

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.t += 1
        return np.full(2, self.t, np.float32), 1.0, False, self.t == self.length, {}


agent = sparl.TD3(hidden=(8, 8), batch_size=8, learning_starts=20)
options = {"steps": 60, "eval_every": 60, "eval_episodes": 1, "quiet": True}
""",
    """
run = sparl.train(Mine, agent, env_kwargs={"length": 7}, out="run", **options)
assert run.evaluate(1).lengths == (7,)
assert sparl.resume("run", steps=80, quiet=True).evaluate(1).lengths == (7,)
assert sparl.prune("run", DSP(), steps=40, out="pruned", quiet=True).evaluate(1).lengths == (7,)
assert run.report(video=False, quiet=True).exists()
""",
    """
shown = options | {"quiet": False, "log_every": 20}
sparl.train(Mine, agent, out="shown", **shown)
workers = {"envs": 2, "vectorization": "async"}
gym.register("Mine-v0", Mine)
assert sparl.train("Mine-v0", agent, out="id", **workers, **options).evaluate(1).lengths == (10,)
""",
]


def test_a_class_of_a_notebook_is_trained_in_resumed_pruned_and_reported(tmp_path):
    cells = [nbformat.v4.new_code_cell(cell) for cell in CELLS]
    notebook = nbformat.v4.new_notebook(cells=cells)
    client = nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3")
    client.execute(cwd=str(tmp_path))
    assert (tmp_path / "run" / "report.html").exists()
    # Progress is one line that is written anew.
    told = [o["data"]["text/plain"] for o in cells[-1].outputs if o.output_type == "display_data"]
    (line,) = (text for text in told if text.startswith("step "))
    assert line.startswith("step 60/60")
