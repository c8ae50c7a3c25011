"""`--eval-async`: evaluations beside training give what they give when training waits for them."""

from __future__ import annotations

from threading import Event
from typing import Any

import jax
import pytest
from environments import LIMIT, OFTEN, TINY, Point
from interruptions import StopAt, Stopped, outcome

import sparl
from sparl.config import RunConfig
from sparl.envs import episode_seed
from sparl.errors import BadValue, EnvironmentFailed
from sparl.storage import RunFolder

EVALUATED = {episode_seed(0, "eval", i) for i in range(OFTEN["eval_episodes"])}
"""Seeds of the episodes of evaluations."""
LATE = 7
"""Steps that training is ahead before an evaluation goes on."""
OPTIONS = OFTEN | {"max_episode_steps": LIMIT, "normalize_observations": True}


class Gated(Point):
    """The point, whose evaluations wait until they may begin, and may fail."""

    opened = Event()
    broken = False

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict]:
        if seed in EVALUATED:
            assert self.opened.wait(20), "training waits for the evaluation"
            if self.broken:
                raise OSError("out of order")
        return super().reset(seed=seed, options=options)


class Ahead(sparl.Callback):
    """Lets an evaluation begin when training is `LATE` steps further; the last one at once."""

    def on_step(self, step: int) -> None:
        after = step % OPTIONS["eval_every"]
        if after == 0 and step < OPTIONS["steps"]:
            Gated.opened.clear()
        elif after == LATE:
            Gated.opened.set()


class Policies(sparl.Callback):
    """What hooks see of the policies that are evaluated."""

    def on_start(self, trainer: Any) -> None:
        self.trainer, self.seen = trainer, []

    def on_evaluation(self, step: int, evaluation: Any) -> None:
        policy = self.trainer.policy()
        leaves = jax.device_get(jax.tree.leaves(policy.network))
        self.seen.append((step, [leaf.tobytes() for leaf in [*leaves, policy.golden]]))


class StopsAt(sparl.Callback):
    """Ends a run at a step, as a kill would, with an evaluation under way; or breaks what that
    plays in."""

    def __init__(self, step: int, breaks: bool = False) -> None:
        self.step, self.breaks = step, breaks

    def on_step(self, step: int) -> None:
        if step == self.step:
            Gated.broken = self.breaks
            Gated.opened.set()
            if not self.breaks:
                raise Stopped


@pytest.fixture(autouse=True)
def whole_again():
    Gated.opened.set()
    yield
    Gated.broken = False


def train(out, *callbacks, eval_async=True, **options):
    method = sparl.RNM("2:4", interval=15)
    given = OPTIONS | {"eval_async": eval_async, "callbacks": callbacks} | options
    sparl.train(Gated, TINY, method, out=out, **given)
    return outcome(out)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What a run gives that waits for its evaluations, and the policies that they were of."""
    Gated.opened.set()
    policies = Policies()
    out = tmp_path_factory.mktemp("whole") / "run"
    return train(out, policies, eval_async=False), policies.seen


def test_evaluations_beside_training_are_of_the_weights_of_their_step(whole, tmp_path):
    expected, seen = whole
    policies = Policies()
    assert train(tmp_path / "run", Ahead(), policies) == expected
    assert policies.seen == seen


@pytest.mark.parametrize("stops", [StopAt(checkpoint=3), StopsAt(103)])
def test_a_run_that_was_killed_with_an_evaluation_under_way_makes_it_again(stops, whole, tmp_path):
    with pytest.raises(Stopped):
        train(tmp_path / "run", Ahead(), stops)
    sparl.resume(tmp_path / "run", callbacks=[Ahead()], quiet=True)
    assert outcome(tmp_path / "run") == whole[0]


def test_an_environment_that_fails_beside_training_leaves_the_checkpoint_before(whole, tmp_path):
    with pytest.raises(EnvironmentFailed, match=r"OSError in an evaluation.*that of step 100.*"):
        train(tmp_path / "run", Ahead(), StopsAt(103, breaks=True))
    assert max(RunFolder(tmp_path / "run").checkpoints.steps()) <= 100
    Gated.broken = False
    sparl.resume(tmp_path / "run", quiet=True)
    assert outcome(tmp_path / "run") == whole[0]


def test_a_return_ends_a_run_at_the_same_step_however_fast_evaluations_are(tmp_path):
    ended = []
    for name, callbacks in {"late": [Ahead()], "at_once": [], "waits": None}.items():
        beside = callbacks is not None
        train(tmp_path / name, *(callbacks or ()), eval_async=beside, stop_at_return=-1e9)
        summary = RunFolder(tmp_path / name).read_summary()
        ended.append((summary["steps"], summary["ended"], summary["evals"]))
    assert ended[0] == ended[1] and ended[0][2][-1]["step"] == ended[0][0]
    assert ended[2][2][0] == ended[0][2][0]  # the run that waits ends at the end of an episode, too
    assert 50 < ended[0][0] < OPTIONS["steps"] and "at step 50" in ended[0][1]


def test_one_environment_for_both_is_refused():
    with pytest.raises(BadValue, match=r"eval_env is shared.*Leave eval_async out"):
        RunConfig("Pendulum-v1", eval_env="shared", eval_async=True)
