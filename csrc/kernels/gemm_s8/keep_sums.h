// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "kernels/requant.h"

namespace octavo {
namespace {

// The epilogue that is none: a tile's sums go to GemmS8Args::sum_rows as they are.
struct KeepSums {
  explicit KeepSums(const Requant&) {}
};

}  // namespace
}  // namespace octavo
