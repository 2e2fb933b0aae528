// SPDX-License-Identifier: Apache-2.0
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <string>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/checked.h"
#include "base/error.h"
#include "bindings/byte_span.h"
#include "kernels/gemm_f32/gemm_f32.h"

namespace py = pybind11;

namespace octavo {
namespace {

template <class T>
using Array = py::array_t<T, py::array::c_style | py::array::forcecast>;

py::list rows() {
  py::list result;
  int count;
  const GemmF32Kernel* kernels = gemm_f32_kernels(&count);
  for (int i = 0; i < count; ++i) {
    const GemmF32Kernel& k = kernels[i];
    result.append(py::make_tuple(k.name, isa_name(k.isa), k.mr, k.nr, isa_supported(k.isa)));
  }
  return result;
}

const GemmF32Kernel& usable_kernel(const std::string& name) {
  const GemmF32Kernel* kernel = find_gemm_f32(name.c_str());
  if (kernel == nullptr || !isa_supported(kernel->isa)) {
    fail(ErrorCode::kIsa, "gemm_f32: no usable kernel '%s'", name.c_str());
  }
  return *kernel;
}

// One packed layer and the row pointers of its calls, for tests and benchmarks.
class GemmF32 {
 public:
  GemmF32(const std::string& kernel, const Array<float>& weights, const Array<float>& bias,
          const Array<int32_t>& segment_offsets, float lo, float hi)
      : kernel_(usable_kernel(kernel)) {
    if (weights.ndim() != 3 || weights.size() == 0 || bias.size() != weights.shape(0) ||
        segment_offsets.size() != weights.shape(1)) {
      fail(ErrorCode::kShape,
           "GemmF32: weights [n, segments, length], bias [n], segment_offsets [segments], not "
           "empty");
    }
    segments_.assign(segment_offsets.data(), segment_offsets.data() + segment_offsets.size());
    const auto [first, last] = std::minmax_element(segments_.begin(), segments_.end());
    args_.n = checked_int32(weights.shape(0), "n");
    args_.segments = segments_.data();
    args_.segment_count = checked_int32(weights.shape(1), "segments");
    args_.segment_len = checked_int32(weights.shape(2), "length");
    args_.block_end = (args_.n + kernel_.nr - 1) / kernel_.nr;
    args_.lo = lo;
    args_.hi = hi;
    read_begin_ = *first;
    read_end_ = *last + weights.shape(2) * int64_t{sizeof(float)};
    pack(weights.data(), bias.data());
  }

  void run(const py::buffer& a, const Array<int64_t>& a_row_offsets, const py::buffer& c,
           const Array<int64_t>& c_row_offsets) {
    bind(a, a_row_offsets, c, c_row_offsets);
    py::gil_scoped_release nogil;
    kernel_.run(args_);
  }

  double time(const py::buffer& a, const Array<int64_t>& a_row_offsets, const py::buffer& c,
              const Array<int64_t>& c_row_offsets, int repeats) {
    bind(a, a_row_offsets, c, c_row_offsets);
    py::gil_scoped_release nogil;
    double best = std::numeric_limits<double>::infinity();
    for (int i = 0; i < repeats; ++i) {
      const auto begin = std::chrono::steady_clock::now();
      kernel_.run(args_);
      const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
      best = std::min(best, time.count());
    }
    return best;
  }

 private:
  void pack(const float* weights, const float* bias) {
    const int64_t k = int64_t{args_.segment_count} * args_.segment_len;
    const int64_t size = checked_round_up(packed_gemm_f32_size(kernel_, args_.n, k), 16);
    const int64_t columns = checked_round_up(args_.n, kernel_.nr);
    storage_ = AlignedBuffer(static_cast<size_t>(checked_mul(size + columns, 4)));
    pack_gemm_f32(kernel_, weights, k, 1, args_.n, k, storage_.as<float>());
    std::copy_n(bias, args_.n, storage_.as<float>() + size);
    args_.weights = storage_.as<float>();
    args_.bias = storage_.as<float>() + size;
  }

  void bind(const py::buffer& a, const Array<int64_t>& a_row_offsets, const py::buffer& c,
            const Array<int64_t>& c_row_offsets) {
    const int32_t m = checked_int32(a_row_offsets.size(), "m");
    if (m == 0 || c_row_offsets.size() != m) {
      fail(ErrorCode::kShape, "GemmF32: as many output rows as input rows, and at least one");
    }
    a_rows_.clear();
    c_rows_.clear();
    for (int32_t i = 0; i < m; ++i) {
      const int64_t at = a_row_offsets.data()[i];
      a_rows_.push_back(byte_span(a, at + read_begin_, read_end_ - read_begin_, false) -
                        read_begin_);
      c_rows_.push_back(
          byte_span(c, c_row_offsets.data()[i], args_.n * int64_t{sizeof(float)}, true));
    }
    args_.a_rows = a_rows_.data();
    args_.c_rows = c_rows_.data();
    args_.m = m;
  }

  const GemmF32Kernel& kernel_;
  GemmF32Args args_;
  AlignedBuffer storage_;
  std::vector<int32_t> segments_;
  int64_t read_begin_ = 0, read_end_ = 0;  // bytes that a row reads, from its pointer
  std::vector<const uint8_t*> a_rows_;
  std::vector<uint8_t*> c_rows_;
};

}  // namespace

void bind_gemm_f32(py::module_& m) {
  py::class_<GemmF32>(m, "GemmF32", "One packed layer of one kernel row, for tests and benchmarks.")
      .def(py::init<const std::string&, const Array<float>&, const Array<float>&,
                    const Array<int32_t>&, float, float>(),
           py::arg("kernel"), py::arg("weights"), py::arg("bias"), py::arg("segment_offsets"),
           py::arg("lo"), py::arg("hi"))
      .def("run", &GemmF32::run, py::arg("a"), py::arg("a_row_offsets"), py::arg("c"),
           py::arg("c_row_offsets"), "Offsets in bytes.")
      .def("time", &GemmF32::time, py::arg("a"), py::arg("a_row_offsets"), py::arg("c"),
           py::arg("c_row_offsets"), py::arg("repeats"), "Seconds of the fastest call.");
  m.def("gemm_f32_rows", &rows, "Every kernel: (name, isa, mr, nr, supported).");
}

}  // namespace octavo
