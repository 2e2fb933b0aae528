// SPDX-License-Identifier: Apache-2.0
#include "ops/op.h"

#include <cstring>

namespace octavo {
namespace {

using PrepareFn = std::unique_ptr<Op> (*)(const StepView&, const PrepareContext&);

struct Kind {
  const char* name;
  PrepareFn prepare;
};

constexpr Kind kKinds[] = {
#define OCTAVO_OP(kind) {#kind, prepare_##kind},
#include "ops/ops.inc"
#undef OCTAVO_OP
};

struct Choice {
  const char* kind;
  KernelNames (*kernels)(const StepView&, const PrepareContext&);
};

constexpr Choice kChoices[] = {{"conv_s8", conv_s8_kernels}, {"linear_s8", linear_s8_kernels}};

}  // namespace

KernelNames step_kernels(const StepView& step, const PrepareContext& context) {
  for (const Choice& choice : kChoices) {
    if (std::strcmp(choice.kind, step.kind) == 0) return choice.kernels(step, context);
  }
  return {};
}

std::unique_ptr<Op> prepare_op(const StepView& step, const PrepareContext& context) {
  for (const Kind& kind : kKinds) {
    if (std::strcmp(kind.name, step.kind) == 0) return kind.prepare(step, context);
  }
  step.fail(ErrorCode::kUnsupported, "this build of octavo does not know the step kind");
}

}  // namespace octavo
