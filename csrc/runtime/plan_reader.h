// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "runtime/plan.h"

namespace octavo {

// Reads the container and its plan section into *plan (empty before). Every number is checked
// before it becomes an address, a length or an allocation; afterwards no tensor, constant or
// argument of a step can lead outside the file or the arena. Throws Error(kFormat, kLimit,
// kUnsupported).
void read_plan(ByteSpan file, Plan* plan);

}  // namespace octavo
