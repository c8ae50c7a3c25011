"""Collection by many actors on Ray, prioritised replay and one learner, as in Ape-X (1803.00933).

The process that was started is the learner. It is the `Trainer` of any run, with its run folder,
checkpoints and logs, and holds a `RayCollector`. Actors step environments in processes of their
own, on this machine or on others of a Ray cluster; the replay is in one more, beside the learner. A
rate limiter holds updates and transitions at their ratio, so how fast anybody is changes the time
that a run takes and not what it learns from.
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
