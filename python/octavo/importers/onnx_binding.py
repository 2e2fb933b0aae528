# SPDX-License-Identifier: Apache-2.0
"""Numbers for the symbolic dimensions of inputs."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import SupportsIndex

import numpy as np

from octavo.errors import InvalidArgumentError, ShapeError
from octavo.importers.onnx_proto import InputSpec
from octavo.ir import Graph, Shape

#: What a caller may say about an input: its whole shape, or numbers for its symbols.
InputShape = Sequence[int] | Mapping[str, int]


def bind(specs: Sequence[InputSpec], shapes: Mapping[str, InputShape]) -> dict[str, int]:
    """Symbol -> number, 1 where the caller says nothing.

    Raises InvalidArgumentError for what is no shape at all, ShapeError for an unknown input or
    symbol, a wrong rank, a number that contradicts the model or another input, or a dimension
    below 1.
    """
    if not isinstance(shapes, Mapping):
        raise InvalidArgumentError(f"shapes={shapes!r}: pass a dict of input name -> shape")
    known = {spec.name: spec for spec in specs}
    for name in shapes:
        if name not in known:
            raise ShapeError(f"shapes: '{name}' is not an input; inputs are {list(known)}")
    found: dict[str, int] = {}
    for spec in specs:
        for symbol, number in _pairs(spec, shapes.get(spec.name, {})):
            if number < 1:
                raise ShapeError(f"input '{spec.name}': dimension '{symbol}' = {number} is below 1")
            if found.setdefault(symbol, number) != number:
                raise ShapeError(
                    f"input '{spec.name}': dimension '{symbol}' is {number} here and "
                    f"{found[symbol]} in another input"
                )
    for spec in specs:
        for dim in spec.dims or ():
            if isinstance(dim, str):
                found.setdefault(dim, 1)
    return found


def _pairs(spec: InputSpec, given: InputShape) -> list[tuple[str, int]]:
    """(symbol, number) for what the caller says about one input."""
    dims = spec.dims
    if isinstance(given, Mapping):
        if dims is None:
            raise ShapeError(
                f"input '{spec.name}' declares no shape; pass shapes={{'{spec.name}': (…)}}"
            )
        for symbol in given:
            if symbol not in dims:
                raise ShapeError(f"input '{spec.name}' has no dimension '{symbol}': {dims}")
        return [(symbol, _whole(spec, number)) for symbol, number in given.items()]
    try:
        numbers = [_whole(spec, number) for number in given]
    except TypeError:
        raise InvalidArgumentError(
            f"input '{spec.name}': shape {given!r} is not a tuple of whole numbers"
        ) from None
    if dims is None:
        return [(unknown_symbol(spec.name, axis), number) for axis, number in enumerate(numbers)]
    if len(numbers) != len(dims):
        raise ShapeError(f"input '{spec.name}': shape {tuple(numbers)} for declared {dims}")
    pairs = []
    for dim, number in zip(dims, numbers, strict=True):
        if isinstance(dim, str):
            pairs.append((dim, number))
        elif dim != number:
            raise ShapeError(f"input '{spec.name}': shape {tuple(numbers)} for declared {dims}")
    return pairs


def _whole(spec: InputSpec, number: object) -> int:
    if not isinstance(number, SupportsIndex):
        raise InvalidArgumentError(
            f"input '{spec.name}': {number!r} in shapes is not a whole number"
        )
    return operator.index(number)


def unknown_symbol(name: str, axis: int) -> str:
    """The symbol of a dimension of an input that declares no shape."""
    return f"{name}_{axis}"


def bound_shape(spec: InputSpec, binding: Mapping[str, int]) -> Shape:
    """The shape of an input under a binding. Raises ShapeError for a dimension below 1."""
    dims = spec.dims
    if dims is None:
        symbols: list[str] = []
        while unknown_symbol(spec.name, len(symbols)) in binding:
            symbols.append(unknown_symbol(spec.name, len(symbols)))
        if not symbols:
            raise ShapeError(
                f"input '{spec.name}' declares no shape; pass shapes={{'{spec.name}': (…)}}"
            )
        dims = tuple(symbols)
    shape = tuple(binding[dim] if isinstance(dim, str) else dim for dim in dims)
    if any(dim < 1 for dim in shape):
        raise ShapeError(f"input '{spec.name}': every dimension must be at least 1, not {shape}")
    return shape


def symbols_of(spec: InputSpec, keep: frozenset[str]) -> tuple[str | None, ...]:
    """The input's entry in `Graph.dynamic`: names of the symbols in `keep`, None elsewhere."""
    return tuple(dim if isinstance(dim, str) and dim in keep else None for dim in spec.dims or ())


def same_program(left: Graph, right: Graph) -> bool:
    """True when nothing but the shapes of computed values differs."""
    if len(left.nodes) != len(right.nodes):
        return False
    for a, b in zip(left.nodes, right.nodes, strict=True):
        if (a.op, a.inputs, a.outputs, a.attrs) != (b.op, b.inputs, b.outputs, b.attrs):
            return False
    for name, value in left.values.items():
        other = right.values.get(name)
        if other is None or (value.data is None) != (other.data is None):
            return False
        if value.data is None or other.data is None:
            continue
        if not np.array_equal(value.data, other.data):
            return False
    return True
