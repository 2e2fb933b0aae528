// SPDX-License-Identifier: Apache-2.0
#include <pybind11/pybind11.h>

#include <cstring>
#include <string>

#include "base/aligned_buffer.h"
#include "base/error.h"
#include "bindings/byte_span.h"
#include "bindings/stored_scope.h"
#include "kernels/layer_norm_s8/layer_norm_s8.h"

namespace py = pybind11;

namespace octavo {
namespace {

py::list rows() {
  py::list result;
  int count;
  const LayerNormS8Kernel* kernels = layer_norm_s8_kernels(&count);
  for (int i = 0; i < count; ++i) {
    const LayerNormS8Kernel& k = kernels[i];
    result.append(py::make_tuple(k.name, isa_name(k.isa), "layer_norm", isa_supported(k.isa)));
  }
  return result;
}

// Parameters in buffers of their own: kernels read whole blocks of them.
AlignedBuffer padded(const py::buffer& values, int64_t n) {
  AlignedBuffer buffer(static_cast<size_t>((n + 63) / 64 * 64 * 4));
  std::memcpy(buffer.data(), byte_span(values, 0, 4 * n, false), static_cast<size_t>(4 * n));
  return buffer;
}

void run(const std::string& name, const py::buffer& in, const py::buffer& out, int64_t n,
         const py::buffer& gain, const py::buffer& shift, float epsilon, int in_zero_point,
         int zero_point, int qmin, int qmax, int64_t in_offset, int64_t out_offset) {
  const LayerNormS8Kernel* kernel = find_layer_norm_s8(name.c_str());
  if (kernel == nullptr || !isa_supported(kernel->isa)) {
    fail(ErrorCode::kIsa, "layer_norm_s8: no usable kernel '%s'", name.c_str());
  }
  if (n < 1 || n > kLayerNormMaxLength) fail(ErrorCode::kShape, "layer_norm_s8: n out of range");
  const AlignedBuffer gains = padded(gain, n), shifts = padded(shift, n);
  LayerNormS8Args args{};
  args.in = byte_span(in, in_offset, n, false);
  args.out = byte_span(out, out_offset, n, true);
  args.n = n;
  args.gain = gains.as<float>();
  args.shift = shifts.as<float>();
  args.epsilon = epsilon;
  args.in_zero_point = static_cast<uint8_t>(in_zero_point);
  args.requant = make_requant(RoundingMode::kFloatRne, zero_point, qmin, qmax);
  const StoredScope stored({&in, &out});
  kernel->run(args);
}

}  // namespace

void bind_layer_norm_s8(py::module_& m) {
  m.def("layer_norm_s8_rows", &rows, "Every kernel: (name, isa, op, supported).");
  m.def("layer_norm_s8_run", &run, py::arg("name"), py::arg("in_"), py::arg("out"), py::arg("n"),
        py::arg("gain"), py::arg("shift"), py::kw_only(), py::arg("epsilon"),
        py::arg("in_zero_point"), py::arg("zero_point"), py::arg("qmin") = 0, py::arg("qmax") = 255,
        py::arg("in_offset") = 0, py::arg("out_offset") = 0,
        "Runs one kernel by name on a row of n bytes; gain and shift hold n float32 values.");
}

}  // namespace octavo
