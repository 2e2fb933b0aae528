# SPDX-License-Identifier: Apache-2.0
"""Trains the network of `octavo demo` and writes the files shipped in `python/octavo/demo`.

    python tools/train_demo.py            # needs torch, scikit-learn, onnx, onnxruntime; 40 s

A 28 k parameter CNN on scikit-learn's bundled handwritten digits (8×8 grey levels 0..16, used as
x = pixel / 16), trained on 75 % of the images (stratified, fixed seed) with one-pixel shifts.
Batch norms stay in the float ONNX file, so that folding them is part of the demo.

Writes digits_f32.onnx and digits_heldout.npz (uint8 `test_images` and `calibration_images` of
shape (n, 8, 8) with values 0..16, `test_labels`); the calibration images come from the training
split. Where octavo is installed, also digits_qdq.onnx, digits_int8.octavo and digits_f32.octavo.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn import functional

SEED = 8
PIXEL_MAX = 16.0  # load_digits counts the set pixels in 4×4 cells
HELD_OUT = 0.25
CALIBRATION_IMAGES = 128
EPOCHS = 40
BATCH = 64
MIN_ACCURACY = 0.97
MAX_ONNX_BYTES = 300 * 1024
OUT_DIR = Path(__file__).resolve().parents[1] / "python" / "octavo" / "demo"

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Split:
    """Images (n, 8, 8) of 0..16 and their labels (n,)."""

    train_images: Images
    train_labels: Labels
    test_images: Images
    test_labels: Labels


def load_split() -> Split:
    """The bundled digits, 75 % to train on and 25 % held out, the same on every machine."""
    digits = load_digits()
    parts = train_test_split(
        digits.images.astype(np.uint8),
        digits.target.astype(np.uint8),
        test_size=HELD_OUT,
        stratify=digits.target,
        random_state=SEED,
    )
    train_images, test_images, train_labels, test_labels = parts
    return Split(train_images, train_labels, test_images, test_labels)


def to_input(images: Images) -> npt.NDArray[np.float32]:
    """Network input: float32 (n, 1, 8, 8) in [0, 1]."""
    return np.asarray(images[:, None] / PIXEL_MAX, np.float32)


class DigitsNet(nn.Module):
    """Stem, separable block, residual block, max pool, separable block, mean, classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 32, 3, padding=1, bias=False)
        self.stem_bn = nn.BatchNorm2d(32)
        self.dw1 = nn.Conv2d(32, 32, 3, padding=1, groups=32, bias=False)
        self.dw1_bn = nn.BatchNorm2d(32)
        self.pw1 = nn.Conv2d(32, 48, 1, bias=False)
        self.pw1_bn = nn.BatchNorm2d(48)
        self.res1 = nn.Conv2d(48, 24, 3, padding=1, bias=False)
        self.res1_bn = nn.BatchNorm2d(24)
        self.res2 = nn.Conv2d(24, 48, 3, padding=1, bias=False)
        self.res2_bn = nn.BatchNorm2d(48)
        self.dw2 = nn.Conv2d(48, 48, 3, padding=1, groups=48, bias=False)
        self.dw2_bn = nn.BatchNorm2d(48)
        self.pw2 = nn.Conv2d(48, 64, 1, bias=False)
        self.pw2_bn = nn.BatchNorm2d(64)
        self.classifier = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.stem_bn(self.stem(x)))
        x = functional.relu(self.dw1_bn(self.dw1(x)))
        x = functional.relu(self.pw1_bn(self.pw1(x)))
        branch = functional.relu(self.res1_bn(self.res1(x)))
        branch = self.res2_bn(self.res2(branch))
        x = functional.relu(x + branch)
        x = functional.max_pool2d(x, 2)
        x = functional.relu(self.dw2_bn(self.dw2(x)))
        x = functional.relu(self.pw2_bn(self.pw2(x)))
        logits: torch.Tensor = self.classifier(x.mean(dim=(2, 3)))
        return logits


