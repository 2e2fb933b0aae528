// SPDX-License-Identifier: Apache-2.0
#include <pybind11/pybind11.h>

#include <string>

#include "base/error.h"
#include "bindings/byte_span.h"
#include "kernels/convert/convert.h"

namespace py = pybind11;

namespace octavo {
namespace {

constexpr int64_t kFloat = sizeof(float);
constexpr const char* kOps[] = {"quantize", "quantize_chw", "dequantize", "flip"};

py::list rows() {
  py::list result;
  int count;
  const ConvertKernels* kernels = convert_kernels(&count);
  for (int i = 0; i < count; ++i) {
    for (const char* op : kOps) {
      const ConvertKernels& k = kernels[i];
      result.append(py::make_tuple(k.name, isa_name(k.isa), op, isa_supported(k.isa)));
    }
  }
  return result;
}

const ConvertKernels& usable(const std::string& name) {
  const ConvertKernels* kernels = find_convert(name.c_str());
  if (kernels == nullptr || !isa_supported(kernels->isa)) {
    fail(ErrorCode::kIsa, "convert: no usable kernels '%s'", name.c_str());
  }
  return *kernels;
}

const float* floats(const py::buffer& object, int64_t offset, int64_t count) {
  return reinterpret_cast<const float*>(byte_span(object, offset, count * kFloat, false));
}

void quantize(const std::string& name, const py::buffer& in, const py::buffer& out, int64_t n,
              float scale, int32_t zero_point, uint8_t flip, int64_t in_offset,
              int64_t out_offset) {
  usable(name).quantize(
      {floats(in, in_offset, n), byte_span(out, out_offset, n, true), n, scale, zero_point, flip});
}

void quantize_chw(const std::string& name, const py::buffer& in, int64_t in_channel_stride,
                  const py::buffer& out, int64_t out_pixel_stride, int32_t width, int32_t channels,
                  float scale, int32_t zero_point, uint8_t flip, int64_t in_offset,
                  int64_t out_offset) {
  if (in_channel_stride < width || out_pixel_stride < channels || width < 1 || channels < 1) {
    fail(ErrorCode::kInvalidArgument, "quantize_chw: strides below the extents, or no pixels");
  }
  QuantizeChwArgs args{};
  args.in = floats(in, in_offset, (channels - 1) * in_channel_stride + width);
  args.in_channel_stride = in_channel_stride;
  args.out = byte_span(out, out_offset, (width - 1) * out_pixel_stride + channels, true);
  args.out_pixel_stride = out_pixel_stride;
  args.width = width;
  args.channels = channels;
  args.scale = scale;
  args.zero_point = zero_point;
  args.flip = flip;
  usable(name).quantize_chw(args);
}

void dequantize(const std::string& name, const py::buffer& in, const py::buffer& out, int64_t n,
                float scale, int32_t zero_point, uint8_t flip, int64_t in_offset,
                int64_t out_offset) {
  float* x = reinterpret_cast<float*>(byte_span(out, out_offset, n * kFloat, true));
  usable(name).dequantize({byte_span(in, in_offset, n, false), x, n, scale, zero_point, flip});
}

void flip_sign(const std::string& name, const py::buffer& in, const py::buffer& out, int64_t n,
               int64_t in_offset, int64_t out_offset) {
  usable(name).flip({byte_span(in, in_offset, n, false), byte_span(out, out_offset, n, true), n});
}

}  // namespace

void bind_convert(py::module_& m) {
  m.def("convert_rows", &rows, "Every kernel: (name, isa, op, supported).");
  m.def("convert_quantize", &quantize, py::arg("name"), py::arg("in_"), py::arg("out"),
        py::arg("n"), py::kw_only(), py::arg("scale"), py::arg("zero_point"), py::arg("flip") = 0,
        py::arg("in_offset") = 0, py::arg("out_offset") = 0, "n float32 to n bytes.");
  m.def("convert_quantize_chw", &quantize_chw, py::arg("name"), py::arg("in_"),
        py::arg("in_channel_stride"), py::arg("out"), py::arg("out_pixel_stride"), py::arg("width"),
        py::arg("channels"), py::kw_only(), py::arg("scale"), py::arg("zero_point"),
        py::arg("flip") = 0, py::arg("in_offset") = 0, py::arg("out_offset") = 0,
        "float32 planes to byte pixels; the offsets are in bytes.");
  m.def("convert_dequantize", &dequantize, py::arg("name"), py::arg("in_"), py::arg("out"),
        py::arg("n"), py::kw_only(), py::arg("scale"), py::arg("zero_point"), py::arg("flip") = 0,
        py::arg("in_offset") = 0, py::arg("out_offset") = 0, "n bytes to n float32.");
  m.def("convert_flip", &flip_sign, py::arg("name"), py::arg("in_"), py::arg("out"), py::arg("n"),
        py::kw_only(), py::arg("in_offset") = 0, py::arg("out_offset") = 0, "n bytes XOR 0x80.");
}

}  // namespace octavo
