// SPDX-License-Identifier: Apache-2.0
#include <pybind11/pybind11.h>

#include <string>

#include "base/aligned_buffer.h"
#include "base/error.h"
#include "bindings/byte_span.h"
#include "bindings/stored_scope.h"
#include "kernels/matmul_s8/matmul_s8.h"

namespace py = pybind11;

namespace octavo {
namespace {

py::list rows() {
  py::list result;
  int count;
  const MatmulS8Kernel* kernels = matmul_s8_kernels(&count);
  for (int i = 0; i < count; ++i) {
    const MatmulS8Kernel& k = kernels[i];
    result.append(py::make_tuple(k.name, isa_name(k.isa), "matmul", isa_supported(k.isa)));
  }
  return result;
}

int64_t reach(int64_t count, int64_t stride, int64_t last) { return (count - 1) * stride + last; }

void run(const std::string& name, const py::buffer& a, const py::buffer& b, const py::buffer& c,
         int64_t m, int32_t k, int32_t n, int64_t a_stride, int64_t b_stride, bool b_transposed,
         int64_t c_stride, int a_zero_point, int b_zero_point, float scale, int zero_point,
         int qmin, int qmax, int64_t a_offset, int64_t b_offset, int64_t c_offset) {
  const MatmulS8Kernel* kernel = find_matmul_s8(name.c_str());
  if (kernel == nullptr || !isa_supported(kernel->isa)) {
    fail(ErrorCode::kIsa, "matmul_s8: no usable kernel '%s'", name.c_str());
  }
  if (m < 1 || k < 1 || n < 1 || a_stride < 0 || b_stride < 0 || c_stride < n) {
    fail(ErrorCode::kShape, "matmul_s8: sizes or strides make no sense");
  }
  AlignedBuffer packed(static_cast<size_t>(matmul_s8_packed_bytes(*kernel, k, n)));
  AlignedBuffer wide(static_cast<size_t>(matmul_s8_wide_bytes(*kernel, k)));
  MatmulS8Pack pack{};
  pack.b =
      byte_span(b, b_offset, b_transposed ? reach(n, b_stride, k) : reach(k, b_stride, n), false);
  pack.k_stride = b_transposed ? 1 : b_stride;
  pack.n_stride = b_transposed ? b_stride : 1;
  pack.k = k;
  pack.n = n;
  pack.a_zero_point = static_cast<uint8_t>(a_zero_point);
  pack.b_zero_point = static_cast<uint8_t>(b_zero_point);
  pack.packed = packed.as<uint8_t>();
  MatmulS8Args args{};
  args.a = byte_span(a, a_offset, reach(m, a_stride, k) + 15, false);
  args.a_stride = a_stride;
  args.c = byte_span(c, c_offset, reach(m, c_stride, n), true);
  args.c_stride = c_stride;
  args.m = m;
  args.k = k;
  args.n = n;
  args.packed = pack.packed;
  args.wide = wide.as<uint8_t>();
  args.a_zero_point = pack.a_zero_point;
  args.b_zero_point = pack.b_zero_point;
  args.scale = scale;
  args.requant = make_requant(RoundingMode::kFloatRne, zero_point, qmin, qmax);
  const StoredScope stored({&a, &b, &c});
  kernel->pack(pack);
  kernel->run(args);
}

}  // namespace

void bind_matmul_s8(py::module_& m) {
  m.def("matmul_s8_rows", &rows, "Every kernel: (name, isa, op, supported).");
  m.def("matmul_s8_run", &run, py::arg("name"), py::arg("a"), py::arg("b"), py::arg("c"),
        py::arg("m"), py::arg("k"), py::arg("n"), py::kw_only(), py::arg("a_stride"),
        py::arg("b_stride"), py::arg("b_transposed"), py::arg("c_stride"), py::arg("a_zero_point"),
        py::arg("b_zero_point"), py::arg("scale"), py::arg("zero_point"), py::arg("qmin") = 0,
        py::arg("qmax") = 255, py::arg("a_offset") = 0, py::arg("b_offset") = 0,
        py::arg("c_offset") = 0,
        "Packs b and runs one kernel by name; strides in bytes, a needs 15 bytes behind it.");
}

}  // namespace octavo
