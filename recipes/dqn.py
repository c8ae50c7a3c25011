"""DQN, sparse beside dense, on the two classic environments with discrete actions.

    python recipes/dqn.py                                # both studies, in order
    python recipes/dqn.py --studies cartpole --seeds 0   # a part of it

Studies, in this order, five seeds each, 90 % of the weights left out: SET, gradual magnitude
pruning, static, dense, and *tiny*, a dense agent with as many weights; they are files in
`recipes/studies/`:

    cartpole     CartPole-v1, solved at a mean return of 475 over 100 episodes
    lunarlander  LunarLander-v3, solved at 200

All of a study have the same n-step returns, learning rate, batch and evaluation. Stop it, and the
same command goes on where it was. Curves, tables and plots of what is done go to `results/dqn/`,
with the mean return of every final policy over 100 more episodes.
"""

from __future__ import annotations

from final_policies import play
from swept import main

if __name__ == "__main__":
    main(__doc__, "dqn", ("cartpole", "lunarlander"), after=play)
