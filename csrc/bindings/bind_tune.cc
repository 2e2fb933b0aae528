// SPDX-License-Identifier: Apache-2.0
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cinttypes>
#include <cstdio>
#include <optional>
#include <string>
#include <tuple>

#include "base/error.h"
#include "bindings/plan_object.h"
#include "runtime/executor.h"
#include "runtime/tune.h"

namespace py = pybind11;

namespace octavo {
namespace {

Isa isa_of(const std::optional<std::string>& name) {
  return usable_isa(name ? name->c_str() : nullptr);
}

py::list tunable(const PlanObject& plan, const std::optional<std::string>& isa, int threads) {
  const Isa cap = isa_of(isa);
  std::vector<TunableStep> steps;
  {
    const py::gil_scoped_release nogil;
    steps = tunable_steps(plan.loaded->plan(), cap, threads);
  }
  py::list rows;
  for (const TunableStep& step : steps) {
    char signature[17];
    std::snprintf(signature, sizeof signature, "%016" PRIx64, step.signature);
    py::list kernels;
    for (const char* kernel : step.kernels) kernels.append(kernel);
    rows.append(py::make_tuple(step.step, std::string(signature), kernels));
  }
  return rows;
}

std::string key_of(const PlanObject& plan, const std::optional<std::string>& isa) {
  return pack_key(plan.loaded->plan(), isa_of(isa));
}

std::vector<std::tuple<std::string, int64_t>> time_step(const PlanObject& plan, size_t step,
                                                        const std::optional<std::string>& isa,
                                                        int threads, int64_t budget_ns) {
  const Plan& loaded = plan.loaded->plan();
  if (step >= loaded.steps.size()) {
    fail(ErrorCode::kInvalidArgument, "step %zu of %zu", step, loaded.steps.size());
  }
  const Isa cap = isa_of(isa);
  const py::gil_scoped_release nogil;
  std::vector<std::tuple<std::string, int64_t>> rows;
  for (const KernelTime& time : time_kernels(loaded, step, cap, threads, budget_ns)) {
    rows.emplace_back(time.kernel, time.ns);
  }
  return rows;
}

}  // namespace

void bind_tune(py::module_& m) {
  m.def("tunable_steps", &tunable, py::arg("plan"), py::arg("isa") = py::none(),
        py::arg("threads") = 1,
        "(step, signature, kernels) where several can run a step, the cost model's choice first.");
  m.def("pack_key", &key_of, py::arg("plan"), py::arg("isa") = py::none(),
        "What packed weights depend on besides the choice of kernels.");
  m.def("time_kernels", &time_step, py::arg("plan"), py::arg("step"), py::arg("isa") = py::none(),
        py::arg("threads") = 1, py::arg("budget_ns") = 3000000,
        "(kernel, fastest nanoseconds) of a step, the kernels taking turns.");
}

}  // namespace octavo
