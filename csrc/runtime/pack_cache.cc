// SPDX-License-Identifier: Apache-2.0
#include "runtime/pack_cache.h"

#include <cinttypes>
#include <cstdio>
#include <cstring>

#include "base/error.h"
#include "kernels/crc32/crc32.h"
#include "kernels/stored.h"
#include "runtime/container.h"

namespace octavo {
namespace {

constexpr uint32_t kIndexVersion = 1;
constexpr size_t kKeyBytes = 120, kTagBytes = 112;
constexpr size_t kAlignment = AlignedBuffer::kAlignment;

struct IndexHeader {
  uint32_t version, count;
  char key[kKeyBytes];
};
static_assert(sizeof(IndexHeader) == 128);

struct IndexEntry {
  char tag[kTagBytes];
  uint64_t offset, size;  // in the data section
};
static_assert(sizeof(IndexEntry) == 128);

std::string text(const char* field, size_t bytes) {
  return std::string(field, strnlen(field, bytes));
}

}  // namespace

std::string pack_key(const Plan& plan, Isa cap) {
  std::string key = "octavo-packed";
  for (const Section& section : plan.sections) {
    if (section.name != "plan" && section.name != "constants") continue;
    char part[40];
    std::snprintf(part, sizeof part, " %08x:%zu",
                  fast_crc32(section.bytes.data, section.bytes.size), section.bytes.size);
    key += part;
  }
  // Folded biases are those of stored activations: x86 and Arm have the scalar rows in common, but
  // not what they pack.
  key += kStoredFlip == 0 ? " u8 " : " s8 ";
  return key + isa_name(cap) + " " OCTAVO_KERNEL_SOURCES;
}

void PackCache::open(const char* path) {
  file_ = std::make_unique<MappedFile>(path, true);
  const Container container(file_->bytes());
  const ByteSpan index = container.required("packed:index");
  const ByteSpan data = container.required("packed:data");
  IndexHeader header;
  if (index.size < sizeof header) fail(ErrorCode::kFormat, "packed weights: the index is cut off");
  std::memcpy(&header, index.data, sizeof header);
  if (header.version != kIndexVersion || text(header.key, kKeyBytes) != key_) return;
  if ((index.size - sizeof header) / sizeof(IndexEntry) != header.count ||
      (index.size - sizeof header) % sizeof(IndexEntry) != 0) {
    fail(ErrorCode::kFormat, "packed weights: %u entries in an index of %zu bytes", header.count,
         index.size);
  }
  for (uint32_t i = 0; i < header.count; ++i) {
    IndexEntry entry;
    std::memcpy(&entry, index.data + sizeof header + i * sizeof entry, sizeof entry);
    if (entry.offset % kAlignment != 0 || entry.offset > data.size ||
        entry.size > data.size - entry.offset) {
      fail(ErrorCode::kFormat,
           "packed weights: entry %u (%" PRIu64 " + %" PRIu64 ") leaves the data", i, entry.offset,
           entry.size);
    }
    stored_.push_back(
        {text(entry.tag, kTagBytes), {data.data + entry.offset, static_cast<size_t>(entry.size)}});
  }
}

void PackCache::begin_step(size_t step) {
  step_ = step;
  part_ = 0;
}

std::string PackCache::tag(const char* kernel) const {
  return std::to_string(step_) + "." + std::to_string(part_) + " " + kernel;
}

ByteSpan PackCache::find(const char* kernel) {
  if (cursor_ == stored_.size() || stored_[cursor_].tag != tag(kernel)) return {};
  return stored_[cursor_++].bytes;
}

void PackCache::keep(const char* kernel, ByteSpan bytes) {
  parts_.push_back({tag(kernel), bytes});
  if (cursor_ > 0 && stored_[cursor_ - 1].bytes.data == bytes.data) ++found_;
  ++part_;
}

}  // namespace octavo
