// SPDX-License-Identifier: Apache-2.0
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <string>
#include <vector>

#include "base/checked.h"
#include "base/error.h"
#include "bindings/byte_span.h"
#include "bindings/stored_scope.h"
#include "kernels/gemm_s8/gemm_s8.h"
#include "kernels/gemm_s8/pack.h"
#include "kernels/peak/peak.h"

namespace py = pybind11;

namespace octavo {
namespace {

template <class T>
using Array = py::array_t<T, py::array::c_style | py::array::forcecast>;

const char* path_name(GemmS8Path path) {
  switch (path) {
    case GemmS8Path::kDot: return "dot";
    case GemmS8Path::kMaddubs: return "maddubs";
    case GemmS8Path::kMmla: return "mmla";
    case GemmS8Path::kMlal: return "mlal";
  }
  return "";
}

py::list rows() {
  py::list result;
  int count;
  const GemmS8Kernel* kernels = gemm_s8_kernels(&count);
  for (int i = 0; i < count; ++i) {
    const GemmS8Kernel& k = kernels[i];
    py::dict row;
    row["name"] = k.name;
    row["isa"] = isa_name(k.isa);
    row["mr"] = k.mr;
    row["nr"] = k.nr;
    row["path"] = path_name(k.path);
    row["step_bytes"] = step_bytes(k.path);
    row["supported"] = isa_supported(k.isa);
    result.append(row);
  }
  return result;
}

const GemmS8Kernel& usable_kernel(const std::string& name) {
  const GemmS8Kernel* kernel = find_gemm_s8(name.c_str());
  if (kernel == nullptr || !isa_supported(kernel->isa)) {
    fail(ErrorCode::kIsa, "gemm_s8: no usable kernel '%s'", name.c_str());
  }
  return *kernel;
}

// One packed layer and the row pointers of its calls, for tests and benchmarks.
class GemmS8 {
 public:
  GemmS8(const std::string& kernel, const Array<int16_t>& weights, const Array<int32_t>& bias,
         const Array<float>& multiplier, int a_zero_point, const Array<int32_t>& segment_offsets,
         int out_zero_point, int qmin, int qmax)
      : kernel_(usable_kernel(kernel)),
        requant_(make_requant(RoundingMode::kFloatRne, out_zero_point, qmin, qmax)) {
    if (weights.ndim() != 3 || weights.size() == 0 || bias.size() != weights.shape(0) ||
        multiplier.size() != weights.shape(0) || segment_offsets.size() != weights.shape(1)) {
      fail(ErrorCode::kShape,
           "GemmS8: weights [n, segments, length], bias [n], multiplier [n], segment_offsets "
           "[segments], none of them empty");
    }
    GemmS8Weights w;
    w.n = checked_int32(weights.shape(0), "n");
    w.segment_count = checked_int32(weights.shape(1), "segments");
    w.segment_len = checked_int32(weights.shape(2), "length");
    w.weights = weights.data();
    w.bias = bias.data();
    w.multiplier = multiplier.data();
    w.a_zero_point = a_zero_point;
    w.segment_offset = segment_offsets.data();
    n_ = w.n;
    const auto [first, last] =
        std::minmax_element(w.segment_offset, w.segment_offset + w.segment_count);
    read_begin_ = *first;
    read_end_ = *last + checked_round_up(w.segment_len, step_bytes(kernel_.path));
    packed_ = pack_gemm_s8(kernel_, w);
  }

  void run(const py::buffer& a, const Array<int64_t>& a_row_offsets, const py::buffer& c,
           const Array<int64_t>& c_row_offsets) {
    const GemmS8Args args = make_args(a, a_row_offsets, c, c_row_offsets);
    const StoredScope stored({&a, &c});
    py::gil_scoped_release nogil;
    kernel_.run(args);
  }

  // The accumulators [m][n] in the graph's order of channels.
  Array<int32_t> sums(const py::buffer& a, const Array<int64_t>& a_row_offsets) {
    const int32_t m = checked_int32(a_row_offsets.size(), "m"), nr = kernel_.nr;
    const int64_t width = static_cast<int64_t>(packed_.blocks.size()) * nr;
    std::vector<int32_t> kept(static_cast<size_t>(m * width));
    GemmS8Args args = make_args(a, a_row_offsets);
    std::vector<int32_t*> rows;
    for (size_t i = 0; i < a_rows_.size(); ++i) {
      rows.push_back(kept.data() + std::min<int64_t>(static_cast<int64_t>(i), m - 1) * width);
    }
    args.sum_rows = rows.data();
    {
      const StoredScope stored({&a});
      kernel_.run(args);
    }
    Array<int32_t> result({int64_t{m}, int64_t{n_}});
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t p = 0; p < width; ++p) {
        const int64_t c = p / nr * nr + kernel_.column(static_cast<int>(p % nr));
        if (c < n_) result.mutable_at(i, c) = kept[static_cast<size_t>(i * width + p)];
      }
    }
    return result;
  }

