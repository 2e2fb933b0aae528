# SPDX-License-Identifier: Apache-2.0
"""A compiled model, ready to run. Crossing 2 of the architecture: one C++ call per inference."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo import _core
from octavo.errors import InvalidArgumentError, ShapeError
from octavo.ir import DTYPES
from octavo.plan.card import TensorInfo
from octavo.plan.kernels import KernelInfo, kernel_infos

__all__ = [
    "BoundRun",
    "KernelInfo",
    "LayerProfile",
    "Session",
    "TensorInfo",
    "cpu_info",
    "measure_peak",
]

Array = NDArray[Any]
Shapes = tuple[tuple[int, ...], ...]
_MAX_CACHED_SHAPES = 8


@dataclass(frozen=True)
class LayerProfile:
    """One step's time: the fastest and the median of the repeats, in microseconds."""

    kernel: KernelInfo
    us: float
    us_median: float
    gmacs: float | None  # 1e9 multiply-accumulates per second, None where the step has none
    share_of_peak: float | None  # of the int8 peak measured in this process


@lru_cache(maxsize=16)
def measure_peak(isa: str) -> float:
    """int8 GMAC/s of one core, measured once per process by register-only loops of the ISA's own
    dot-product instructions (docs/performance.md). Raises IsaError for an unusable ISA."""
    return float(_core.measure_peak(isa))


def cpu_info() -> dict[str, Any]:
    """The CPU and the instruction sets: brand, CPUs this process may use, cache bytes, and per ISA
    whether this wheel was built with it and whether this CPU offers it; `best_isa` runs by default.
    """
    return {**_core.cpu_info(), "isas": _core.isa_list()}


def _listed(infos: Sequence[TensorInfo]) -> str:
    return ", ".join(str(info) for info in infos)


class BoundRun:
    """Arrays bound to a session once; calling it runs one inference with no checks left to do.

    Write new values into the bound inputs, call, read the bound outputs.
    """

    def __init__(self, core: Any, inputs: dict[str, Array], outputs: dict[str, Array]) -> None:
        self.inputs = inputs
        self.outputs = outputs
        self._run: Callable[[], None] = core.run

    def __call__(self) -> dict[str, Array]:
        """Runs once; returns the bound outputs by name."""
        self._run()
        return self.outputs


class _Executor:
    """A plan prepared for this CPU, for one set of input shapes."""

    def __init__(self, plan: Any, core: Any) -> None:
        self.plan = plan
        self.core = core
        self.shapes: Shapes = tuple(tuple(t["shape"]) for t in plan.inputs)
        self._outputs = [(tuple(t["shape"]), np.dtype(DTYPES[t["dtype"]])) for t in plan.outputs]

    def allocate(self) -> list[Array]:
        """New output arrays."""
        return [np.empty(shape, dtype) for shape, dtype in self._outputs]


