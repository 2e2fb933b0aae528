# SPDX-License-Identifier: Apache-2.0
"""What a bisection found, as a tiny model that shows the error, and how to look at it."""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.analysis.metrics import noise_ratio, ratio_db
from octavo.errors import InvalidArgumentError, OctavoError
from octavo.files import write_atomic
from octavo.ir import Graph, Node, Value
from octavo.model import Model
from octavo.quant import QRANGE
from octavo.reference import real_value

__all__ = ["Culprit", "hints"]

Array = NDArray[Any]
#: A range this many times wider than what the tensor uses wastes 4 of its 8 bits.
_WASTED = 16.0


@dataclass(frozen=True, eq=False)
class Culprit:
    """The smallest part found. SQNR in dB at the model's outputs: of the `whole` quantized model,
    with only what is in front of the part quantized (`before`), with only the part (`alone`); for
    the criterion "mismatch", at the cut. `runs` of the `bound` were needed to search `places`.

    `part` is the part with float32 inputs and outputs; `inputs`, what it gives (`outputs`) and
    should give (`expected`) are arrays by its names.
    """

    criterion: str
    nodes: tuple[str, ...]
    ops: tuple[str, ...]
    whole_db: float
    before_db: float
    alone_db: float
    runs: int
    bound: int
    places: int
    hints: tuple[str, ...]
    part: Graph = field(repr=False)
    inputs: Mapping[str, Array] = field(repr=False)
    outputs: Mapping[str, Array] = field(repr=False)
    expected: Mapping[str, Array] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; infinite figures are None."""

        def finite(number: float) -> float | None:
            return number if math.isfinite(number) else None

        return {
            "criterion": self.criterion,
            "nodes": list(self.nodes),
            "ops": list(self.ops),
            "sqnr_db": {
                "whole": finite(self.whole_db),
                "before": finite(self.before_db),
                "alone": finite(self.alone_db),
            },
            "runs": self.runs,
            "bound": self.bound,
            "places": self.places,
            "hints": list(self.hints),
            "inputs": list(self.inputs),
            "outputs": list(self.expected),
        }

    def write(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Writes culprit.octavo and culprit.onnx (where the part has an ONNX form and the extra
        `octavo[onnx]` is there), inputs.npz, expected.npz, got.npz, culprit.json and README.txt
        into `folder`, which is made; returns the files.

        Raises InvalidArgumentError where the folder cannot be written.
        """
        target = Path(folder)
        try:
            target.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidArgumentError(f"cannot make '{target}': {error.strerror}") from error
        model, notes = Model(self.part), []
        files = [target / "culprit.octavo"]
        model.save(files[0])
        try:
            model.to_onnx(target / "culprit.onnx")
            files.append(target / "culprit.onnx")
        except OctavoError as error:
            notes.append(f"culprit.onnx was not written: {error}")
        for title in ("inputs", "expected", "got"):
            files.append(target / f"{title}.npz")
            arrays = {"inputs": self.inputs, "expected": self.expected, "got": self.outputs}[title]
            write_atomic(files[-1], _npz(arrays))
        for title, text in (
            ("culprit.json", json.dumps(self.to_dict(), indent=2) + "\n"),
            ("README.txt", self._readme(notes)),
        ):
            files.append(target / title)
            write_atomic(files[-1], text.encode())
        return files

    def _readme(self, notes: Sequence[str]) -> str:
        what = (
            "differs from the integer norm (docs/numerics.md): a bug of a kernel"
            if self.criterion == "mismatch"
            else f"alone brings the model's outputs to {self.alone_db:.1f} dB SQNR; all of the "
            f"model is at {self.whole_db:.1f} dB, what is in front of this part "
            f"at {self.before_db:.1f} dB"
        )
        nodes = ", ".join(f"{n} ({o})" for n, o in zip(self.nodes, self.ops, strict=True))
        return "\n".join(
            [
                f"{nodes}: {what}.",
                *self.hints,
                *notes,
                "",
                "See the error of this part on its own, from its right inputs:",
                "    import numpy as np, octavo",
                '    session = octavo.load("culprit.octavo").compile()',
                '    got = session.run(dict(np.load("inputs.npz")))',
                '    for name, right in np.load("expected.npz").items():',
                "        print(name, np.abs(got[name] - right).max(), np.abs(right).max())",
                "",
                f"found in {self.runs} runs (at most {self.bound}) among {self.places} places",
                "",
            ]
        )


def _npz(arrays: Mapping[str, Array]) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)  # type: ignore[arg-type]  # the names are the file's
    return stream.getvalue()


def hints(
    graph: Graph,
    nodes: Sequence[Node],
    names: Mapping[str, str],
    truth: Mapping[str, Array],
    weights: Mapping[str, Array],
) -> tuple[str, ...]:
    """What looks wrong with these nodes, from their parameters alone: ranges that do not fit the
    right tensors (`truth`, by the reference's `names`), weights far from the float ones."""
    found = []
    for node in nodes:
        for value in graph.outputs_of(node):
            if value.is_8bit and value.name in names:
                found += _range_hints(node, value, truth[names[value.name]])
        if node.op in ("Conv", "Linear") and node.name in weights:
            stored = graph.values[node.inputs[1]]
            expected = weights[node.name]
            if stored.data is not None and stored.shape == expected.shape:
                db = ratio_db(noise_ratio(real_value(stored, stored.data), expected))
                if db < 20.0:
                    dead = "; they are all zero" if not np.any(stored.data) else ""
                    found.append(f"{node.label()}: its weights are {db:.1f} dB from float{dead}")
    return tuple(found)


def _range_hints(node: Node, value: Value, right: Array) -> list[str]:
    low, high = ((q - value.zero_point) * value.scale for q in QRANGE[value.dtype])
    if right.size == 0:
        return []
    least, most = float(right.min()), float(right.max())
    text = f"its range [{low:.4g}, {high:.4g}] for values in [{least:.4g}, {most:.4g}]"
    outside = float(np.mean((right < low - value.scale) | (right > high + value.scale)))
    if outside > 0.01:
        return [f"{node.label()}: {text} cuts off {100 * outside:.0f} % of them"]
    if most > least and (high - low) > _WASTED * (max(most, 0.0) - min(least, 0.0)):
        return [f"{node.label()}: {text} leaves most of the 8 bits unused"]
    return []
