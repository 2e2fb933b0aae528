// SPDX-License-Identifier: Apache-2.0
#include "runtime/container.h"

#include <cstring>

#include "base/error.h"
#include "kernels/crc32/crc32.h"

namespace octavo {
namespace {

constexpr size_t kHeaderBytes = 64;
constexpr size_t kEntryBytes = 64;
constexpr size_t kAlignment = 64;
constexpr size_t kNameBytes = 32;
constexpr uint32_t kVersion = 1;
constexpr uint32_t kMaxSections = 64;
constexpr uint32_t kRequiredFlag = 1;
constexpr char kMagic[] = "OCTAVO\x1a\n";

struct Header {
  char magic[8];
  uint32_t version;
  uint32_t section_count;
  uint64_t file_size;
  uint32_t crc;
  uint8_t reserved[36];
};
static_assert(sizeof(Header) == kHeaderBytes);

struct Entry {
  char name[kNameBytes];
  uint64_t offset;
  uint64_t size;
  uint32_t crc;
  uint32_t flags;
  uint64_t reserved;
};
static_assert(sizeof(Entry) == kEntryBytes);

[[noreturn]] void bad(const char* what, uint64_t found, uint64_t expected) {
  fail(ErrorCode::kFormat, "octavo file: %s is %llu, expected %llu", what,
       static_cast<unsigned long long>(found), static_cast<unsigned long long>(expected));
}

bool all_zero(const uint8_t* data, size_t size) {
  for (size_t i = 0; i < size; ++i) {
    if (data[i] != 0) return false;
  }
  return true;
}

// Reads header and table once, into private memory: nothing checked here is fetched again.
Header read_header(ByteSpan file) {
  if (file.size < kHeaderBytes) {
    fail(ErrorCode::kFormat, "octavo file: %zu bytes, too short for a header of %zu", file.size,
         kHeaderBytes);
  }
  Header header;
  std::memcpy(&header, file.data, sizeof header);
  if (std::memcmp(header.magic, kMagic, sizeof header.magic) != 0) {
    fail(ErrorCode::kFormat, "octavo file: wrong magic, this is not an .octavo file");
  }
  if (header.version != kVersion) {
    fail(ErrorCode::kFormat, "octavo file: container version %u, this build reads version %u",
         header.version, kVersion);
  }
  if (header.section_count < 1 || header.section_count > kMaxSections) {
    fail(ErrorCode::kFormat, "octavo file: %u sections, must be 1 to %u", header.section_count,
         kMaxSections);
  }
  if (header.file_size != file.size) bad("the file's size", file.size, header.file_size);
  if (!all_zero(header.reserved, sizeof header.reserved)) {
    fail(ErrorCode::kFormat, "octavo file: reserved header bytes are not 0");
  }
  return header;
}

std::vector<Entry> read_table(ByteSpan file, Header header) {
  const size_t table_bytes = header.section_count * kEntryBytes;
  if (file.size - kHeaderBytes < table_bytes) {
    fail(ErrorCode::kFormat, "octavo file: %zu bytes, too short for %u section entries", file.size,
         header.section_count);
  }
  std::vector<Entry> entries(header.section_count);
  std::memcpy(entries.data(), file.data + kHeaderBytes, table_bytes);
  const uint32_t stored = header.crc;
  header.crc = 0;
  const uint32_t crc = fast_crc32(entries.data(), table_bytes, fast_crc32(&header, sizeof header));
  if (crc != stored) {
    fail(ErrorCode::kFormat, "octavo file: the header's CRC is %08x, stored is %08x: damaged", crc,
         stored);
  }
  return entries;
}

std::string section_name(const Entry& entry) {
  const size_t length = strnlen(entry.name, kNameBytes);
  bool valid = length > 0;
  for (size_t i = 0; i < kNameBytes; ++i) {
    const char c = entry.name[i];
    valid = valid && (i < length ? c > ' ' && c <= '~' : c == '\0');
  }
  if (!valid) {
    fail(ErrorCode::kFormat, "octavo file: a section name is empty, not ASCII or not NUL padded");
  }
  return std::string(entry.name, length);
}

bool known_section(const std::string& name) {
  return name == "plan" || name == "constants" || name == "card" || name == "graph" ||
         name.rfind("packed:", 0) == 0;
}

void check_entry(const Entry& entry, const std::string& name) {
  if ((entry.flags & ~kRequiredFlag) != 0 || entry.reserved != 0) {
    fail(ErrorCode::kFormat, "octavo file: section '%s': reserved bits are not 0", name.c_str());
  }
  if ((entry.flags & kRequiredFlag) != 0 && !known_section(name)) {
    fail(ErrorCode::kUnsupported, "octavo file: section '%s' is required and unknown to this build",
         name.c_str());
  }
}

// The bytes from `cursor` to the section's start must be padding; returns the section's bytes.
ByteSpan section_bytes(ByteSpan file, const Entry& entry, const std::string& name, size_t cursor) {
  const size_t start = (cursor + kAlignment - 1) / kAlignment * kAlignment;
  if (entry.offset != start) {
    fail(ErrorCode::kFormat, "octavo file: section '%s' starts at %llu, expected %zu", name.c_str(),
         static_cast<unsigned long long>(entry.offset), start);
  }
  if (start > file.size || entry.size > file.size - start) {
    fail(ErrorCode::kFormat, "octavo file: section '%s' of %llu bytes leaves the file",
         name.c_str(), static_cast<unsigned long long>(entry.size));
  }
  if (!all_zero(file.data + cursor, start - cursor)) {
    fail(ErrorCode::kFormat, "octavo file: padding before section '%s' is not 0", name.c_str());
  }
  const ByteSpan bytes{file.data + start, static_cast<size_t>(entry.size)};
  const uint32_t crc = fast_crc32(bytes.data, bytes.size);
  if (crc != entry.crc) {
    fail(ErrorCode::kFormat, "octavo file: section '%s': CRC is %08x, stored is %08x: damaged",
         name.c_str(), crc, entry.crc);
  }
  return bytes;
}

}  // namespace

Container::Container(ByteSpan file) {
  const Header header = read_header(file);
  const std::vector<Entry> entries = read_table(file, header);
  size_t cursor = kHeaderBytes + entries.size() * kEntryBytes;
  for (const Entry& entry : entries) {
    std::string name = section_name(entry);
    if (find(name) != nullptr) {
      fail(ErrorCode::kFormat, "octavo file: section '%s' occurs twice", name.c_str());
    }
    check_entry(entry, name);
    const ByteSpan bytes = section_bytes(file, entry, name, cursor);
    cursor = static_cast<size_t>(bytes.data - file.data) + bytes.size;
    sections_.push_back({std::move(name), bytes});
  }
  if (cursor != file.size) bad("the end of the last section", cursor, file.size);
}

const Section* Container::find(std::string_view name) const {
  for (const Section& section : sections_) {
    if (section.name == name) return &section;
  }
  return nullptr;
}

ByteSpan Container::required(const char* name) const {
  const Section* section = find(name);
  if (section == nullptr) fail(ErrorCode::kFormat, "octavo file: section '%s' is missing", name);
  return section->bytes;
}

}  // namespace octavo
