// SPDX-License-Identifier: Apache-2.0
#include "ops/halo.h"

#include <cstring>

namespace octavo {

HaloFill::HaloFill(const Tensor& t)
    : first_(t),
      halo_(t.halo),
      images_(t.dims[0]),
      rows_(t.dims[1]),
      cols_(t.dims[2]),
      image_(t.strides[0]),
      row_(t.strides[1]),
      pixel_(t.strides[2]),
      pixel_bytes_(t.dims[3] * t.item_size()),
      value_(t.dtype == DType::kU8 ? t.zero_point ^ stored_flip(t) : 0) {
  info_.kernel = "halo";
}

void HaloFill::run(const RunContext& ctx) const noexcept {
  uint8_t* image = first_.in(ctx);
  for (int32_t n = 0; n < images_; ++n, image += image_) fill_image(image);
}

void HaloFill::fill_image(uint8_t* image) const noexcept {
  const int64_t inside = int64_t{halo_.left} + cols_;  // pixels of a row before its right halo
  const int64_t width = inside + halo_.right;
  uint8_t* row = image - halo_.top * row_ - halo_.left * pixel_;
  for (int32_t y = 0; y < halo_.top; ++y, row += row_) fill_pixels(row, width);
  // Rows that follow each other without a gap: the right halo of one and the left halo of the next
  // are one run.
  const bool gapless = row_ == width * pixel_;
  if (gapless) {
    fill_pixels(row, halo_.left);
    for (int32_t y = 0; y + 1 < rows_; ++y, row += row_) {
      fill_pixels(row + inside * pixel_, int64_t{halo_.right} + halo_.left);
    }
    fill_pixels(row + inside * pixel_, halo_.right);
    row += row_;
  } else {
    for (int32_t y = 0; y < rows_; ++y, row += row_) {
      fill_pixels(row, halo_.left);
      fill_pixels(row + inside * pixel_, halo_.right);
    }
  }
  for (int32_t y = 0; y < halo_.bottom; ++y, row += row_) fill_pixels(row, width);
}

void HaloFill::fill_pixels(uint8_t* at, int64_t count) const noexcept {
  if (pixel_ == pixel_bytes_) {
    std::memset(at, value_, static_cast<size_t>(count * pixel_));
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    std::memset(at + i * pixel_, value_, static_cast<size_t>(pixel_bytes_));
  }
}

}  // namespace octavo
