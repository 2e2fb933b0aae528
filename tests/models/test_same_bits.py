# SPDX-License-Identifier: Apache-2.0
"""Same model, same input, same bits: SHA-256 of outputs and of every tensor in between."""

import hashlib

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="NOT RUN: needs pip install 'octavo[onnx]'")

import octavo  # noqa: E402
import witness_models  # noqa: E402
from octavo import _core  # noqa: E402
from octavo.ir import DTYPES  # noqa: E402
from octavo.plan import Plan  # noqa: E402
from octavo.reference import run_int  # noqa: E402

SEED = 20240607
THREADS = (1, 2, 3)
BIG = {model.name for model in witness_models.MODELS if model.big}


def digest(array):
    described = f"{array.dtype} {array.shape} ".encode()
    return hashlib.sha256(described + np.ascontiguousarray(array).tobytes()).hexdigest()


def digests(arrays):
    return {name: digest(array) for name, array in arrays.items()}


class Case:
    """A model with one input, and everything it computes in scalar code on one thread."""

    def __init__(self, path):
        print(f"seed {SEED}")
        self.model = octavo.load(path)
        self.feed = witness_models.feed(onnx.load(path), SEED)
        self.tensors = self.run_all("scalar")

    def run_all(self, isa, threads=1):
        """Every computed value of the graph by name."""
        session = self.model.compile(isa=isa, threads=threads, keep_all=True)
        outputs = session.run(self.feed)
        names = [name for node in self.model.graph.nodes for name in node.outputs]
        return {n: outputs[n] if n in outputs else session.read_tensor(n) for n in names}

    def outputs(self):
        return {info.name: self.tensors[info.name] for info in self.model.outputs}


@pytest.fixture(scope="session")
def cases(model_path):
    made = {}

    def case(name):
        if name not in made:
            made[name] = Case(model_path(name))
        return made[name]

    return case


def test_outputs(cases, model_name, isa):
    case = cases(model_name)
    expected = digests(case.outputs())
    for threads in THREADS[:1] if model_name in BIG and isa == "scalar" else THREADS:
        session = case.model.compile(isa=isa, threads=threads)
        for run in ("first run", "second run"):
            assert digests(session.run(case.feed)) == expected, f"{threads} threads, {run}"
        if isa == "scalar":
            assert {row.isa for row in session.kernels()} == {"scalar"}


def test_every_tensor(cases, model_name, isa):
    case = cases(model_name)
    threads = (1 if model_name in BIG else 3) if isa == "scalar" else 2
    found, expected = digests(case.run_all(isa, threads)), digests(case.tensors)
    different = [name for name in expected if found[name] != expected[name]]
    assert not different, f"{len(different)} of {len(found)} tensors differ, first {different[0]}"


def test_norm(cases, model_name):
    """C++ equals the NumPy norm in every 8-bit tensor; float32 steps lie within rounding."""
    case = cases(model_name)
    expected = run_int(case.model.graph, case.feed, keep=True)
    for name, found in case.tensors.items():
        value = case.model.graph.values[name]
        want = expected[name]
        if not value.is_8bit:
            np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-5, err_msg=name)
            continue
        if value.dtype == "s8" and found.dtype == np.uint8:  # the plan stores q + 128
            want = want.view(np.uint8) ^ np.uint8(0x80)
        np.testing.assert_array_equal(found, want, err_msg=name)


def test_no_choice_of_kernel_changes_a_bit(cases, model_name, isa):
    """Each kernel that some step can run, in every step that can run it."""
    case = cases(model_name)
    expected = digests(case.outputs())
    plan = Plan.from_bytes(case.model.plan_bytes().data)
    steps = _core.tunable_steps(plan, isa)
    for kernel in sorted({name for _, _, names in steps for name in names}):
        chosen = [""] * len(plan.steps)
        for step, _, names in steps:
            chosen[step] = kernel if kernel in names else ""
        session = _core.Session(plan, isa, 2, chosen)
        outputs = {
            t["name"]: np.empty(t["shape"], np.dtype(DTYPES[t["dtype"]])) for t in plan.outputs
        }
        session.run([case.feed[t["name"]] for t in plan.inputs], list(outputs.values()))
        assert digests(outputs) == expected, kernel


@pytest.mark.parametrize("name", ["digits", "mixed_ops", "resnet8"])
def test_batch_is_its_samples(model_path, name, isa):
    model = octavo.load(model_path(name))
    proto = onnx.load(model_path(name))
    (info,) = model.inputs
    samples = [witness_models.feed(proto, SEED + i)[info.name] for i in range(5)]
    session = model.compile(isa=isa, threads=2)
    (batch,) = session.run(np.concatenate(samples)).values()
    for i, sample in enumerate(samples):
        np.testing.assert_array_equal(batch[i : i + 1], *session.run(sample).values())


@pytest.mark.parametrize("name", ["mixed_ops", "qoperator_s8", "kws_ds_cnn"])
def test_saved_plan_gives_the_same_bits(cases, name, isa, tmp_path):
    case = cases(name)
    case.model.save(tmp_path / "m.octavo")
    loaded = octavo.load(tmp_path / "m.octavo")
    assert digests(loaded.compile(isa=isa).run(case.feed)) == digests(case.outputs())


def test_eight_models_of_both_formats():
    kinds = [model.kind for model in witness_models.MODELS]
    assert len(kinds) >= 8 and set(kinds) == {"QDQ", "QOperator"}