def _shifted(images: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Each image moved by -1, 0 or 1 pixel along each axis, zeros moving in."""
    padded = functional.pad(images, (1, 1, 1, 1))
    corners = rng.integers(0, 3, size=(len(images), 2))
    crops = [p[:, r : r + 8, c : c + 8] for p, (r, c) in zip(padded, corners, strict=True)]
    return torch.stack(crops)


def train(split: Split) -> DigitsNet:
    """The trained network, in evaluation mode; same seed, same network on one machine."""
    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)  # the order of float sums must not depend on the core count
    rng = np.random.default_rng(SEED)
    images = torch.from_numpy(to_input(split.train_images))
    labels = torch.from_numpy(split.train_labels.astype(np.int64))
    net = DigitsNet()
    steps_per_epoch = -(-len(images) // BATCH)
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1e-2, total_steps=EPOCHS * steps_per_epoch
    )
    net.train()
    for epoch in range(EPOCHS):
        total = 0.0
        for indices in np.array_split(rng.permutation(len(images)), steps_per_epoch):
            logits = net(_shifted(images[indices], rng))
            loss = functional.cross_entropy(logits, labels[indices], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            total += float(loss.detach()) * len(indices)
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1:3d}  loss {total / len(images):.4f}")
    return net.eval()


class _Exporter:
    """Appends ONNX nodes by hand, so that the file holds exactly these operators."""

    def __init__(self, net: DigitsNet) -> None:
        self._net = net
        self._state = {k: v.detach().numpy() for k, v in net.state_dict().items()}
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def _constant(self, key: str) -> str:
        self.constants.append(numpy_helper.from_array(self._state[key], key))
        return key

    def emit(self, op: str, name: str, inputs: list[str], **attrs: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attrs))
        return name

    def conv_bn(self, x: str, layer: str, *, relu: bool = True) -> str:
        conv = self._net.get_submodule(layer)
        assert isinstance(conv, nn.Conv2d)
        kernel, pad = conv.kernel_size[0], conv.kernel_size[0] // 2
        y = self.emit(
            "Conv",
            layer,
            [x, self._constant(f"{layer}.weight")],
            kernel_shape=[kernel, kernel],
            pads=[pad] * 4,
            strides=[1, 1],
            group=conv.groups,
        )
        fields = ("weight", "bias", "running_mean", "running_var")
        params = [self._constant(f"{layer}_bn.{field}") for field in fields]
        y = self.emit("BatchNormalization", f"{layer}_bn", [y, *params], epsilon=1e-5)
        return self.emit("Relu", f"{layer}_relu", [y]) if relu else y

    def gemm(self, x: str, layer: str, output: str) -> str:
        params = [self._constant(f"{layer}.weight"), self._constant(f"{layer}.bias")]
        self.nodes.append(helper.make_node("Gemm", [x, *params], [output], name=layer, transB=1))
        return output


def export(net: DigitsNet) -> onnx.ModelProto:
    """Float ONNX model, opset 17: input `image` (N, 1, 8, 8), output `logits` (N, 10)."""
    e = _Exporter(net)
    x = e.conv_bn("image", "stem")
    x = e.conv_bn(e.conv_bn(x, "dw1"), "pw1")
    branch = e.conv_bn(e.conv_bn(x, "res1"), "res2", relu=False)
    x = e.emit("Relu", "res_relu", [e.emit("Add", "res_add", [x, branch])])
    x = e.emit("MaxPool", "pool", [x], kernel_shape=[2, 2], strides=[2, 2])
    x = e.conv_bn(e.conv_bn(x, "dw2"), "pw2")
    x = e.emit("Flatten", "flatten", [e.emit("GlobalAveragePool", "mean", [x])], axis=1)
    e.gemm(x, "classifier", "logits")
    graph = helper.make_graph(
        e.nodes,
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 10])],
        e.constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model.producer_name = "octavo-train-demo"
    onnx.checker.check_model(model, full_check=True)
    return model


def onnx_accuracy(path: Path, images: Images, labels: Labels) -> float:
    """Share of right answers of an ONNX file in ONNX Runtime, an outside witness."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    logits = session.run(["logits"], {"image": to_input(images)})[0]
    return float((logits.argmax(axis=1) == labels).mean())


def _calibration_batches(images: Images) -> Iterator[dict[str, npt.NDArray[np.float32]]]:
    for start in range(0, len(images), 32):
        yield {"image": to_input(images[start : start + 32])}


def quantize(out_dir: Path, calibration: Images) -> None:
    """Write the int8 network as QDQ ONNX and both networks as `.octavo`."""
    import octavo

    float_path = out_dir / "digits_f32.onnx"
    model = octavo.quantize(str(float_path), calibration=_calibration_batches(calibration))
    model.to_onnx(str(out_dir / "digits_qdq.onnx"))
    model.save(str(out_dir / "digits_int8.octavo"))
    octavo.load(str(float_path)).save(str(out_dir / "digits_f32.octavo"))


def main() -> None:
    """Train, export, check, and quantize where octavo is installed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=OUT_DIR, metavar="DIR")
    parser.add_argument(
        "--quantize-only", action="store_true", help="keep the trained network, redo the int8 files"
    )
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    float_path = args.out / "digits_f32.onnx"
    split = load_split()
    calibration = split.train_images[:CALIBRATION_IMAGES]
    if not args.quantize_only:
        net = train(split)
        print(f"{sum(p.numel() for p in net.parameters())} parameters")
        onnx.save_model(export(net), float_path)
        np.savez_compressed(
            args.out / "digits_heldout.npz",
            test_images=split.test_images,
            test_labels=split.test_labels,
            calibration_images=calibration,
        )
    accuracy = onnx_accuracy(float_path, split.test_images, split.test_labels)
    print(f"float accuracy on {len(split.test_labels)} held-out digits: {accuracy:.2%}")
    if accuracy < MIN_ACCURACY:
        raise SystemExit(f"accuracy {accuracy:.2%} is below {MIN_ACCURACY:.0%}")
    if importlib.util.find_spec("octavo") is None:
        print(
            "octavo is not installed: pip install . && python tools/train_demo.py --quantize-only"
        )
        return
    quantize(args.out, calibration)
    qdq_path = args.out / "digits_qdq.onnx"
    accuracy = onnx_accuracy(qdq_path, split.test_images, split.test_labels)
    print(f"int8 accuracy in ONNX Runtime: {accuracy:.2%}")
    size = float_path.stat().st_size + qdq_path.stat().st_size
    if size > MAX_ONNX_BYTES:
        raise SystemExit(f"the two ONNX files take {size} bytes, more than {MAX_ONNX_BYTES}")


if __name__ == "__main__":
    main()
