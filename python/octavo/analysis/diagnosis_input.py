# SPDX-License-Identifier: Apache-2.0
"""The data given, against what the network was calibrated for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from octavo.analysis.diagnosis_range import Range
from octavo.analysis.diagnosis_rule import F64, Finding, Layer, View
from octavo.comparison.statistics import InputStatistics
from octavo.quantization.preprocessing import METADATA_KEY
from octavo.quantization.provenance import INPUTS_KEY

__all__ = ["drift", "findings"]

#: So many samples say something about a mean; channels differ by this share of their deviation.
_ENOUGH, _TINT = 8, 0.3


def findings(view: View) -> Iterator[Finding]:
    """About every model input that is quantized, and about channels in another order."""
    for layer in view.layers:
        source = layer.node.inputs[0]
        if layer.node.op == "QuantizeLinear" and source in view.comparison.inputs:
            data = view.comparison.inputs[source]
            found = [*_range(view, layer, source, data), *_channel_order(view, layer, source, data)]
            yield from found or _distribution(view, layer, source, data)


def _range(view: View, layer: Layer, source: str, data: InputStatistics) -> Iterator[Finding]:
    found, share = Range.of(layer.sums), layer.sums.saturated or 0.0
    span = found.holds_high - found.holds_low
    covered = (found.most - found.least) / span
    if share < 0.02 and covered > 0.3:
        return
    least, most = float(data.least.min()), float(data.most.max())
    evidence: dict[str, Any] = {
        "saturated": share,
        "levels": found.levels,
        "data_low": least,
        "data_high": most,
        "range_low": found.holds_low,
        "range_high": found.holds_high,
    }
    for channel, (mean, std) in enumerate(zip(data.mean[:4], data.std[:4], strict=True)):
        evidence |= {f"mean_{channel}": float(mean), f"std_{channel}": float(std)}
    cause, remedy = _guess(found, least, most)
    what = (
        f"{100 * share:.3g} % of the values lie outside the calibrated range"
        if share >= 0.02
        else f"the data use {found.levels:.0f} of 256 levels of the calibrated range"
    )
    grave = share >= 0.05 or found.levels < 40
    yield Finding(
        "input_range",
        "error" if grave else "warning",
        layer.name,
        source,
        f"{what} [{found.holds_low:.4g}, {found.holds_high:.4g}]: they reach [{least:.4g}, "
        f"{most:.4g}]; {cause}",
        remedy + _stored_preparation(view.metadata),
        max(found.clip_noise, found.step_noise, 2.0 if grave else 0.05),
        evidence,
    )


def _guess(found: Range, least: float, most: float) -> tuple[str, str]:
    """(what happened to the data, what to do)."""
    low, high = found.holds_low, found.holds_high
    reach, wanted = max(abs(least), abs(most)), max(abs(low), abs(high))
    if least >= 0.0 and 32.0 < most <= 255.5 and wanted < 32.0:
        text = "they look like pixels of 0 to 255 that were not divided by 255"
        return text, "scale the pixels, and subtract mean and divide by std, as in calibration"
    if reach <= 1.01 and wanted > 64.0:
        text = "they look like pixels that were divided by 255, but the network takes 0 to 255"
        return text, "do not divide the pixels by 255"
    if least >= -1e-6 and most <= 1.01 and low < -0.5:
        text = "they look like pixels of 0 to 1 from which no mean was subtracted"
        return text, "subtract the mean and divide by the standard deviation, as in calibration"
    if low > -1e-3 * wanted and least < -0.02 * reach:
        text = "they have negative values, which calibration had not"
        return text, "do not subtract a mean, or calibrate with data prepared like these"
    return (
        "they are prepared in another way than the calibration data, or are other data",
        "prepare the data as for calibration, or calibrate again with data like these",
    )


def _stored_preparation(metadata: Mapping[str, Any]) -> str:
    """How calibration prepared images, where the model says so."""
    spec = metadata.get(METADATA_KEY)
    if not isinstance(spec, Mapping) or "mean" not in spec:
        return ""
    return (
        f"; the model was calibrated with (pixel * {spec.get('scale', 1.0):.4g} - {spec['mean']}) "
        f"/ {spec.get('std')}, {spec.get('color')}, {spec.get('layout')}"
    )


def _channel_order(
    view: View, layer: Layer, source: str, data: InputStatistics
) -> Iterator[Finding]:
    """RGB for BGR: only where the calibration's means are stored, and fit better reversed."""
    stored, deviation = _stored(view.metadata, source)
    if stored is None or stored.shape != data.mean.shape or stored.size != 3:
        return
    spread = float(np.abs(stored - stored[::-1]).max())
    straight = float(np.abs(data.mean - stored).max())
    swapped = float(np.abs(data.mean[::-1] - stored).max())
    if spread < _TINT * float(deviation.mean()) or swapped > 0.35 * straight:
        return
    yield Finding(
        "channel_order",
        "error",
        layer.name,
        source,
        "the channels' means fit those of the calibration data in reverse order",
        "swap red and blue: images[:, ::-1] for [n, c, h, w]",
        1.5,
        {"straight": straight, "reversed": swapped},
    )


