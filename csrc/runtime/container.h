// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"

// The sections of an .octavo file (docs/format.md, "Container").
namespace octavo {

struct Section {
  std::string name;
  ByteSpan bytes;
};

class Container {
 public:
  // Checks header, table, padding and the CRC of every section, so that each byte of the file is
  // either covered by a check or known to be zero. The memory must outlive the container.
  // Throws Error(kFormat) naming the field and its value.
  explicit Container(ByteSpan file);

  const std::vector<Section>& sections() const { return sections_; }
  const Section* find(std::string_view name) const;  // nullptr when absent
  ByteSpan required(const char* name) const;         // throws Error(kFormat) when absent

 private:
  std::vector<Section> sections_;
};

}  // namespace octavo
