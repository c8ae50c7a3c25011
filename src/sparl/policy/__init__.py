"""Trained policies: what is left of an agent when training is over."""

from sparl.policy.policy import GOLDEN, TOLERANCE, Policy, predict

__all__ = ["GOLDEN", "TOLERANCE", "Policy", "predict"]
