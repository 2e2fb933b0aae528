# SPDX-License-Identifier: Apache-2.0
"""Weights and biases beside those of the float network."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from octavo.analysis.diagnosis_rule import (
    F64,
    Array,
    Evidence,
    Finding,
    Layer,
    View,
    rule_text,
    severity_of,
)

__all__ = ["findings"]

#: Factors between a channel and its float twin that are none of rounding and clipping.
_GAIN = 0.15


def findings(view: View) -> Iterator[Finding]:
    """About every layer with constant 8-bit weights."""
    for layer in view.layers:
        if layer.node.op not in ("Conv", "Linear") or len(layer.node.inputs) < 2:
            continue
        if not view.graph.values[layer.node.inputs[1]].is_8bit:
            continue
        mine, theirs = view.constants(layer, 1)
        if mine is not None and theirs is not None:
            yield from _weights(view, layer, _rows(mine), _rows(theirs))
        mine, theirs = view.constants(layer, 2)
        if mine is not None and theirs is not None:
            yield from _bias(layer, mine.astype(np.float64), theirs.astype(np.float64))
        yield from _bias_overflow(view, layer)


def _rows(array: Array) -> F64:
    return array.reshape(len(array), -1).astype(np.float64)


def _squares(array: F64) -> F64:
    return np.asarray(np.einsum("ck,ck->c", array, array))


def _weights(view: View, layer: Layer, mine: F64, theirs: F64) -> Iterator[Finding]:
    """Each channel as factor times its float twin plus an offset plus the rest."""
    norm = _squares(theirs)
    alive = norm > 1e-12 * max(float(norm.max(initial=0.0)), 1e-30)
    if not alive.any():
        return
    safe = np.where(alive, norm, 1.0)
    gain = np.einsum("ck,ck->c", mine, theirs) / safe
    ratio = np.where(alive, _squares(mine - theirs) / safe, 0.0)
    rest = np.where(alive, _squares(mine - gain[:, None] * theirs) / safe, 0.0)
    share = _shares(layer, alive, norm)
    noise = float((ratio * share).sum())
    dead = alive & (_squares(mine) == 0.0)
    evidence = {"channels": int(alive.sum()), "noise_db": _db(noise)}
    name, tensor = layer.name, layer.node.inputs[1]
    if dead.sum() > 0.5 * alive.sum():
        yield Finding(
            "weights_damaged",
            "error",
            name,
            tensor,
            f"{int(dead.sum())} of {int(alive.sum())} channels of the weights are all zero, those "
            "of the reference are not",
            "the weights are lost: quantize again, or check how the file was written",
            1.0,
            {**evidence, "zero_channels": int(dead.sum())},
        )
        return
    off = alive & ~dead & (np.abs(gain - 1.0) > _GAIN) & (rest < 0.1 * gain**2)
    torn = alive & ~dead & ~off & (ratio > 0.25)
    centred = mine - theirs - (mine - theirs).mean(axis=1, keepdims=True)
    offset = torn & (_squares(centred) < 0.3 * _squares(mine - theirs))
    if off.any():
        yield _scales(layer, gain, ratio, off, alive, share, evidence)
    if offset.sum() > 0.5 * max(1, torn.sum()):
        yield Finding(
            "weight_zero_point",
            severity_of(noise),
            name,
            tensor,
            f"{int(offset.sum())} of {int(alive.sum())} channels of the weights are shifted by a "
            "constant",
            "the weights' zero point is wrong: symmetric weights have 0",
            noise,
            {**evidence, "shifted_channels": int(offset.sum())},
        )
    elif torn.any():
        worst = int(np.argmax(np.where(torn, ratio, 0.0)))
        part = float((ratio * share)[torn].sum())
        outlier = _coarse(view, layer, theirs, worst)
        if outlier is not None:
            yield outlier
            return
        yield Finding(
            "weights_damaged",
            severity_of(max(part, 0.05 if torn.sum() > 0.2 * alive.sum() else 0.0)),
            name,
            tensor,
            f"{int(torn.sum())} of {int(alive.sum())} channels of the weights have little in "
            f"common with the reference's (channel {worst}: {_db(float(ratio[worst])):.1f} dB)",
            "the weights are not those of this reference: check both files, quantize again",
            part,
            {**evidence, "channel": worst, "damaged_channels": int(torn.sum())},
        )
    elif off.any():
        return
    elif dead.any():
        yield _dead(layer, dead, alive, share, evidence)
    else:
        spread = _coarse(view, layer, theirs, int(np.argmax(ratio)))
        if spread is not None and max(noise, spread.noise) > 0.002:
            yield spread


def _shares(layer: Layer, alive: Array, norm: F64) -> F64:
    """How much of the output each channel makes up."""
    energy = layer.sums.signal
    if energy.shape != alive.shape or not energy.sum() > 0:
        energy = norm
    energy = np.where(alive, energy, 0.0)
    return np.asarray(energy / max(float(energy.sum()), 1e-30))


def _scales(
    layer: Layer, gain: F64, ratio: F64, off: Array, alive: Array, share: F64, evidence: Evidence
) -> Finding:
    """Channels that are the right weights times a factor."""
    count, total = int(off.sum()), int(alive.sum())
    worst = int(np.argmax(np.where(off, ratio, 0.0)))
    part = float((ratio * share)[off].sum())
    if count > 0.5 * total:
        factor = float(np.median(gain[off]))
        what = f"the weights are {factor:.3g} times the reference's in {count} of {total} channels"
        code, remedy = "weight_scale", f"the weights' scale should be {1 / factor:.3g} times as big"
    else:
        factor = float(gain[worst])
        what = f"channel {worst} of the weights is {factor:.3g} times the reference's" + (
            f", {count - 1} more are off, too" if count > 1 else ""
        )
        code = "weight_scale_channel"
        remedy = f"the scale of channel {worst} should be {1 / factor:.3g} times as big"
    # one channel of many is a defect whatever its share of the energy
    severity = severity_of(max(part, 0.05 if float(ratio[worst]) > 0.25 else 0.0))
    return Finding(
        code,
        severity,
        layer.name,
        layer.node.inputs[1],
        what,
        f"{remedy}; quantize again",
        part,
        {**evidence, "channel": worst, "factor": factor, "wrong_channels": count},
    )


def _dead(layer: Layer, dead: Array, alive: Array, share: F64, evidence: Evidence) -> Finding:
    lost = float(share[dead].sum())
    first = int(np.argmax(np.where(dead, share, -1.0)))
    return Finding(
        "dead_channels",
        severity_of(lost),
        layer.name,
        layer.node.inputs[1],
        f"{int(dead.sum())} of {int(alive.sum())} channels of the weights (first: {first}) round "
        f"to zero: {100 * lost:.2g} % of the layer's energy is lost",
        f"their scale is too large: {rule_text(layer.name, per_channel=True)}",
        lost,
        {**evidence, "channel": first, "zero_channels": int(dead.sum())},
    )


def _coarse(view: View, layer: Layer, theirs: F64, channel: int) -> Finding | None:
    """One scale for channels of very different reach, or one weight that sets a channel's scale."""
    value = view.graph.values[layer.node.inputs[1]]
    scale = np.broadcast_to(value.affine.scale.reshape(-1), (len(theirs),)).astype(np.float64)
    reach = np.abs(theirs).max(axis=1)
    alive = reach[reach > 0]
    per_tensor = bool(np.all(scale == scale[0])) and len(scale) > 1
    norm = _squares(theirs)
    noise = scale**2 / 12.0 * theirs.shape[1] / np.maximum(norm, 1e-30)
    typical = float(np.median(noise[reach > 0]))
    widest = int(np.argmax(reach))
    if per_tensor and float(reach[widest]) > 6.0 * float(np.median(alive)):
        levels = float(np.median(alive)) / float(scale[0])
        return Finding(
            "weight_outlier",
            severity_of(typical),
            layer.name,
            value.name,
            f"one scale for all channels, and channel {widest} reaches "
            f"{reach[widest] / np.median(alive):.0f} times as far as the median channel, whose "
            f"weights get ±{levels:.0f} levels",
            f"{rule_text(layer.name, per_channel=True)}; equalize: true",
            min(typical, 1.0),
            {"channel": widest, "median_levels": levels, "weight_db": _db(typical)},
        )
    if noise[channel] > 0.02 and not per_tensor:
        return Finding(
            "weight_outlier",
            severity_of(float(noise[channel] * 0.2), at_most="warning"),
            layer.name,
            value.name,
            f"channel {channel} has a weight that sets its scale far above the others: they keep "
            f"{_db(float(noise[channel])):.1f} dB",
            f"{rule_text(layer.name, weight_ranges='mse')} or "
            f"{rule_text(layer.name, rounding='adaptive')}",
            min(float(noise[channel]), 1.0) * 0.2,
            {"channel": channel, "weight_db": _db(float(noise[channel]))},
        )
    return None


