// SPDX-License-Identifier: Apache-2.0
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>
#include <tuple>

#include "base/error.h"
#include "bindings/array_check.h"
#include "bindings/named_run.h"
#include "bindings/plan_object.h"
#include "runtime/executor.h"

namespace py = pybind11;

namespace octavo {
namespace {

constexpr int kMaxRepeats = 1000000;

const char* precision_name(Precision precision) {
  switch (precision) {
    case Precision::kInt8: return "int8";
    case Precision::kFloat32: return "float32";
    case Precision::kCopy: return "copy";
    case Precision::kWeightsInt8: return "weights int8";
    case Precision::kDynamicInt8: return "dynamic int8";
    case Precision::kInt16: return "int16";
  }
  return "copy";
}

struct SessionObject {
  std::shared_ptr<Executor> executor;
};

// Arrays checked once; each run costs one call, two atomic exchanges and the steps.
class BoundRunObject {
 public:
  BoundRunObject(std::shared_ptr<Executor> executor, const py::sequence& in,
                 const py::sequence& out)
      : executor_(std::move(executor)), arrays_(executor_->plan(), in, out) {}

  void run() {
    arrays_.expect_unmoved();
    const py::gil_scoped_release nogil;
    executor_->run(arrays_.inputs.data(), arrays_.outputs.data());
  }

