// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "ops/step.h"
#include "runtime/container.h"
#include "runtime/mapped_file.h"

namespace octavo {

// A validated program: everything C++ needs to run a network. Steps point into the vectors here, so
// a Plan is neither copied nor moved; constants point into the file's bytes.
struct Plan {
  Plan() = default;
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  std::vector<Tensor> tensors;
  std::vector<ConstData> constants;
  std::vector<StepView> steps;
  std::vector<const Tensor*> inputs, outputs;
  int64_t arena_bytes = 0;
  int64_t lower_bound_bytes = 0;
  uint64_t macs = 0;
  std::vector<Section> sections;

  // What the views above point into.
  std::vector<uint32_t> refs;
  std::vector<int32_t> ints;
  std::vector<float> floats;
  std::vector<char> strings;
};

// A plan together with the memory it was read from.
class LoadedPlan {
 public:
  static std::shared_ptr<const LoadedPlan> open(const char* path, bool map);
  // `owner` keeps `bytes` alive; without one the bytes are copied.
  static std::shared_ptr<const LoadedPlan> from_bytes(ByteSpan bytes, std::shared_ptr<void> owner);

  const Plan& plan() const { return plan_; }

 private:
  std::shared_ptr<void> owner_;
  Plan plan_;
};

}  // namespace octavo
