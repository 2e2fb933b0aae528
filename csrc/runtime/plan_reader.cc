// SPDX-License-Identifier: Apache-2.0
#include "runtime/plan_reader.h"

#include <algorithm>
#include <cstring>

#include "runtime/plan_cursor.h"
#include "runtime/plan_records.h"
#include "runtime/utf8.h"

namespace octavo {
namespace {

class PlanReader {
 public:
  PlanReader(const Container& container, Plan* plan)
      : cursor_(container.required("plan")),
        constants_(container.required("constants")),
        plan_(*plan) {
    if (container.required("plan").size > kMaxPlanBytes) {
      fail(ErrorCode::kLimit, "plan: the section has %zu bytes, at most 64 MiB",
           container.required("plan").size);
    }
  }

  void read() {
    read_header();
    const auto tensors = cursor_.array<TensorRecord>(header_.tensor_count, "tensors");
    const auto steps = cursor_.array<StepRecord>(header_.step_count, "steps");
    const auto consts = cursor_.array<ConstRecord>(header_.const_count, "constants");
    const auto inputs = cursor_.array<uint32_t>(header_.input_count, "inputs");
    const auto outputs = cursor_.array<uint32_t>(header_.output_count, "outputs");
    plan_.ints = cursor_.array<int32_t>(header_.int_count, "ints");
    plan_.floats = cursor_.array<float>(header_.float_count, "floats");
    plan_.refs = cursor_.array<uint32_t>(header_.ref_count, "refs");
    plan_.strings = cursor_.array<char>(header_.string_bytes, "string bytes");
    cursor_.finish();
    read_tensors(tensors);
    plan_.inputs = edge_tensors(inputs, Location::kInput, 1);
    plan_.outputs = edge_tensors(outputs, Location::kOutput, 1 + header_.input_count);
    check_edges();
    read_constants(consts);
    plan_.steps.reserve(steps.size());
    for (const StepRecord& record : steps) read_step(record);
    check_outputs_written();
  }

 private:
  void read_header() {
    header_ = cursor_.array<PlanHeader>(1, "header")[0];
    if (header_.version != kPlanVersion) {
      fail(ErrorCode::kFormat, "plan: version %u, this build reads version %u", header_.version,
           kPlanVersion);
    }
    const struct {
      const char* what;
      uint32_t count;
    } rows[] = {{"tensors", header_.tensor_count},
                {"steps", header_.step_count},
                {"constants", header_.const_count},
                {"inputs", header_.input_count},
                {"outputs", header_.output_count}};
    for (const auto& row : rows) {
      if (row.count > kMaxRecords) {
        fail(ErrorCode::kLimit, "plan: %u %s, at most %u", row.count, row.what, kMaxRecords);
      }
    }
    if (header_.reserved != 0) fail(ErrorCode::kFormat, "plan: reserved header bytes are not 0");
    plan_.arena_bytes = size_field(header_.arena_bytes, "arena_bytes");
    plan_.lower_bound_bytes = size_field(header_.lower_bound_bytes, "lower_bound_bytes");
  }

  int64_t size_field(uint64_t value, const char* what) const {
    if (value > static_cast<uint64_t>(kMaxArenaBytes)) {
      fail(ErrorCode::kLimit, "plan: %s is %llu, at most 2^40", what,
           static_cast<unsigned long long>(value));
    }
    return static_cast<int64_t>(value);
  }

  const char* string_at(uint32_t offset, const char* what) const {
    if (offset >= plan_.strings.size()) {
      fail(ErrorCode::kFormat, "plan: %s at %u, beyond %zu string bytes", what, offset,
           plan_.strings.size());
    }
    const char* text = plan_.strings.data() + offset;
    const size_t left = plan_.strings.size() - offset;
    const size_t length = strnlen(text, left);
    if (length == left) fail(ErrorCode::kFormat, "plan: %s at %u does not end", what, offset);
    if (length > kMaxNameBytes) {
      fail(ErrorCode::kLimit, "plan: %s at %u has %zu bytes, at most %zu", what, offset, length,
           kMaxNameBytes);
    }
    if (!is_utf8(text, length)) {
      fail(ErrorCode::kFormat, "plan: %s at %u is not UTF-8", what, offset);
    }
    return text;
  }

  void read_tensors(const std::vector<TensorRecord>& records) {
    const TensorLimits limits{plan_.arena_bytes, header_.input_count, header_.output_count};
    plan_.tensors.reserve(records.size());
    for (const TensorRecord& record : records) {
      plan_.tensors.push_back(read_tensor(record, string_at(record.name, "a tensor name"), limits));
    }
    // A few bytes in the header must not cost gigabytes: the arena is what the tensors need.
    int64_t end = 0;
    for (const Tensor& t : plan_.tensors) {
      if (t.location == Location::kArena) end = std::max(end, t.offset + touched_bytes(t).high);
    }
    if (plan_.arena_bytes > end + kReadSlack + kArenaTail) {
      fail(ErrorCode::kFormat, "plan: arena_bytes is %lld, but the last tensor ends at %lld",
           static_cast<long long>(plan_.arena_bytes), static_cast<long long>(end));
    }
  }

  const Tensor& tensor_at(uint32_t index, const char* what) const {
    if (index >= plan_.tensors.size()) {
      fail(ErrorCode::kFormat, "plan: %s is tensor %u of %zu", what, index, plan_.tensors.size());
    }
    return plan_.tensors[index];
  }

  std::vector<const Tensor*> edge_tensors(const std::vector<uint32_t>& indices, Location location,
                                          uint32_t first_base) const {
    const char* what = location == Location::kInput ? "a model input" : "a model output";
    std::vector<const Tensor*> found;
    for (const uint32_t index : indices) {
      const Tensor& t = tensor_at(index, what);
      if (t.location != location || t.base != static_cast<int32_t>(first_base + found.size())) {
        fail(ErrorCode::kFormat, "plan: tensor '%s' is not %s number %zu", t.name, what,
             found.size());
      }
      found.push_back(&t);
    }
    return found;
  }

