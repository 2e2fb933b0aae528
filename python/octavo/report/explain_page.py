# SPDX-License-Identifier: Apache-2.0
"""An explanation as one HTML page that opens offline."""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib import resources
from typing import TYPE_CHECKING, Any

from octavo.errors import missing_extra
from octavo.report.explain_charts import histograms, signal_chart, time_chart
from octavo.report.explain_claims import Claim

if TYPE_CHECKING:
    from octavo.report.explain import Explanation

__all__ = ["render_page"]

_TEMPLATE = "explain.html.j2"
#: Findings numbered in the chart, and remarks shown at once.
_MARKS, _SHOWN = 5, 8


def render_page(explanation: Explanation, most: int) -> str:
    """The page; histograms of the `most` layers that add most noise of their own.

    Raises MissingExtraError without matplotlib or jinja2.
    """
    try:
        from jinja2 import Environment, StrictUndefined
    except ImportError as error:
        raise missing_extra("report", "the page of octavo explain") from error
    text = (resources.files("octavo.report") / "templates" / _TEMPLATE).read_text("utf-8")
    # no loader: the page is one file, and so is its template
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"number": number, "quantity": quantity}
    findings = explanation.diagnosis.findings
    marks = {
        found.node: str(place + 1)
        for place, found in reversed(list(enumerate(findings[:_MARKS])))
        if found.node is not None
    }
    return environment.from_string(text).render(
        about=explanation.about,
        claims=[_claim(claim) for claim in explanation.claims],
        findings=findings,
        shown=[f for i, f in enumerate(findings) if f.severity != "info" or i < _SHOWN],
        counts={s: sum(f.severity == s for f in findings) for s in ("error", "warning", "info")},
        rows=explanation.layers,
        signal=signal_chart(explanation.comparison, marks),
        times=time_chart(explanation.layers),
        total=sum(row["us"] for row in explanation.layers),
        longest=max((row["share_of_time"] for row in explanation.layers), default=1.0) or 1.0,
        details=_details(explanation, most),
        math=math,
    )


def _details(explanation: Explanation, most: int) -> list[dict[str, Any]]:
    """The layers to look into, those with most noise of their own first."""
    comparison = explanation.comparison

    def loudness(row: Mapping[str, Any]) -> tuple[bool, float]:
        own = row["own_db"]
        return not row["findings"], math.inf if own is None else own

    known = [row for row in explanation.layers if row["layer"] in comparison.statistics]
    known = [row for row in known if row["sqnr_db"] is not None]
    found = []
    for row in sorted(known, key=loudness)[:most]:
        sums = comparison.statistics[row["layer"]]
        chart = histograms(sums, comparison)
        if chart:
            found.append({"row": row, "chart": chart, "value": sums.value, "range": sums.range})
    return found


def _claim(claim: Claim) -> dict[str, Any]:
    """A claim as texts, with the ratio that people look for."""
    ratio, good = "", None
    before, after = claim.floating, claim.quantized
    if before and after and claim.unit == "%":
        ratio, good = f"{after - before:+.2f} points", after >= before - 0.5
    elif before and after and claim.better == "less":
        good = after <= before
        ratio = f"{before / after:.2f}× less" if good else f"{after / before:.2f}× more"
    return {
        "name": claim.name,
        "floating": quantity(before, claim.unit),
        "quantized": quantity(after, claim.unit),
        "ratio": ratio,
        "good": good,
        "absent": claim.absent,
    }


def quantity(value: float | None, unit: str) -> str:
    """A figure with its unit; – where there is none."""
    if value is None:
        return "–"
    if unit == "B":
        for prefix in ("B", "KB", "MB"):
            if value < 1000 or prefix == "MB":
                return f"{value:.0f} B" if prefix == "B" else f"{value:.3g} {prefix}"
            value /= 1000
    if unit == "%":
        return f"{value:.2f} %"
    if math.isinf(value):
        return "∞"
    if unit == "":
        return f"{value:.5f}"
    return f"{value:.3g} {unit}" if unit == "ms" else f"{value:.1f} {unit}"


def number(value: float | None, pattern: str = "{:.3g}") -> str:
    """A number for a table; – where there is none, ∞ where nothing differs."""
    if value is None:
        return "–"
    return "∞" if math.isinf(value) else pattern.format(value)