def _distribution(
    view: View, layer: Layer, source: str, data: InputStatistics
) -> Iterator[Finding]:
    """Means or deviations that calibration did not see, though the range is kept."""
    stored, deviation = _stored(view.metadata, source)
    if stored is None or view.comparison.samples < _ENOUGH:
        return
    mean, std = data.mean, data.std
    if stored.shape != mean.shape:
        if stored.size != 1:
            return
        std = np.sqrt(np.square(std).mean(keepdims=True) + mean.var(keepdims=True))
        mean = mean.mean(keepdims=True)
    spread = np.maximum(deviation, 1e-30)
    away, ratio = np.abs(mean - stored) / spread, np.maximum(std, 1e-30) / spread
    worst = int(np.argmax(np.maximum(away / 1.5, np.abs(np.log(ratio)) / np.log(1.8))))
    if away[worst] < 1.5 and abs(np.log(ratio[worst])) < np.log(1.8):
        return
    yield Finding(
        "input_statistics",
        "error" if away[worst] > 3.0 or not 0.2 < ratio[worst] < 5.0 else "warning",
        layer.name,
        source,
        f"channel {worst} has mean {mean[worst]:.3g} and deviation {std[worst]:.3g}; in "
        f"calibration it had {stored[worst]:.3g} and {deviation[worst]:.3g}",
        "prepare the data as for calibration, or calibrate again with data like these"
        + _stored_preparation(view.metadata),
        0.04,
        {
            "channel": worst,
            "mean": float(mean[worst]),
            "std": float(std[worst]),
            "calibrated_mean": float(stored[worst]),
            "calibrated_std": float(deviation[worst]),
        },
    )


def _stored(metadata: Mapping[str, Any], source: str) -> tuple[F64 | None, F64]:
    """(means, deviations) per channel of a model input as calibration saw them."""
    inputs = metadata.get(INPUTS_KEY, {})
    entry = inputs.get(source) if isinstance(inputs, Mapping) else None
    unknown = None, np.ones(1)
    if not isinstance(entry, Mapping):
        return unknown
    try:
        found = [np.asarray(entry[key], np.float64).reshape(-1) for key in ("mean", "std")]
    except (KeyError, TypeError, ValueError):  # not what the quantizer writes
        return unknown
    return (found[0], found[1]) if found[0].shape == found[1].shape else unknown


def drift(view: View, layers: Sequence[Finding]) -> Finding | None:
    """Data outside the calibrated ranges nearly everywhere, though the input's is kept."""
    compared = [layer for layer in view.layers if layer.value.is_8bit]
    outside = [layer for layer in compared if (layer.sums.saturated or 0.0) > 0.01]
    if len(compared) < 6 or len(outside) < 0.5 * len(compared):
        return None
    worst = max(outside, key=lambda layer: layer.sums.saturated or 0.0)
    return Finding(
        "data_drift",
        "warning",
        None,
        None,
        f"{len(outside)} of {len(compared)} tensors have over 1 % of their values outside the "
        f"calibrated range, most '{worst.name}' ({100 * (worst.sums.saturated or 0.0):.2g} %)",
        "the data are unlike the calibration data: calibrate with some of them, too",
        max((item.noise for item in layers), default=0.0),
        {"tensors": len(compared), "outside": len(outside)},
    )
