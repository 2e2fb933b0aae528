// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <pybind11/pybind11.h>

namespace octavo {

// base/ for Python: CPU and ISA information, CRC-32 and guard-page buffers. Also maps
// octavo::Error to the classes of octavo.errors.
void bind_base(pybind11::module_& m);

}  // namespace octavo
