"""The functions that exported C has in place of a library's: beside NumPy's in float64."""

import ctypes
import shlex
import subprocess

import numpy as np
import pytest

from sparl.exporters import compiler, template_text

pytestmark = pytest.mark.skipif(compiler() is None, reason="needs a C compiler: cc, gcc or clang")

PARTS = ("exp_less_1", "tangent", "swish", "elu")
NUMBERS = np.concatenate([np.linspace(-100, 100, 40_001), np.geomspace(1e-30, 1e30, 2_001)])
NUMBERS = np.concatenate([NUMBERS, -NUMBERS, [0.0]]).astype(np.float32)


@pytest.fixture(scope="module", params=["-O2", "-O3 -ffast-math"])
def functions(request, tmp_path_factory):
    """The functions by name, compiled with and without the liberties of -ffast-math."""
    folder = tmp_path_factory.mktemp("functions")
    source = "#include <stdint.h>\n" + "".join(template_text(f"parts/{name}.c") for name in PARTS)
    source += "".join(f"float call_{name}(float y) {{ return {name}(y); }}\n" for name in PARTS)
    (folder / "functions.c").write_text(source)
    cc = shlex.split(compiler())
    # In two steps: what is linked with -ffast-math flushes small numbers of the whole process.
    for command in (
        [*cc, *request.param.split(), "-std=c99", "-fPIC", "-c", "functions.c"],
        [*cc, "-shared", "-o", "functions.so", "functions.o"],
    ):
        subprocess.run(command, cwd=folder, check=True)
    library = ctypes.CDLL(str(folder / "functions.so"))
    found = {}
    for name in PARTS:
        function = library[f"call_{name}"]
        function.argtypes, function.restype = [ctypes.c_float], ctypes.c_float
        found[name] = lambda ys, called=function: np.array([called(y) for y in np.ravel(ys)])
    return found


def test_the_tangent_is_right_everywhere(functions):
    expected = np.tanh(NUMBERS.astype(np.float64))
    assert np.abs(functions["tangent"](NUMBERS) - expected).max() < 2e-7
    assert functions["tangent"](np.inf) == 1 and functions["tangent"](-np.inf) == -1


def test_elu_is_right_below_zero_and_swish_everywhere(functions):
    exact = NUMBERS.astype(np.float64)
    below = exact <= 0
    assert np.abs(functions["elu"](NUMBERS[below]) - np.expm1(exact[below])).max() < 2e-7
    assert (functions["elu"](NUMBERS[~below]) == NUMBERS[~below]).all()
    expected = exact / (1 + np.exp(np.minimum(-exact, 700)))
    assert (np.abs(functions["swish"](NUMBERS) - expected) / (1 + np.abs(expected))).max() < 3e-7


@pytest.mark.parametrize("name", PARTS)
def test_what_is_no_number_stays_none(functions, name):
    assert np.isnan(functions[name](np.nan))