class Session:
    """Made by `Model.compile`. Thread-safe: concurrent `run` calls each take their own arena."""

    def __init__(
        self,
        plan: Any,
        infos: tuple[Sequence[TensorInfo], Sequence[TensorInfo]],
        *,
        isa: str | None,
        threads: int,
        reasons: Mapping[str, str],
        replan: Callable[[Shapes], Any] | None,
        tune: Callable[[Any, str | None, int], list[str]] | None = None,
        cache: str | os.PathLike[str] | None = None,
    ) -> None:
        self.inputs, self.outputs = tuple(infos[0]), tuple(infos[1])
        self.isa = isa or os.environ.get("OCTAVO_ISA") or None
        self.threads = threads
        self._reasons = reasons
        self._replan = replan
        self._lock = threading.Lock()
        self._tune = tune
        self._cache = cache
        self._default = self._prepare(plan)
        self._executors = {self._default.shapes: self._default}
        self._last = self._default  # what `read_tensor` reads
        self._run_named: Callable[[Any, Any], dict[str, Array] | None] = self._default.core.named(
            [info.name for info in self.inputs], [info.name for info in self.outputs]
        ).run

    def _prepare(self, plan: Any) -> _Executor:
        kernels = [] if self._tune is None else self._tune(plan, self.isa, self.threads)
        if self._cache is None:
            return _Executor(plan, _core.Session(plan, self.isa, self.threads, kernels))
        from octavo.plan.packed import prepare

        return _Executor(plan, prepare(plan, self.isa, self.threads, kernels, self._cache))

    @property
    def arena_bytes(self) -> int:
        """Bytes of activations, as planned ahead."""
        return int(self._default.plan.arena_bytes)

    @property
    def lower_bound_bytes(self) -> int:
        """No plan with this order of steps can need fewer bytes than this."""
        return int(self._default.plan.lower_bound_bytes)

    @property
    def scratch_bytes(self) -> int:
        """Bytes of working memory beside the arena (padded copies and the like)."""
        return int(self._default.core.scratch_bytes)

    @property
    def packed_bytes(self) -> int:
        """Bytes of weights as packed for this CPU."""
        return int(self._default.core.packed_bytes)

    def run(
        self,
        inputs: Mapping[str, Array] | Array,
        out: Mapping[str, Array] | Array | None = None,
    ) -> dict[str, Array]:
        """One inference. `inputs` maps input names to arrays of exactly the declared dtype and
        shape, C-contiguous and in native byte order; a bare array serves a model with one input.
        `out` likewise names arrays to write instead of allocating. Inputs are never written.

        Raises InvalidArgumentError (names, dtype, order, writability) or ShapeError, naming the
        tensor. Returns name -> array.
        """
        named = self._run_named(inputs, out)  # all in C++, for arguments with nothing special
        if named is not None:
            self._last = self._default
            return named
        arrays = self._named(inputs, self.inputs, "input")
        executor = self._executor_for(arrays)
        results = executor.allocate() if out is None else self._named(out, self.outputs, "output")
        executor.core.run(arrays, results)
        self._last = executor
        return {info.name: array for info, array in zip(self.outputs, results, strict=True)}

    def bind(
        self, inputs: Mapping[str, Array] | Array, out: Mapping[str, Array] | Array | None = None
    ) -> BoundRun:
        """Checks and binds arrays once; the result runs with minimal overhead. Raises as `run`."""
        arrays = self._named(inputs, self.inputs, "input")
        executor = self._executor_for(arrays)
        results = executor.allocate() if out is None else self._named(out, self.outputs, "output")
        names_in = [info.name for info in self.inputs]
        names_out = [info.name for info in self.outputs]
        return BoundRun(
            executor.core.bind(arrays, results),
            dict(zip(names_in, arrays, strict=True)),
            dict(zip(names_out, results, strict=True)),
        )

    def kernels(self) -> list[KernelInfo]:
        """What runs where, in the order of the steps, for the shapes compiled for."""
        return self._kernels(self._default)

    def _kernels(self, executor: _Executor) -> list[KernelInfo]:
        return kernel_infos(executor.plan, executor.core, self._reasons)

    def profile(self, inputs: Mapping[str, Array] | Array, repeats: int = 20) -> list[LayerProfile]:
        """Times every step over `repeats` runs; see `LayerProfile`. Errors as in `run`."""
        arrays = self._named(inputs, self.inputs, "input")
        executor = self._executor_for(arrays)
        timed = executor.core.profile(arrays, executor.allocate(), repeats)
        rows = []
        for kernel, (fastest, median) in zip(self._kernels(executor), timed, strict=True):
            rate = kernel.macs / fastest if kernel.macs and fastest else None
            share = None
            if rate is not None and kernel.precision in ("int8", "dynamic int8"):
                share = rate / (measure_peak(kernel.isa) * max(1, kernel.threads))
            rows.append(LayerProfile(kernel, fastest / 1e3, median / 1e3, rate, share))
        return rows

    def timeline(
        self, inputs: Mapping[str, Array] | Array, repeats: int = 20
    ) -> list[tuple[KernelInfo, float, float]]:
        """(step, start, duration) in microseconds of every step in the fastest of `repeats` runs:
        one run as it happened, while `profile` takes each step's best. Errors as in `run`."""
        arrays = self._named(inputs, self.inputs, "input")
        executor = self._executor_for(arrays)
        times = executor.core.step_times(arrays, executor.allocate(), repeats)
        fastest = min(zip(*times, strict=True), key=sum, default=())
        rows = zip(self._kernels(executor), accumulate(fastest), fastest, strict=True)
        return [(kernel, (end - ns) / 1e3, ns / 1e3) for kernel, end, ns in rows]

    def read_tensor(self, name: str) -> Array:
        """A tensor of the arena after the last run, as the plan stores it (s8 values as u8, +128).
        Only meaningful for a session compiled with `keep_all=True`."""
        return np.asarray(self._last.core.read_tensor(name))

    def _named(
        self, arrays: Mapping[str, Array] | Array, infos: Sequence[TensorInfo], role: str
    ) -> list[Array]:
        """Arrays in the model's order, checked for names and kind; C++ checks the rest."""
        if not isinstance(arrays, Mapping):
            if len(infos) != 1:
                raise InvalidArgumentError(
                    f"the model has {len(infos)} {role}s ({_listed(infos)}): "
                    "pass a dict of name -> array"
                )
            arrays = {infos[0].name: arrays}
        names = {info.name for info in infos}
        if arrays.keys() != names:
            unknown = [name for name in arrays if name not in names]
            missing = [info.name for info in infos if info.name not in arrays]
            raise InvalidArgumentError(
                f"{role}s do not match the model: unknown {unknown}, missing {missing}; "
                f"it has {_listed(infos)}"
            )
        found = []
        for info in infos:
            array = arrays[info.name]
            if not isinstance(array, np.ndarray):
                raise InvalidArgumentError(
                    f"{role} '{info.name}' is a {type(array).__name__}, not a numpy.ndarray: "
                    f"pass np.asarray(value, dtype=np.{np.dtype(DTYPES[info.dtype]).name})"
                )
            found.append(array)
        return found

    def _executor_for(self, arrays: Sequence[Array]) -> _Executor:
        """The executor for these shapes: the compiled one, or one planned now and cached."""
        shapes = tuple(array.shape for array in arrays)
        found = self._executors.get(shapes)
        if found is not None:
            return found
        self._check_shapes(shapes)
        assert self._replan is not None
        with self._lock:
            if shapes not in self._executors:
                made = self._prepare(self._replan(shapes))
                while len(self._executors) >= _MAX_CACHED_SHAPES:
                    oldest = (key for key in self._executors if key != self._default.shapes)
                    self._executors.pop(next(oldest))
                self._executors[shapes] = made
            return self._executors[shapes]

    def _check_shapes(self, shapes: Shapes) -> None:
        for info, shape in zip(self.inputs, shapes, strict=True):
            if not info.takes(shape) or self._replan is None:
                raise ShapeError(
                    f"input '{info.name}' has shape {shape}; the model takes {info}"
                    + (" (a name stands for any size > 0)" if self._replan else "")
                )
