"""PPO beside Stable-Baselines3's at equal steps and settings, and sparse PPO beside dense.

    python recipes/ppo.py                                          # ours
    sb3/bin/python recipes/sb3_ppo.py --env CartPole-v1 --seed 0   # theirs: see there

Three seeds each; the settings are those of the RL Zoo but for schedules of the clip range. The
studies are files in `recipes/studies/`:

    cartpole      CartPole-v1, 100,000 steps
    lunarlander   LunarLander-v3, 1,000,000 steps (the Zoo's)
    halfcheetah   HalfCheetah-v5, 300,000 steps

    dense         as Stable-Baselines3's
    rnm-1-8       the hidden layer of the policy and of the value at 1:8
    dsp           neurons cut while it trains
    tiny          dense networks of as many weights as those at 1:8

Stop it, and the same command goes on where it was. Curves and tables go to `results/ppo/`.
"""

from __future__ import annotations

from swept import main

if __name__ == "__main__":
    main(__doc__, "ppo", ("cartpole", "lunarlander", "halfcheetah"))
