"""DQN, sparse beside dense, on the two classic environments with discrete actions.

    python recipes/dqn.py                                # both studies, in order
    python recipes/dqn.py --studies cartpole --seeds 0   # a part of it

Studies, in this order, 90 % of the weights left out: SET, gradual magnitude pruning, static, dense,
and *tiny*, a dense agent with as many weights:

    cartpole     CartPole-v1, solved at a mean return of 475 over 100 episodes
    lunarlander  LunarLander-v3, solved at 200

All of a study have the same n-step returns, learning rate, batch and evaluation. CartPole needs
3-step returns: with 1-step ones many settings stay at 100 to 150. One run on each core at a time.
Stop it, and the same command goes on where it was. Curves, tables and plots of what is done go to
`results/dqn/`, with the mean return of every final policy over 100 more episodes.
"""

from __future__ import annotations

import gymnasium as gym
from common import main
from jobs import Study, Variant, sparse, width_for
from records import play

HIDDEN = 256
SEEDS = (0, 1, 2, 3, 4)


def tiny(env: str, percent: int) -> Variant:
    """The dense agent of the smallest width with at least as many weights."""
    made = gym.make(env)
    ends = made.observation_space.shape[0] + int(made.action_space.n)
    stored = (HIDDEN**2 + ends * HIDDEN) * (100 - percent) // 100
    width = str(width_for(stored, ends, networks=1))
    return Variant(f"tiny-{percent}", ("--method", "dense", "--hidden", width, width))


def variants(env: str) -> tuple[Variant, ...]:
    dense = Variant("dense", ("--method", "dense"))
    # With the default of today there are no runs yet.
    scaled = (sparse(m, 90, "--keep-norm", called="-keep-norm") for m in ("set", "static"))
    return (*scaled, sparse("magnitude", 90), dense, tiny(env, 90))


def studies() -> dict[str, Study]:
    cartpole, lander = "CartPole-v1", "LunarLander-v3"
    three_steps = ("--agent", "dqn", "--n-step", "3", "--learning-rate", "2.5e-4")
    one_step = ("--agent", "dqn", "--learning-rate", "5e-4")
    often = ("--eval-every", "2500")
    return {
        "cartpole": Study(cartpole, SEEDS, variants(cartpole), 50_000, (*three_steps, *often)),
        "lunarlander": Study(lander, SEEDS, variants(lander), 200_000, one_step),
    }


if __name__ == "__main__":
    for results, done in main(__doc__, "dqn", studies()):
        play(results, done)