def _bias(layer: Layer, mine: F64, theirs: F64) -> Iterator[Finding]:
    """A bias far from the reference's, and outputs that are shifted by it.

    Bias correction moves biases, too, but so that the outputs' mean comes closer.
    """
    sums = layer.sums
    if mine.shape != theirs.shape or mine.shape != sums.signal.shape or not sums.has_own:
        return
    moved, rows = mine - theirs, max(1, sums.rows)
    shift = sums.own_shift / rows
    noise = float(np.square(shift).sum() * rows / max(layer.signal, 1e-30))
    explained = float(
        np.square(shift).sum() * rows / max(float(sums.own_channel_noise.sum()), 1e-30)
    )
    agrees = float((moved * shift).sum()) > 0.5 * float(np.square(shift).sum())
    if noise < 0.004 or explained < 0.3 or not agrees:
        return
    worst = int(np.argmax(np.abs(moved)))
    known = np.abs(theirs) > 0.05 * max(float(np.abs(theirs).max(initial=0.0)), 1e-30)
    factors = mine[known] / theirs[known]
    factor = float(np.median(factors)) if factors.size else 1.0
    scaled = factors.size > 1 and float(np.abs(factors - factor).max()) < 0.1 * abs(factor)
    what = (
        f"the bias is {factor:.3g} times the reference's"
        if scaled and abs(factor - 1.0) > 0.1
        else f"the bias is off by up to {moved[worst]:.4g} (channel {worst})"
    )
    yield Finding(
        "bias",
        severity_of(noise),
        layer.name,
        layer.node.inputs[2],
        f"{what}; the outputs are shifted by {float(np.abs(shift).max()):.4g}",
        "the bias' scale must be input scale times weight scale: quantize again, or "
        f"{rule_text(layer.name, bias_correction='sequential')}",
        noise,
        {"channel": worst, "off_by": float(moved[worst]), "factor": factor, "explained": explained},
    )


def _bias_overflow(view: View, layer: Layer) -> Iterator[Finding]:
    if len(layer.node.inputs) < 3 or not layer.node.inputs[2]:
        return
    value = view.graph.values[layer.node.inputs[2]]
    if value.data is None or value.dtype != "s32":
        return
    largest = int(np.abs(value.data.astype(np.int64)).max(initial=0))
    if largest <= 2**30:
        return
    channel = int(np.argmax(np.abs(value.data.astype(np.int64))))
    yield Finding(
        "bias_near_overflow",
        "warning",
        layer.name,
        value.name,
        f"the bias of channel {channel} is {largest:,} of at most 2,147,483,647: its scale is "
        "nearly 0",
        "quantize again with octavo.quantize, which raises such scales",
        0.0,
        {"channel": channel, "bias": largest},
    )


def _db(noise: float) -> float:
    return float(-10.0 * np.log10(max(noise, 1e-30)))
