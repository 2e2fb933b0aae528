// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <pybind11/pybind11.h>

namespace octavo {

// base/ for Python: CPU and ISA information, CRC-32, guard-page buffers and hooks that let the
// tests observe parallel_for. Also maps octavo::Error to the classes of octavo.errors.
void bind_base(pybind11::module_& m);

}  // namespace octavo