  // Further records of a model input or output (reshapes) cover the same bytes: callers' arrays
  // are checked against the first record only.
  void check_edges() const {
    for (const Tensor& t : plan_.tensors) {
      if (t.location == Location::kArena) continue;
      const size_t index = static_cast<size_t>(t.base) - 1;
      const Tensor& edge = index < plan_.inputs.size()
                               ? *plan_.inputs[index]
                               : *plan_.outputs[index - plan_.inputs.size()];
      if (t.dtype != edge.dtype || t.bytes() != edge.bytes()) {
        fail(ErrorCode::kFormat, "plan: tensor '%s' differs from '%s' in dtype or bytes", t.name,
             edge.name);
      }
    }
  }

  void read_constants(const std::vector<ConstRecord>& records) {
    for (size_t i = 0; i < records.size(); ++i) {
      const ConstRecord& record = records[i];
      ConstData data{};
      if (!parse_dtype(record.dtype, &data.dtype) || record.reserved != 0) {
        fail(ErrorCode::kFormat, "plan: constant %zu: dtype code %u, reserved %u", i, record.dtype,
             record.reserved);
      }
      if (record.offset % 64 != 0 || record.offset > constants_.size ||
          record.size > constants_.size - record.offset ||
          record.size % static_cast<uint64_t>(dtype_size(data.dtype)) != 0) {
        fail(ErrorCode::kFormat, "plan: constant %zu: %llu bytes of %s at %llu of %zu", i,
             static_cast<unsigned long long>(record.size), dtype_name(data.dtype),
             static_cast<unsigned long long>(record.offset), constants_.size);
      }
      data.data = constants_.data + record.offset;
      data.size = static_cast<int64_t>(record.size);
      plan_.constants.push_back(data);
    }
  }

  template <class T>
  Slice<T> slice(const RangeRecord& range, const std::vector<T>& from, const StepView& step,
                 const char* what) const {
    if (range.count > kMaxStepArgs) {
      step.fail(ErrorCode::kLimit, "%u %s, at most %u", range.count, what, kMaxStepArgs);
    }
    if (range.first > from.size() || range.count > from.size() - range.first) {
      step.fail(ErrorCode::kFormat, "%s [%u, +%u) of %zu", what, range.first, range.count,
                from.size());
    }
    return {from.data() + range.first, static_cast<int32_t>(range.count)};
  }

  void check_refs(const Slice<uint32_t>& refs, size_t count, const StepView& step,
                  const char* what) const {
    for (int i = 0; i < refs.count; ++i) {
      if (refs.data[i] >= count) {
        step.fail(ErrorCode::kFormat, "%s: index %u of %zu", what, refs.data[i], count);
      }
    }
  }

  void read_step(const StepRecord& record) {
    StepView step;
    step.kind = string_at(record.kind, "a step kind");
    step.name = string_at(record.name, "a step name");
    step.tensors = plan_.tensors.data();
    step.constants = plan_.constants.data();
    step.inputs = slice(record.inputs, plan_.refs, step, "inputs");
    step.outputs = slice(record.outputs, plan_.refs, step, "outputs");
    step.ints = slice(record.ints, plan_.ints, step, "ints");
    step.floats = slice(record.floats, plan_.floats, step, "floats");
    step.const_refs = slice(record.constants, plan_.refs, step, "constants");
    check_refs(step.inputs, plan_.tensors.size(), step, "inputs");
    check_refs(step.outputs, plan_.tensors.size(), step, "outputs");
    check_refs(step.const_refs, plan_.constants.size(), step, "constants");
    step.macs = uint64_t{record.macs_high} << 32 | record.macs_low;
    for (int i = 0; i < step.inputs.count; ++i) {
      if (step.input(i).location == Location::kOutput) {
        step.fail(ErrorCode::kFormat, "reads the model output '%s'", step.input(i).name);
      }
    }
    for (int i = 0; i < step.outputs.count; ++i) check_written(step, step.output(i));
    plan_.macs += step.macs;
    plan_.steps.push_back(step);
  }

  // Inputs are the caller's. Two elements in one place could hold only one of their values, which
  // one would depend on threads, and a few bytes could stand for 2^40 elements to compute.
  static void check_written(const StepView& step, const Tensor& out) {
    if (out.location == Location::kInput) {
      step.fail(ErrorCode::kFormat, "writes the model input '%s'", out.name);
    }
    if (!distinct_elements(out)) {
      step.fail(ErrorCode::kFormat, "writes '%s', whose strides let elements overlap", out.name);
    }
  }

  // A model output that nothing writes would hand the caller whatever was in the array.
  void check_outputs_written() const {
    std::vector<bool> written(plan_.inputs.size() + plan_.outputs.size() + 1, false);
    for (const StepView& step : plan_.steps) {
      for (int i = 0; i < step.outputs.count; ++i) {
        written[static_cast<size_t>(step.output(i).base)] = true;
      }
    }
    for (const Tensor* t : plan_.outputs) {
      if (!written[static_cast<size_t>(t->base)]) {
        fail(ErrorCode::kFormat, "plan: no step writes the model output '%s'", t->name);
      }
    }
  }

  Cursor cursor_;
  ByteSpan constants_;
  Plan& plan_;
  PlanHeader header_{};
};

}  // namespace

void read_plan(ByteSpan file, Plan* plan) {
  const Container container(file);
  PlanReader(container, plan).read();
  plan->sections = container.sections();
}

}  // namespace octavo
