"""Collection by many actors on Ray, prioritised replay and one learner, as in Ape-X (1803.00933).

The process that the user starts is the learner. It has the same `Trainer` as any run, with its run
folder, checkpoints and logs, but holds a `RayCollector`. Actors step environments in processes of
their own, on this machine or on others of a Ray cluster. The replay is in another process on the
learner's machine. A rate limiter keeps the ratio of updates to transitions. So the speed of actors
and learner changes the time that a run takes, and not how often it learns from a transition.
"""

from sparl.distributed.actor import Actor, Order
from sparl.distributed.cluster import connected
from sparl.distributed.collector import RayCollector
from sparl.distributed.rate_limiter import RateLimiter
from sparl.distributed.remote_replay import ReplayServer
from sparl.distributed.weights import Publisher, Received

__all__ = [
    "Actor",
    "Order",
    "Publisher",
    "RateLimiter",
    "RayCollector",
    "Received",
    "ReplayServer",
    "connected",
]
