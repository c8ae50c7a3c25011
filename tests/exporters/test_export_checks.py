"""What a policy's files may not say: nothing but checked numbers reaches generated code."""

import json
import subprocess
import sys

import numpy as np
import pytest
from policies import policy_of

from sparl.envs import Spaces
from sparl.errors import BadValue
from sparl.exporters import CProgram, compiler, device_network, onnx
from sparl.layouts import Dense
from sparl.networks import Network, Stage, Wiring, plain
from sparl.policy import Policy
from sparl.topology import PerRow

CODE = """__attribute__((constructor)) static void f(void)
{ extern int system(const char *); system("touch ran"); }
"""
"""C that runs as soon as it is loaded."""
IN_HEADER = f"3\n{CODE}#define X "
IN_SOURCE = f"0; return 0; }}\n{CODE}int g(void);\nint g(void) {{ int best = 0; return 0"


def altered(policy, **fields):
    """The policy with other spaces, whatever their types."""
    spaces = Spaces(**vars(policy.spaces))
    for name, value in fields.items():
        object.__setattr__(spaces, name, value)
    return Policy(policy.network, spaces, policy.golden)


def refuse(policy, words):
    with pytest.raises(BadValue, match=words):
        CProgram(policy, device_network(policy, "float32"))
    with pytest.raises(BadValue, match=words):
        onnx.model(policy)


CONTINUOUS = [
    ({"observation_shape": (IN_HEADER,)}, "observation.shape of the policy holds '3.n__attribute"),
    ({"observation_shape": (3.0,)}, "observation.shape of the policy holds 3.0"),
    ({"observation_shape": (True, 3)}, "observation.shape of the policy holds True"),
    ({"observation_shape": (-3,)}, "observation.shape of the policy holds -3"),
    ({"observation_shape": (1000,)}, r"observation.shape of the policy is \(1000,\), but .* 3 inp"),
    ({"action_shape": ("2",)}, "action.shape of the policy holds '2'"),
    ({"action_shape": (3,)}, r"action.shape of the policy is \(3,\), but .* 2 outputs"),
    ({"low": (0.0,)}, r"action.low of the policy is \(0.0,\), but .* 2 outputs"),
    ({"high": (1.0, IN_HEADER)}, "action.high of the policy is .* no finite numbers"),
    ({"high": (1.0, float("nan"))}, "action.high of the policy is .* no finite numbers"),
]
DISCRETE = [
    ({"first": "1); system(0"}, r"action.first of the policy holds '1\); system\(0'"),
    ({"first": 2**31}, "action.first of the policy holds 2147483648"),
    ({"first": 2**31 - 1}, "action.first is 2147483647: .* choices in 32 bits"),
    ({"choices": 4}, "action.choices of the policy is 4, but its network has 2 outputs"),
]


@pytest.mark.parametrize(
    "discrete, fields, words",
    [*((False, *case) for case in CONTINUOUS), *((True, *case) for case in DISCRETE)],
)
def test_spaces_that_are_no_whole_numbers_of_the_network_are_refused(discrete, fields, words):
    refuse(altered(policy_of(["dense"], [3, 2], discrete), **fields), words)


def test_a_wiring_that_the_layers_do_not_have_is_refused():
    policy = policy_of(["dense"] * 2, [3, 4, 2])
    network = policy.network
    for stages, words in [
        ((Stage((0,), "relu"), Stage((2,))), r"stages\[1\].reads of the policy holds 2"),
        ((Stage((0,), "relu"), Stage((1, 0))), r"stages\[1\].reads of .* layer 1's inputs"),
        ((Stage((0,), "relu"), Stage((1,), adds=0)), r"stages\[1\].adds of .* layer 1's outputs"),
        ((Stage((0,), "relu", "layer"), Stage((1,))), r"stages\[0\].norm of .* layer 0's arrays"),
    ]:
        wired = Network(
            network.layers, network.norms, network.input_norms, Wiring(stages, (2,)), True
        )
        refuse(Policy(wired, policy.spaces, np.zeros((0, 3), np.float32)), words)


def test_columns_that_a_layer_does_not_have_are_refused():
    policy = policy_of([PerRow(2)], [3, 2])
    (layer,) = policy.network.layers
    object.__setattr__(layer, "columns", layer.columns.at[-1].set(3))
    refuse(policy, "layer 0 has columns beyond its 3")


def test_weights_that_are_not_finite_are_refused():
    policy = policy_of(["dense"], [3, 2])
    (layer,) = policy.network.layers
    network = plain((Dense(layer.weight.at[0, 0].set(np.nan), layer.bias),), True)
    broken = Policy(network, policy.spaces, policy.golden)
    refuse(broken, "layer 0 of the policy holds NaN or infinity")


@pytest.mark.skipif(compiler() is None, reason="needs a C compiler: cc, gcc or clang")
def test_altered_files_run_no_code_and_write_nothing(tmp_path):
    for part, field, bad in [
        ("observation", "shape", [IN_HEADER]),
        ("action", "first", IN_SOURCE),
    ]:
        policy_of(["dense"], [3, 2], discrete=part == "action").save(tmp_path / part)
        path = tmp_path / part / "policy.json"
        content = json.loads(path.read_text())
        content[part][field] = bad
        del content["digest"]  # as somebody would who wants it to be read
        path.write_text(json.dumps(content))
    # In a process of its own, for here types are checked at every call.
    program = (
        "from sparl.cli import main\n"
        "for part in ('observation', 'action'):\n"
        "    print(main(['export', part, '--out', f'c-{part}']))"
    )
    finished = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["action", "observation"]
    assert finished.stdout == "1\n1\n", finished.stderr
    assert "shape" in finished.stderr and "first" in finished.stderr