  double time(const py::buffer& a, const Array<int64_t>& a_row_offsets, const py::buffer& c,
              const Array<int64_t>& c_row_offsets, int repeats) {
    const GemmS8Args args = make_args(a, a_row_offsets, c, c_row_offsets);
    py::gil_scoped_release nogil;
    double best = std::numeric_limits<double>::infinity();
    for (int i = 0; i < repeats; ++i) {
      const auto begin = std::chrono::steady_clock::now();
      kernel_.run(args);
      const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
      best = std::min(best, time.count());
    }
    return best;
  }

  int64_t steps() const {
    int64_t count = flipped_steps();
    for (const GemmS8Block& block : packed_.blocks) count += block.step_count;
    return count;
  }
  int64_t flipped_steps() const {
    int64_t count = 0;
    for (const GemmS8Block& block : packed_.blocks) count += block.flipped_count;
    return count;
  }

 private:
  GemmS8Args make_args(const py::buffer& a, const Array<int64_t>& a_row_offsets,
                       const py::buffer& c, const Array<int64_t>& c_row_offsets) {
    GemmS8Args args = make_args(a, a_row_offsets);
    if (c_row_offsets.size() != args.m) {
      fail(ErrorCode::kShape, "GemmS8: as many output rows as input rows");
    }
    c_rows_.clear();
    for (int32_t i = 0; i < args.m; ++i) {
      c_rows_.push_back(byte_span(c, c_row_offsets.data()[i], n_, true));
    }
    while (c_rows_.size() < a_rows_.size()) c_rows_.push_back(c_rows_.back());
    args.c_rows = c_rows_.data();
    return args;
  }

  GemmS8Args make_args(const py::buffer& a, const Array<int64_t>& a_row_offsets) {
    const int32_t m = checked_int32(a_row_offsets.size(), "m");
    if (m == 0) fail(ErrorCode::kShape, "GemmS8: no row");
    a_rows_.clear();
    for (int32_t i = 0; i < m; ++i) {
      const int64_t at = a_row_offsets.data()[i];
      a_rows_.push_back(byte_span(a, at + read_begin_, read_end_ - read_begin_, false) -
                        read_begin_);
    }
    while (a_rows_.size() % kernel_.mr != 0) a_rows_.push_back(a_rows_.back());
    GemmS8Args args;
    args.a_rows = a_rows_.data();
    args.m = m;
    args.blocks = packed_.blocks.data();
    args.block_end = static_cast<int32_t>(packed_.blocks.size());
    args.requant = requant_;
    return args;
  }

  const GemmS8Kernel& kernel_;
  Requant requant_;
  int32_t n_ = 0;
  int64_t read_begin_ = 0, read_end_ = 0;  // bytes that a row reads, from its pointer
  PackedGemmS8 packed_;
  std::vector<const uint8_t*> a_rows_;
  std::vector<uint8_t*> c_rows_;
};

Isa isa_argument(const std::string& name) {
  Isa isa;
  if (!parse_isa(name.c_str(), &isa)) {
    fail(ErrorCode::kIsa, "unknown ISA '%s'; octavo.cpu_info() lists the names", name.c_str());
  }
  return isa;
}

std::string select_name(const std::string& isa, int64_t m, int32_t n, int32_t k) {
  return select_gemm_s8(isa_argument(isa), {m, n, k}).name;
}

double peak_of(const std::string& isa) {
  const PeakKernel& row = select_peak(isa_argument(isa));
  py::gil_scoped_release nogil;
  return measure_peak(row);
}

}  // namespace

void bind_gemm_s8(py::module_& m) {
  py::class_<GemmS8>(m, "GemmS8", "One packed layer of one kernel row, for tests and benchmarks.")
      .def(py::init<const std::string&, const Array<int16_t>&, const Array<int32_t>&,
                    const Array<float>&, int, const Array<int32_t>&, int, int, int>(),
           py::arg("kernel"), py::arg("weights"), py::arg("bias"), py::arg("multiplier"),
           py::arg("a_zero_point"), py::arg("segment_offsets"), py::arg("out_zero_point") = 0,
           py::arg("qmin") = 0, py::arg("qmax") = 255)
      .def("run", &GemmS8::run, py::arg("a"), py::arg("a_row_offsets"), py::arg("c"),
           py::arg("c_row_offsets"))
      .def("sums", &GemmS8::sums, py::arg("a"), py::arg("a_row_offsets"),
           "int32 [m, n]: the accumulators instead of the bytes made of them.")
      .def("time", &GemmS8::time, py::arg("a"), py::arg("a_row_offsets"), py::arg("c"),
           py::arg("c_row_offsets"), py::arg("repeats"), "Seconds of the fastest call.")
      .def_property_readonly("steps", &GemmS8::steps, "Steps of 4 or 8 bytes of all N-blocks.")
      .def_property_readonly("flipped_steps", &GemmS8::flipped_steps,
                             "Those that take A as the signed operand of vpmaddubsw.");
  m.def("gemm_s8_rows", &rows, "Every kernel: name, isa, mr, nr, path, step_bytes, supported.");
  m.def("gemm_s8_select", &select_name, py::arg("isa"), py::arg("m"), py::arg("n"), py::arg("k"),
        "The kernel that a layer gets when restricted to `isa`.");
  m.def("measure_peak", &peak_of, py::arg("isa"),
        "GMAC/s of one core in register-only loops of the best usable row under `isa`.");
}

}  // namespace octavo
