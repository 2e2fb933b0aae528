# SPDX-License-Identifier: Apache-2.0
"""What a comparison found: plain frozen data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from octavo.comparison.gains import Gains
    from octavo.comparison.statistics import InputStatistics, TensorStatistics
    from octavo.ir import Graph

__all__ = ["BROKEN_DB", "Comparison", "LayerError", "OutputError"]

#: Below this ratio the error is a third of the signal: the layer no longer carries it.
BROKEN_DB = 10.0


@dataclass(frozen=True)
class LayerError:
    """Distance of one tensor from the reference.

    `sqnr_db` = 10 log10(sum ref^2 / sum (ref - got)^2), inf when equal; absolute errors are in the
    tensor's real unit; `saturated` is the share of reference values outside the 8-bit range (None
    for float tensors). `own_db` is the same ratio for the layer alone: its float function on what
    its quantized inputs really were, against its output. A culprit's own error is large, a victim's
    is small. None where the layer's function is not known.
    """

    node: str
    op: str
    tensor: str
    precision: str
    sqnr_db: float
    max_abs: float
    mean_abs: float
    cosine: float
    saturated: float | None
    own_db: float | None = None


@dataclass(frozen=True)
class OutputError:
    """Distance of a model output, end to end, over `samples` samples.

    `cosine` is the mean over samples, `worst_cosine` the least. `top1_agreement` is the share of
    samples whose largest element is the same, for outputs that look like logits: one row of two
    elements or more for each sample, of another shape than the inputs. Else None.
    """

    output: str
    samples: int
    sqnr_db: float
    max_abs: float
    mean_abs: float
    cosine: float
    worst_cosine: float
    top1_agreement: float | None


@dataclass(frozen=True)
class Comparison:
    """All layers in order of execution, the outputs once more, and the outputs end to end.

    `statistics` maps a layer's node name to the sums behind its figures, per channel; `inputs` is
    what the data looked like; `graph` and `reference` are the two optimized graphs, `gains` the
    factors by which equalization has scaled the reference's channels.
    """

    layers: tuple[LayerError, ...]
    outputs: tuple[LayerError, ...]
    end_to_end: tuple[OutputError, ...] = ()
    samples: int = 0
    statistics: Mapping[str, TensorStatistics] = field(default_factory=dict, repr=False)
    inputs: Mapping[str, InputStatistics] = field(default_factory=dict, repr=False)
    graph: Graph | None = field(default=None, repr=False)
    reference: Graph | None = field(default=None, repr=False)
    gains: Gains = field(default_factory=dict, repr=False)

    @property
    def first_broken(self) -> LayerError | None:
        """The first layer below 10 dB, or None."""
        return next((layer for layer in self.layers if layer.sqnr_db < BROKEN_DB), None)

    def by_node(self) -> dict[str, LayerError]:
        """Node name -> its (last) output's error."""
        return {layer.node: layer for layer in self.layers}

    def worst(self, count: int = 10) -> list[LayerError]:
        """The layers that add most noise of their own: least `own_db` first."""
        known = [layer for layer in self.layers if layer.own_db is not None]
        return sorted(known, key=lambda layer: layer.own_db or 0.0)[:count]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; an infinite SQNR is None."""
        broken = self.first_broken
        return {
            "samples": self.samples,
            "end_to_end": [_plain(output) for output in self.end_to_end],
            "layers": [_plain(layer) for layer in self.layers],
            "outputs": [_plain(layer) for layer in self.outputs],
            "first_broken": broken.node if broken else None,
        }


def _plain(found: LayerError | OutputError) -> dict[str, Any]:
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in asdict(found).items()
    }
