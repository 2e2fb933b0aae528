// SPDX-License-Identifier: Apache-2.0
#include <pybind11/pybind11.h>

namespace octavo {

#define OCTAVO_BINDING(family) void bind_##family(pybind11::module_& m);
#include "bindings/bindings.inc"
#undef OCTAVO_BINDING

}  // namespace octavo

PYBIND11_MODULE(_core, m) {
  m.doc() = "C++ core of octavo: kernels, plan reader and executor.";
#define OCTAVO_BINDING(family) octavo::bind_##family(m);
#include "bindings/bindings.inc"
#undef OCTAVO_BINDING
}
