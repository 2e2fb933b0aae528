// SPDX-License-Identifier: Apache-2.0
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/checked.h"
#include "base/error.h"
#include "bindings/byte_span.h"
#include "kernels/gemm_s16/gemm_s16.h"

namespace py = pybind11;

namespace octavo {
namespace {

template <class T>
using Array = py::array_t<T, py::array::c_style | py::array::forcecast>;

py::list rows() {
  py::list result;
  int count;
  const GemmS16Kernel* kernels = gemm_s16_kernels(&count);
  for (int i = 0; i < count; ++i) {
    const GemmS16Kernel& k = kernels[i];
    result.append(py::make_tuple(k.name, isa_name(k.isa), k.nr, isa_supported(k.isa)));
  }
  return result;
}

// Rows of `a` begin at element offsets; weights [pairs][nr][2].
Array<int64_t> run(const std::string& name, const py::buffer& a, const Array<int64_t>& row_offsets,
                   const Array<int32_t>& pair_offsets, const Array<int16_t>& weights,
                   int pairs_per_sum, int repeats) {
  const GemmS16Kernel* kernel = find_gemm_s16(name.c_str());
  if (kernel == nullptr || !isa_supported(kernel->isa)) {
    fail(ErrorCode::kIsa, "gemm_s16: no usable kernel '%s'", name.c_str());
  }
  const int64_t pairs = pair_offsets.size(), m = row_offsets.size();
  if (weights.size() != pairs * kernel->nr * 2 || pairs == 0 || pairs_per_sum < 1) {
    fail(ErrorCode::kShape, "gemm_s16: weights [pairs][nr][2], at least one pair");
  }
  AlignedBuffer packed(static_cast<size_t>(weights.nbytes()));
  std::copy_n(weights.data(), weights.size(), packed.as<int16_t>());
  std::vector<const int16_t*> a_rows;
  for (int64_t i = 0; i < m; ++i) {
    const int64_t at = row_offsets.data()[i];
    for (int64_t p = 0; p < pairs; ++p) {  // every pair that is read lies in the buffer
      byte_span(a, (at + pair_offsets.data()[p]) * 2, 4, false);
    }
    a_rows.push_back(reinterpret_cast<const int16_t*>(byte_span(a, at * 2, 0, false)));
  }
  Array<int64_t> sums({m, int64_t{kernel->nr}});
  GemmS16Args args;
  args.a_rows = a_rows.data();
  args.pair_offset = pair_offsets.data();
  args.weights = packed.as<int16_t>();
  args.pairs = checked_int32(pairs, "pairs");
  args.pairs_per_sum = pairs_per_sum;
  args.m = checked_int32(m, "m");
  args.sums = sums.mutable_data();
  for (int i = 0; i < repeats; ++i) kernel->run(args);
  return sums;
}

}  // namespace

void bind_gemm_s16(py::module_& m) {
  m.def("gemm_s16_rows", &rows, "Every kernel: (name, isa, nr, supported).");
  m.def("gemm_s16_run", &run, py::arg("name"), py::arg("a"), py::arg("row_offsets"),
        py::arg("pair_offsets"), py::arg("weights"), py::arg("pairs_per_sum"),
        py::arg("repeats") = 1,
        "int64 [m, nr]: exact sums of s16 rows times packed weights [pairs, nr, 2].");
}

}  // namespace octavo
