// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <memory>

#include "runtime/plan.h"

namespace octavo {

// _core.Plan: shares the loaded plan with the sessions made from it.
struct PlanObject {
  std::shared_ptr<const LoadedPlan> loaded;
};

}  // namespace octavo
