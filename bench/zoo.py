# SPDX-License-Identifier: Apache-2.0
"""The benchmark networks, built in code: real topologies, seeded weights, sane activations.

Nothing is downloaded. Topologies and multiply-accumulate counts are those of the published
networks; weights are He-scaled draws from a Laplace distribution (trained networks sit nearer
Laplace than Gaussian) with folded-batch-norm biases, see `bench.zoo_blocks`.

    python -m bench.zoo --out DIR [--only NAME]
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from bench.inputs import natural_input
from bench.onnx_info import count_macs
from bench.zoo_blocks import LOGITS_NORM, RESIDUAL_NORM, NetBuilder, Tensor
from bench.zoo_transformer import Encoder, EncoderBuilder

_INPUT_SHAPES: dict[str, tuple[int, ...]] = {
    "mobilenet_v1": (3, 224, 224),
    "mobilenet_v2": (3, 224, 224),
    "resnet18": (3, 224, 224),
    "resnet50": (3, 224, 224),
    "squeezenet1_1": (3, 224, 224),
    "kws_ds_cnn": (1, 49, 10),
    "resnet8": (3, 32, 32),
    "vww_mobilenet_v1_025_96": (3, 96, 96),
    "ad_autoencoder": (640,),
    "minilm_l6_128": (128, 384),
}


def _seed(name: str) -> int:
    # The seed follows the name, so that adding a network changes no other network.
    return int.from_bytes(name.encode(), "little")


def _start(name: str) -> NetBuilder:
    return NetBuilder(name, _INPUT_SHAPES[name], seed=_seed(name))


def _mobilenet_v1(
    name: str, width: float, classes: int, *, relu6: bool, softmax: bool
) -> onnx.ModelProto:
    """MobileNetV1 with TensorFlow's asymmetric "same" padding (arXiv 1704.04861, table 1)."""
    net = _start(name)
    act = net.relu6 if relu6 else net.relu
    x = act(net.conv(net.input, int(32 * width), 3, 2))
    blocks = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)]
    blocks += [(512, 1)] * 5 + [(1024, 2), (1024, 1)]
    for channels, stride in blocks:
        x = act(net.depthwise(x, 3, stride))
        x = act(net.conv(x, int(channels * width), 1))
    x = net.gemm(net.global_avg_pool(x), classes, norm=LOGITS_NORM)
    return net.finish(net.softmax(x) if softmax else x)


def mobilenet_v1() -> onnx.ModelProto:
    """MobileNetV1 1.0, 224×224, 1000 classes; 569 M MAC."""
    return _mobilenet_v1("mobilenet_v1", 1.0, 1000, relu6=True, softmax=False)


def vww_mobilenet_v1_025_96() -> onnx.ModelProto:
    """MLPerf Tiny visual wake words: MobileNetV1 0.25, 96×96, 2 classes; 7.5 M MAC."""
    return _mobilenet_v1("vww_mobilenet_v1_025_96", 0.25, 2, relu6=False, softmax=True)


