// SPDX-License-Identifier: Apache-2.0
#define OCTAVO_BUILDING 1
#include "capi/octavo.h"

#include <cstring>
#include <new>

#include "base/error.h"
#include "runtime/executor.h"

using octavo::DType;
using octavo::Error;
using octavo::ErrorCode;
using octavo::Executor;
using octavo::LoadedPlan;
using octavo::Tensor;

static_assert(static_cast<int>(ErrorCode::kFormat) + 1 == OCTAVO_FORMAT &&
              static_cast<int>(ErrorCode::kInternal) + 1 == OCTAVO_INTERNAL);
static_assert(static_cast<int>(DType::kF32) == OCTAVO_F32 &&
              static_cast<int>(DType::kBool) == OCTAVO_BOOL);

struct octavo_model {
  std::unique_ptr<Executor> executor;
};

namespace {

// Fixed storage: telling of a failure must not allocate.
thread_local char last_error[1024] = "";

octavo_status set_error(octavo_status status, const char* message) noexcept {
  std::strncpy(last_error, message, sizeof last_error - 1);
  return status;
}

// Runs `body`, turning every exception into a status.
template <class Body>
octavo_status guarded(Body&& body) noexcept {
  try {
    body();
    return OCTAVO_OK;
  } catch (const Error& error) {
    return set_error(static_cast<octavo_status>(static_cast<int>(error.code()) + 1), error.what());
  } catch (const std::bad_alloc&) {
    return set_error(OCTAVO_LIMIT, "out of memory");
  } catch (const std::exception& error) {
    return set_error(OCTAVO_INTERNAL, error.what());
  } catch (...) {
    return set_error(OCTAVO_INTERNAL, "unknown exception");
  }
}

void require(bool condition, const char* what) {
  if (!condition) octavo::fail(ErrorCode::kInvalidArgument, "%s", what);
}

octavo_model* make_model(std::shared_ptr<const LoadedPlan> plan, const char* isa, int threads) {
  auto executor = std::make_unique<Executor>(std::move(plan), octavo::usable_isa(isa), threads);
  return new octavo_model{std::move(executor)};
}

octavo_status tensor_info(const octavo_model* model, bool output, int32_t index,
                          octavo_tensor_info* info) noexcept {
  return guarded([&] {
    require(model != nullptr && info != nullptr, "model or info is NULL");
    const octavo::Plan& plan = model->executor->plan();
    const std::vector<const Tensor*>& tensors = output ? plan.outputs : plan.inputs;
    if (index < 0 || static_cast<size_t>(index) >= tensors.size()) {
      octavo::fail(ErrorCode::kInvalidArgument, "index %d of %zu tensors", index, tensors.size());
    }
    const Tensor& t = *tensors[static_cast<size_t>(index)];
    info->name = t.name;
    info->dtype = static_cast<octavo_dtype>(t.dtype);
    info->rank = t.rank;
    std::memcpy(info->dims, t.dims, sizeof info->dims);
    info->scale = octavo::is_8bit(t.dtype) ? t.scale : 1.0f;
    info->zero_point = octavo::is_8bit(t.dtype) ? t.zero_point : 0;
    info->bytes = static_cast<size_t>(t.bytes());
  });
}

// The caller's arrays as byte addresses; NULL and misaligned ones are refused.
void check_arrays(const std::vector<const Tensor*>& tensors, const void* const* arrays) {
  require(arrays != nullptr || tensors.empty(), "inputs or outputs is NULL");
  for (size_t i = 0; i < tensors.size(); ++i) {
    const uintptr_t address = reinterpret_cast<uintptr_t>(arrays[i]);
    if (address == 0 || address % static_cast<uintptr_t>(tensors[i]->item_size()) != 0) {
      octavo::fail(ErrorCode::kInvalidArgument, "array of '%.200s' is NULL or not aligned",
                   tensors[i]->name);
    }
  }
}

}  // namespace

extern "C" {

octavo_status octavo_load_file(const char* path, const char* isa, int threads,
                               octavo_model** model) {
  return guarded([&] {
    require(path != nullptr && model != nullptr, "path or model is NULL");
    *model = nullptr;
    *model = make_model(LoadedPlan::open(path, true), isa, threads);
  });
}

octavo_status octavo_load_memory(const void* data, size_t size, const char* isa, int threads,
                                 octavo_model** model) {
  return guarded([&] {
    require(data != nullptr && model != nullptr, "data or model is NULL");
    *model = nullptr;
    const octavo::ByteSpan bytes{static_cast<const uint8_t*>(data), size};
    *model = make_model(LoadedPlan::from_bytes(bytes, nullptr), isa, threads);
  });
}

void octavo_destroy(octavo_model* model) { delete model; }

int32_t octavo_input_count(const octavo_model* model) {
  return model == nullptr ? 0 : static_cast<int32_t>(model->executor->plan().inputs.size());
}

int32_t octavo_output_count(const octavo_model* model) {
  return model == nullptr ? 0 : static_cast<int32_t>(model->executor->plan().outputs.size());
}

octavo_status octavo_input_info(const octavo_model* model, int32_t index,
                                octavo_tensor_info* info) {
  return tensor_info(model, false, index, info);
}

octavo_status octavo_output_info(const octavo_model* model, int32_t index,
                                 octavo_tensor_info* info) {
  return tensor_info(model, true, index, info);
}

octavo_status octavo_run(octavo_model* model, const void* const* inputs, void* const* outputs) {
  return guarded([&] {
    require(model != nullptr, "model is NULL");
    check_arrays(model->executor->plan().inputs, inputs);
    check_arrays(model->executor->plan().outputs, outputs);
    model->executor->run(reinterpret_cast<const uint8_t* const*>(inputs),
                         reinterpret_cast<uint8_t* const*>(outputs));
  });
}

const char* octavo_last_error(void) { return last_error; }

}  // extern "C"
