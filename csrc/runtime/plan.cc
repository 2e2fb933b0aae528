// SPDX-License-Identifier: Apache-2.0
#include "runtime/plan.h"

#include <cstring>

#include "runtime/plan_reader.h"

namespace octavo {

std::shared_ptr<const LoadedPlan> LoadedPlan::open(const char* path, bool map) {
  auto file = std::make_shared<MappedFile>(path, map);
  const ByteSpan bytes = file->bytes();
  return from_bytes(bytes, std::move(file));
}

std::shared_ptr<const LoadedPlan> LoadedPlan::from_bytes(ByteSpan bytes,
                                                         std::shared_ptr<void> owner) {
  if (owner == nullptr) {
    auto copy = std::make_shared<AlignedBuffer>(bytes.size);
    if (bytes.size > 0) std::memcpy(copy->data(), bytes.data, bytes.size);
    bytes.data = copy->data();
    owner = std::move(copy);
  }
  auto loaded = std::make_shared<LoadedPlan>();
  loaded->owner_ = std::move(owner);
  read_plan(bytes, &loaded->plan_);
  return loaded;
}

}  // namespace octavo
