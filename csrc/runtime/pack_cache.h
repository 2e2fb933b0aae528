// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "base/isa.h"
#include "ops/pack_store.h"
#include "runtime/mapped_file.h"
#include "runtime/plan.h"

namespace octavo {

// Stands for everything that packed weights depend on besides the choice of kernels: the plan's
// content, the ISA and the sources of the kernels. Printable, shorter than kPackKeyBytes.
std::string pack_key(const Plan& plan, Isa cap);

// Packed weights in a file: a container (docs/format.md, "Packed weights") with an index and the
// bytes, which steps use where they are mapped.
class PackCache final : public PackStore {
 public:
  struct Part {
    std::string tag;  // step, part of the step, kernel
    ByteSpan bytes;
  };

  explicit PackCache(std::string key) : key_(std::move(key)) {}

  // Reads a file written for the same key; one of another key counts as empty. Throws
  // Error(kInvalidArgument) when it cannot be read and Error(kFormat) when it is damaged.
  void open(const char* path);

  void begin_step(size_t step);
  ByteSpan find(const char* kernel) override;
  void keep(const char* kernel, ByteSpan bytes) override;

  // Everything the prepared steps use, in order; and whether all of it was found.
  const std::vector<Part>& parts() const { return parts_; }
  bool complete() const { return found_ == parts_.size(); }
  const std::string& key() const { return key_; }

 private:
  std::string tag(const char* kernel) const;

  std::string key_;
  std::unique_ptr<MappedFile> file_;
  std::vector<Part> stored_;  // in the file's order, which is that of the program
  std::vector<Part> parts_;
  size_t cursor_ = 0, found_ = 0;
  size_t step_ = 0, part_ = 0;
};

}  // namespace octavo
