"""Methods: when and how layouts change. They know nothing of environments or agents."""

from sparl.methods.base import Method
from sparl.methods.dense import Dense
from sparl.methods.rnm import RNM

METHODS: dict[str, type[Method]] = {method.name: method for method in (Dense, RNM)}

__all__ = ["METHODS", "RNM", "Dense", "Method"]
