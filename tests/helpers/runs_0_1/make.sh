#!/bin/sh
# Made the runs of this folder, with sparl 0.1.0; tb, locks and older checkpoints were then removed.
# Then golden.py asked their policies.
often="--batch-size 8 --learning-starts 40 --eval-episodes 1 --buffer-size 1000 --quiet"
sparl train Pendulum-v1 --method rnm --pattern 2:4 --interval 15 --hidden 4 4 --steps 400 \
    --eval-every 200 --checkpoint-every 100 --log-every 50 $often --out td3-rnm
sparl train CartPole-v1 --agent dqn --method dsp --interval 15 --begin 0.1 --end 0.6 \
    --tolerance 1 --hidden 8 8 --learning-rate 0.01 --seed 1 --steps 150 --eval-every 50 \
    --checkpoint-every 40 --log-every 25 $often --out dqn-dsp