def mobilenet_v2() -> onnx.ModelProto:
    """MobileNetV2 1.0, 224×224, 1000 classes; 300 M MAC (arXiv 1801.04381, table 2)."""
    net = _start("mobilenet_v2")
    x = net.relu6(net.conv(net.input, 32, 3, 2, pad=1))
    # (expansion, channels, repeats, stride of the first repeat)
    stages = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)]
    stages += [(6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
    for expansion, channels, repeats, first_stride in stages:
        for repeat in range(repeats):
            stride = first_stride if repeat == 0 else 1
            residual = stride == 1 and x.channels == channels
            y = x if expansion == 1 else net.relu6(net.conv(x, x.channels * expansion, 1))
            y = net.relu6(net.depthwise(y, 3, stride, pad=1))
            y = net.conv(y, channels, 1, norm=RESIDUAL_NORM if residual else None)
            x = net.add(x, y) if residual else y
    x = net.relu6(net.conv(x, 1280, 1))
    return net.finish(net.gemm(net.global_avg_pool(x), 1000, norm=LOGITS_NORM))


def _resnet_stem(net: NetBuilder) -> Tensor:
    x = net.relu(net.conv(net.input, 64, 7, 2, pad=3))
    return net.max_pool(x, 3, 2, pad=1)


def _basic_block(net: NetBuilder, x: Tensor, channels: int, stride: int) -> Tensor:
    y = net.relu(net.conv(x, channels, 3, stride, pad=1))
    y = net.conv(y, channels, 3, pad=1, norm=RESIDUAL_NORM)
    shortcut = x if x.sample.shape == y.sample.shape else net.conv(x, channels, 1, stride, pad=0)
    return net.relu(net.add(y, shortcut))


def _bottleneck(net: NetBuilder, x: Tensor, channels: int, stride: int) -> Tensor:
    y = net.relu(net.conv(x, channels, 1))
    y = net.relu(net.conv(y, channels, 3, stride, pad=1))
    y = net.conv(y, channels * 4, 1, norm=RESIDUAL_NORM)
    shortcut = (
        x if x.sample.shape == y.sample.shape else net.conv(x, channels * 4, 1, stride, pad=0)
    )
    return net.relu(net.add(y, shortcut))


def resnet18() -> onnx.ModelProto:
    """ResNet-18, 224×224, 1000 classes; 1.82 G MAC (arXiv 1512.03385, table 1)."""
    net = _start("resnet18")
    x = _resnet_stem(net)
    for channels, first_stride in [(64, 1), (128, 2), (256, 2), (512, 2)]:
        for stride in (first_stride, 1):
            x = _basic_block(net, x, channels, stride)
    return net.finish(net.gemm(net.global_avg_pool(x), 1000, norm=LOGITS_NORM))


def resnet50() -> onnx.ModelProto:
    """ResNet-50 with the stride in the 3×3 ("v1.5"), 224×224, 1000 classes; 4.09 G MAC."""
    net = _start("resnet50")
    x = _resnet_stem(net)
    for channels, repeats, first_stride in [(64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)]:
        for repeat in range(repeats):
            x = _bottleneck(net, x, channels, first_stride if repeat == 0 else 1)
    return net.finish(net.gemm(net.global_avg_pool(x), 1000, norm=LOGITS_NORM))


def squeezenet1_1() -> onnx.ModelProto:
    """SqueezeNet 1.1, 224×224, 1000 classes; 349 M MAC (arXiv 1602.07360 and its 1.1 release)."""
    net = _start("squeezenet1_1")
    x = net.max_pool(net.relu(net.conv(net.input, 64, 3, 2, pad="valid")), 3, 2)
    for squeeze, expand, pool in [
        (16, 64, False), (16, 64, True), (32, 128, False), (32, 128, True),
        (48, 192, False), (48, 192, False), (64, 256, False), (64, 256, False),
    ]:  # fmt: skip
        s = net.relu(net.conv(x, squeeze, 1))
        wide = net.relu(net.conv(s, expand, 1)), net.relu(net.conv(s, expand, 3))
        x = net.concat(*wide)
        x = net.max_pool(x, 3, 2) if pool else x
    return net.finish(net.global_avg_pool(net.relu(net.conv(x, 1000, 1, norm=LOGITS_NORM))))


def kws_ds_cnn() -> onnx.ModelProto:
    """MLPerf Tiny keyword spotting: DS-CNN on 49×10 MFCC, 12 classes; 2.7 M MAC."""
    net = _start("kws_ds_cnn")
    x = net.relu(net.conv(net.input, 64, (10, 4), 2))
    for _ in range(4):
        x = net.relu(net.depthwise(x, 3))
        x = net.relu(net.conv(x, 64, 1))
    return net.finish(net.softmax(net.gemm(net.global_avg_pool(x), 12, norm=LOGITS_NORM)))


def resnet8() -> onnx.ModelProto:
    """MLPerf Tiny image classification: ResNet-8 on 32×32 CIFAR-10; 12.5 M MAC."""
    net = _start("resnet8")
    x = net.relu(net.conv(net.input, 16, 3))
    for channels, stride in [(16, 1), (32, 2), (64, 2)]:
        y = net.relu(net.conv(x, channels, 3, stride))
        y = net.conv(y, channels, 3, norm=RESIDUAL_NORM)
        shortcut = x if stride == 1 else net.conv(x, channels, 1, stride)
        x = net.relu(net.add(shortcut, y))
    return net.finish(net.softmax(net.gemm(net.global_avg_pool(x), 10, norm=LOGITS_NORM)))


def ad_autoencoder() -> onnx.ModelProto:
    """MLPerf Tiny anomaly detection: 640-128×4-8-128×4-640 fully connected; 0.26 M MAC."""
    net = _start("ad_autoencoder")
    x = net.input
    for features in [128] * 4 + [8] + [128] * 4:
        x = net.relu(net.gemm(x, features))
    return net.finish(net.gemm(x, 640))


def minilm_l6_128() -> onnx.ModelProto:
    """The encoder of MiniLM-L6 (6 layers, 12 heads of 32) on 128 embedded tokens; 1.43 G MAC."""
    name = "minilm_l6_128"
    positions, width = _INPUT_SHAPES[name]
    sizes = Encoder(layers=6, width=width, heads=12, hidden=4 * width, positions=positions)
    return EncoderBuilder(name, sizes, seed=_seed(name)).build()


ZOO: dict[str, Callable[[], onnx.ModelProto]] = {
    "mobilenet_v1": mobilenet_v1,
    "mobilenet_v2": mobilenet_v2,
    "resnet18": resnet18,
    "resnet50": resnet50,
    "squeezenet1_1": squeezenet1_1,
    "kws_ds_cnn": kws_ds_cnn,
    "resnet8": resnet8,
    "vww_mobilenet_v1_025_96": vww_mobilenet_v1_025_96,
    "ad_autoencoder": ad_autoencoder,
    "minilm_l6_128": minilm_l6_128,
}


def input_shape(name: str) -> tuple[int, ...]:
    """Shape of one sample, without the batch dimension: (C, H, W), or (F,) for the autoencoder."""
    return _INPUT_SHAPES[name]


@functools.cache
def macs(name: str) -> int:
    """Multiply-accumulates of one sample (convolutions and fully connected layers)."""
    return count_macs(ZOO[name]())


def random_input(name: str, seed: int, batch: int = 1) -> npt.NDArray[np.float32]:
    """Input like a normalised photo or spectrogram: float32 (batch, *input_shape(name))."""
    return natural_input((batch, *_INPUT_SHAPES[name]), seed)


def main(argv: list[str] | None = None) -> None:
    """Write the float models to a directory."""
    parser = argparse.ArgumentParser(prog="python -m bench.zoo", description=main.__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--only", choices=sorted(ZOO), metavar="NAME", help=", ".join(ZOO))
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    for name in [args.only] if args.only else ZOO:
        model = ZOO[name]()
        path = args.out / f"{name}.onnx"
        onnx.save_model(model, path)
        size = path.stat().st_size / 1e6
        print(f"{path}  {count_macs(model) / 1e6:.2f} M MAC  {size:.1f} MB")


if __name__ == "__main__":
    main()