 private:
  std::shared_ptr<Executor> executor_;
  CheckedArrays arrays_;
};

SessionObject make_session(const PlanObject& plan, const std::optional<std::string>& isa,
                           int threads, const std::vector<std::string>& kernels,
                           const std::optional<std::string>& packed) {
  if (isa && isa->find('\0') != std::string::npos) {
    fail(ErrorCode::kIsa, "unknown ISA: the name holds a NUL byte");
  }
  const Isa cap = usable_isa(isa ? isa->c_str() : nullptr);
  const py::gil_scoped_release nogil;
  std::unique_ptr<PackCache> packs;
  if (packed) {
    packs = std::make_unique<PackCache>(pack_key(plan.loaded->plan(), cap));
    if (!packed->empty()) packs->open(packed->c_str());
  }
  return {std::make_shared<Executor>(plan.loaded, cap, threads, kernels, std::move(packs))};
}

// (tag, bytes) of what a session packed or found; None without a store.
py::object packed_parts(const SessionObject& self) {
  const PackCache* packs = self.executor->packs();
  if (packs == nullptr) return py::none();
  py::list rows;
  for (const PackCache::Part& part : packs->parts()) {
    rows.append(py::make_tuple(
        part.tag, py::bytes(reinterpret_cast<const char*>(part.bytes.data), part.bytes.size)));
  }
  return rows;
}

bool packed_complete(const SessionObject& self) {
  return self.executor->packs() != nullptr && self.executor->packs()->complete();
}

void run(const SessionObject& self, const py::sequence& inputs, const py::sequence& outputs) {
  const CheckedArrays arrays(self.executor->plan(), inputs, outputs);
  const py::gil_scoped_release nogil;
  self.executor->run(arrays.inputs.data(), arrays.outputs.data());
}

std::unique_ptr<BoundRunObject> bind(const SessionObject& self, const py::sequence& inputs,
                                     const py::sequence& outputs) {
  return std::make_unique<BoundRunObject>(self.executor, inputs, outputs);
}

py::list kernels(const SessionObject& self) {
  const Plan& plan = self.executor->plan();
  py::list rows;
  for (size_t s = 0; s < plan.steps.size(); ++s) {
    const OpInfo& info = self.executor->step_info(s);
    py::dict row;
    row["step"] = s;
    row["kind"] = plan.steps[s].kind;
    row["name"] = plan.steps[s].name;
    row["kernel"] = info.kernel;
    row["isa"] = isa_name(info.isa);
    row["precision"] = precision_name(info.precision);
    row["macs"] = plan.steps[s].macs;
    row["threads"] = info.threads;
    rows.append(row);
  }
  return rows;
}

std::vector<std::vector<int64_t>> step_times(const SessionObject& self, const py::sequence& inputs,
                                             const py::sequence& outputs, int repeats) {
  if (repeats < 1 || repeats > kMaxRepeats) {
    fail(ErrorCode::kInvalidArgument, "repeats is %d, must be 1 to %d", repeats, kMaxRepeats);
  }
  const CheckedArrays arrays(self.executor->plan(), inputs, outputs);
  const py::gil_scoped_release nogil;
  return self.executor->profile(arrays.inputs.data(), arrays.outputs.data(), repeats);
}

std::vector<std::tuple<int64_t, int64_t>> profile(const SessionObject& self,
                                                  const py::sequence& inputs,
                                                  const py::sequence& outputs, int repeats) {
  std::vector<std::vector<int64_t>> times = step_times(self, inputs, outputs, repeats);
  std::vector<std::tuple<int64_t, int64_t>> rows;
  for (std::vector<int64_t>& step : times) {
    std::sort(step.begin(), step.end());
    rows.emplace_back(step.front(), step[step.size() / 2]);
  }
  return rows;
}

py::array read_tensor(const SessionObject& self, const std::string& name) {
  for (const Tensor& t : self.executor->plan().tensors) {
    if (t.location != Location::kArena || name != t.name) continue;
    py::array array(numpy_dtype(t.dtype), std::vector<py::ssize_t>(t.dims, t.dims + t.rank));
    self.executor->read_tensor(t, static_cast<uint8_t*>(array.mutable_data()));
    return array;
  }
  fail(ErrorCode::kInvalidArgument, "no tensor '%.200s' in the arena", name.c_str());
}

}  // namespace

void bind_session(py::module_& m) {
  py::class_<BoundRunObject>(m, "BoundRun", "Arrays bound to a session.")
      .def("run", &BoundRunObject::run, "One inference from and into the bound arrays.");
  py::class_<NamedRun>(m, "NamedRun", "Runs a session on arrays by name.")
      .def("run", &NamedRun::run, py::arg("inputs"), py::arg("out") = py::none(),
           "The outputs by name, or None if the arguments are not exactly as expected.");
  py::class_<SessionObject>(m, "Session", "A plan made ready for one ISA and thread count.")
      .def(py::init(&make_session), py::arg("plan"), py::arg("isa") = py::none(),
           py::arg("threads") = 1, py::arg("kernels") = std::vector<std::string>(),
           py::arg("packed") = py::none())
      .def("run", &run, py::arg("inputs"), py::arg("outputs"),
           "Arrays in the plan's order; exactly dtype, shape, C order. Outputs are written.")
      .def("bind", &bind, py::arg("inputs"), py::arg("outputs"),
           "Checks the arrays once and returns a BoundRun.")
      .def(
          "named",
          [](const SessionObject& s, const py::sequence& inputs, const py::sequence& outputs) {
            return std::make_unique<NamedRun>(s.executor, inputs, outputs);
          },
          py::arg("inputs"), py::arg("outputs"), "A NamedRun for these names, in order.")
      .def("kernels", &kernels, "Per step: what was selected.")
      .def("packed_parts", &packed_parts,
           "(tag, bytes) of the packed weights, for pack_key's file.")
      .def_property_readonly("packed_complete", &packed_complete,
                             "Whether all packed weights came from the file.")
      .def("profile", &profile, py::arg("inputs"), py::arg("outputs"), py::arg("repeats") = 20,
           "(fastest, median) nanoseconds per step.")
      .def("step_times", &step_times, py::arg("inputs"), py::arg("outputs"), py::arg("repeats"),
           "Per step: its nanoseconds in each run. Steps of one run follow without gaps.")
      .def("read_tensor", &read_tensor, py::arg("name"),
           "A copy of an arena tensor as the last run left it.")
      .def(
          "poison", [](const SessionObject& s, uint8_t value) { s.executor->poison(value); },
          py::arg("value"), "Fills the idle arena and scratch with a byte (tests).")
      .def_property_readonly("threads",
                             [](const SessionObject& s) { return s.executor->threads(); })
      .def_property_readonly("arena_bytes",
                             [](const SessionObject& s) { return s.executor->plan().arena_bytes; })
      .def_property_readonly("scratch_bytes",
                             [](const SessionObject& s) { return s.executor->scratch_bytes(); })
      .def_property_readonly("packed_bytes",
                             [](const SessionObject& s) { return s.executor->packed_bytes(); });
}

}  // namespace octavo
