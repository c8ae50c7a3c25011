"""Exported ONNX, run by onnxruntime: what it computes, and its operators and shapes."""

import json
from dataclasses import replace

import numpy as np
import pytest
from policies import KINDS, observations, policy_like, policy_of

import sparl
from sparl.envs import Spaces, inner_float32
from sparl.errors import BadRun, BadValue
from sparl.exporters import onnx as exporter
from sparl.exporters.comparing import check_onnx
from sparl.policy import Policy
from sparl.topology import NofM

onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
pytest.importorskip("onnxruntime", reason="needs the extra onnx")


@pytest.mark.parametrize("name, discrete", [*((n, False) for n in KINDS), ("blocks", True)])
def test_onnxruntime_gives_what_the_policy_gives(name, discrete):
    policy = policy_like(name, discrete)
    tried = observations(policy.spaces.observation_size, 10_000)
    session = exporter.session(exporter.model(policy).SerializeToString())
    names = [output.name for output in session.get_outputs()]
    outputs = dict(zip(names, session.run(names, {"observation": tried}), strict=True))
    expected = policy.predict(tried)[0]
    if discrete:
        values = policy.outputs(tried)
        assert np.abs(outputs["q_value"] - values).max() < 1e-5
        # Where the two best values are almost equal, either may be chosen.
        clear = np.diff(np.sort(values, axis=1)[:, -2:], axis=1)[:, 0] > 1e-4
        assert np.array_equal(outputs["action"][clear], expected[clear]) and clear.mean() > 0.9
        assert outputs["action"].dtype == np.int64
    else:
        assert np.abs(outputs["action"] - expected).max() < 1e-5


def test_observations_and_actions_have_the_shapes_of_the_environment():
    flat = policy_like("one layer")
    spaces = Spaces((3, 3), (2, 2), flat.spaces.low, flat.spaces.high)
    policy = Policy(flat.network, spaces, flat.golden)
    session = exporter.session(exporter.model(policy).SerializeToString())
    tried = observations(9, 5).reshape(5, 3, 3)
    (actions,) = session.run(["action"], {"observation": tried})
    assert actions.shape == (5, 2, 2)
    np.testing.assert_allclose(actions, policy.predict(tried)[0], atol=1e-6)


def test_actions_stay_within_bounds_that_no_float32_equals():
    flat = policy_like("one layer")
    spaces = Spaces((9,), (4,), (-0.1, -0.1, 0.1, -1e-50), (0.1, 0.3, 0.7, 1e300))
    policy = Policy(flat.network, spaces, flat.golden)
    session = exporter.session(exporter.model(policy).SerializeToString())
    (actions,) = session.run(["action"], {"observation": observations(9, 200) * 1e4})
    actions = actions.astype(np.float64)
    assert (actions >= spaces.low).all() and (actions <= spaces.high).all()
    bounds = inner_float32(spaces.low, spaces.high)
    assert np.array_equal(actions.min(0), bounds[0]) and np.array_equal(actions.max(0), bounds[1])


def test_a_small_action_beside_a_large_one_is_compared_by_its_own_size():
    flat = policy_like("one layer")
    low, high = (-0.1, 1e6, -1.0, 0.0), (0.3, 2e6, 1.0, 1e-3)
    policy = Policy(flat.network, Spaces((9,), (4,), low, high), flat.golden)
    model = exporter.model(policy).SerializeToString()
    report = check_onnx(policy, model, observations(9, 200))
    assert report["error"]["max"] < 1e-5
    for i, (least, most) in enumerate([(-0.1, 0.31), (1e6, 2.1e6), (-1.0, 1.1), (0.0, 1.1e-3)]):
        others = (*low[:i], least, *low[i + 1 :]), (*high[:i], most, *high[i + 1 :])
        other = Policy(flat.network, Spaces((9,), (4,), *others), flat.golden)
        with pytest.raises(BadRun, match="actions differ from the policy's by"):
            check_onnx(other, model, observations(9, 200))


def test_the_model_has_standard_operators_and_always_the_same_bytes():
    model, again = (exporter.model(policy_like("mixed")) for _ in range(2))
    assert {node.domain for node in model.graph.node} == {""}
    assert model.SerializeToString(deterministic=True) == again.SerializeToString(
        deterministic=True
    )
    onnx.checker.check_model(model, full_check=True)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    agent = sparl.SAC(hidden=(16, 16), learning_starts=100)
    sparl.train("Pendulum-v1", agent, steps=200, out=folder, quiet=True, eval_episodes=1)
    return folder


def test_the_report_has_the_bytes_and_the_error(run, tmp_path):
    report = sparl.export(run, "onnx", tmp_path / "onnx")
    assert json.loads((tmp_path / "onnx" / "export.json").read_text()) == report
    assert report["bytes"] == (tmp_path / "onnx" / "policy.onnx").stat().st_size
    assert report["error"]["observations"] == 1200 and report["error"]["max"] < 1e-5


def test_actions_of_a_coarser_type_are_compared_as_such(run, tmp_path):
    policy = sparl.load(run).policy
    coarse = replace(policy.spaces, dtype="float16")
    saved = Policy(policy.network, coarse, policy.golden, policy.normalization)
    saved.save(tmp_path / "policy")
    assert sparl.export(tmp_path / "policy", "onnx", tmp_path / "onnx")["error"]["max"] < 1e-3


def test_types_other_than_float32_are_refused(run):
    with pytest.raises(BadValue, match="dtype is int8: ONNX is exported in float32"):
        sparl.export(run, "onnx", dtype="int8")


def test_a_missing_package_is_named(run, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(BadValue, match=r"the package onnx.*pip install \"sparl\[onnx\]\""):
        sparl.export(run, "onnx")


def test_two_of_four_weights_stay_two_of_four_along_the_inputs():
    """What TensorRT's sparse tactics ask of a constant, [out, in] with transB."""
    policy = policy_of([NofM(2, 4), NofM(2, 4), "dense"], [16, 40, 36, 6])
    model = exporter.model(policy)
    weights = {c.name: onnx.numpy_helper.to_array(c) for c in model.graph.initializer}
    gemms = [node for node in model.graph.node if node.op_type == "Gemm"]
    assert all({a.name: a.i for a in node.attribute}["transB"] == 1 for node in gemms)
    *sparse, head = (weights[node.input[1]] for node in gemms)
    for weight, (outputs, inputs) in zip(sparse, [(40, 16), (36, 40)], strict=True):
        assert weight.shape == (outputs, inputs)
        assert (np.count_nonzero(weight.reshape(outputs, -1, 4), axis=2) == 2).all()
    assert np.count_nonzero(head) == head.size
