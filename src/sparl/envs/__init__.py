"""Environments: how they are found and made, their spaces, and wrappers."""

from sparl.envs.arrival import Arrival, copied, scalar
from sparl.envs.bounds import inner_float32
from sparl.envs.check import Checked, Finding, check
from sparl.envs.entries import Entry, entries_of, flatten_batch, space_of, structure_of
from sparl.envs.failures import failures_told
from sparl.envs.frames import Stack, stack
from sparl.envs.maker import EnvMaker, WrapperSpec, by_name, make, wrapper_specs
from sparl.envs.objects import Described, describe
from sparl.envs.read_spaces import spaces_for, spaces_of
from sparl.envs.seeds import episode_seed
from sparl.envs.sources import OBJECT, EnvPoolId, Object, Registered, find, folder_name
from sparl.envs.spaces import Spaces
from sparl.envs.views import narrowed, views_of
from sparl.envs.wrappers import NoiseInputs, SelectInputs, wrapped

__all__ = [
    "OBJECT",
    "Arrival",
    "Checked",
    "Described",
    "Entry",
    "EnvMaker",
    "EnvPoolId",
    "Finding",
    "NoiseInputs",
    "Object",
    "Registered",
    "SelectInputs",
    "Spaces",
    "Stack",
    "WrapperSpec",
    "by_name",
    "check",
    "copied",
    "describe",
    "entries_of",
    "episode_seed",
    "failures_told",
    "find",
    "flatten_batch",
    "folder_name",
    "inner_float32",
    "make",
    "narrowed",
    "scalar",
    "space_of",
    "spaces_for",
    "spaces_of",
    "stack",
    "structure_of",
    "views_of",
    "wrapped",
    "wrapper_specs",
]
