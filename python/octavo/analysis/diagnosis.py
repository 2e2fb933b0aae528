# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a quantized network, where, and what to do: findings out of a comparison.

Every rule turns what it sees into a share of noise (noise power / signal power that the cause adds
to its layer), so that causes of different kinds are ranked by the same number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from octavo.analysis import diagnosis_graph, diagnosis_input, diagnosis_range, diagnosis_weights
from octavo.analysis.diagnosis_rule import SEVERITIES, Evidence, Finding, View
from octavo.comparison import Comparison
from octavo.errors import InvalidArgumentError
from octavo.ir import Graph
from octavo.session import LayerProfile

__all__ = ["SEVERITIES", "Diagnosis", "Evidence", "Finding", "diagnose"]

#: Findings that follow by themselves from input data of another range; corrected biases do, too.
_CONSEQUENCES = ("bias", "range_too_small", "range_too_large", "zero_point")
#: What is wrong with the data comes before what is wrong with the network.
_FIRST = ("channel_order", "input_range", "input_statistics")
#: Where one of these was found, an outlier channel of the output is the same thing once more.
_EXPLAIN_OUTLIERS = ("concat_ranges", "weight_outlier", "weight_scale_channel")


@dataclass(frozen=True)
class Diagnosis:
    """Findings, the gravest first."""

    findings: tuple[Finding, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Those that break the network."""
        return tuple(found for found in self.findings if found.severity == "error")

    def to_dict(self) -> list[dict[str, Any]]:
        """Plain data for JSON."""
        return [found.to_dict() for found in self.findings]


def diagnose(
    comparison: Comparison,
    *,
    graph: Graph | None = None,
    reference: Graph | None = None,
    metadata: Mapping[str, Any] | None = None,
    profile: Sequence[LayerProfile] = (),
) -> Diagnosis:
    """Names the causes of error in a quantized network.

    `comparison` is what `octavo.compare` found, own errors included; `graph` and `reference` the
    optimized graphs, if others than it compared; `metadata` what the quantizer stored about the
    calibration; `profile` the steps' times, for what a float step costs. Rules whose evidence is
    not there say nothing. A pure function: nothing is run. Raises InvalidArgumentError for a
    comparison without its graph.
    """
    graph = graph if graph is not None else comparison.graph
    if graph is None:
        raise InvalidArgumentError("the comparison has no graph: pass graph=model.graph")
    reference = reference if reference is not None else comparison.reference
    view = View(graph, comparison, reference, metadata or {}, tuple(profile))
    found = list(diagnosis_input.findings(view))
    causes = {item.severity for item in found if item.code == "input_range"}
    layers = [
        *diagnosis_range.findings(view),
        *diagnosis_weights.findings(view),
        *diagnosis_graph.findings(view),
    ]
    better = {item.node for item in layers if item.code in _EXPLAIN_OUTLIERS}
    layers = [i for i in layers if i.code != "activation_outlier" or i.node not in better]
    if "error" in causes:
        layers = [item.demoted() if item.code in _CONSEQUENCES else item for item in layers]
    elif drift := diagnosis_input.drift(view, layers):
        found.append(drift)
    found += layers
    named = {item.node for item in found if item.severity != "info"}
    found += diagnosis_graph.unexplained(view, named)
    order = sorted(
        found,
        key=lambda i: (SEVERITIES.index(i.severity), i.code not in _FIRST, -i.noise),
    )
    return Diagnosis(tuple(order))
