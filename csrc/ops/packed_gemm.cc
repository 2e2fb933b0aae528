// SPDX-License-Identifier: Apache-2.0
#include "ops/packed_gemm.h"

#include <algorithm>

#include "base/checked.h"
#include "base/parallel.h"
#include "ops/row_addresses.h"

namespace octavo {
namespace {

// Columns of sums that a layer keeps at a time, at least the widest kernel's: with kMaxRows 64 KiB.
constexpr int64_t kSumColumns = 64;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

GemmS8Shape shape_of(const GemmLayer& layer) {
  const int64_t k = checked_mul(static_cast<int64_t>(layer.segments.size()), layer.segment_len);
  return {layer.rows.outer(0), layer.n, checked_int32(k, "reduction length")};
}

const GemmS8Kernel& choose(const GemmLayer& layer, const PrepareContext& context) {
  const GemmS8Kernel* named = context.kernel != nullptr ? find_gemm_s8(context.kernel) : nullptr;
  return named != nullptr ? *named : select_gemm_s8(context.cap, shape_of(layer));
}

}  // namespace

KernelNames gemm_kernels(const GemmLayer& layer, const PrepareContext& context) {
  const GemmS8Kernel& best = select_gemm_s8(context.cap, shape_of(layer));
  KernelNames names{best.name};
  int count = 0;
  const GemmS8Kernel* kernels = gemm_s8_kernels(&count);
  for (int i = 0; i < count; ++i) {
    if (kernels[i].isa == best.isa && kernels + i != &best) names.push_back(kernels[i].name);
  }
  return names;
}

PackedGemm::PackedGemm(const GemmLayer& layer, const QuantWeights& weights,
                       const PrepareContext& context)
    : rows_(layer.rows),
      m_(layer.rows.outer(0)),
      groups_(layer.groups),
      n_(layer.n),
      segment_len_(layer.segment_len),
      requant_(layer.requant) {
  const int32_t segment_count = checked_int32(static_cast<int64_t>(layer.segments.size()));
  const int64_t k = shape_of(layer).k;
  kernel_ = choose(layer, context);
  // The order that packs and packus undo; sums need none.
  if (layer.keeps_sums) kernel_.column = [](int p) { return static_cast<int16_t>(p); };
  for (int32_t g = 0; g < groups_; ++g) {
    GemmS8Weights group{};
    group.n = n_;
    group.segment_count = segment_count;
    group.segment_len = layer.segment_len;
    group.weights = weights.values.data() + g * k * n_;
    group.bias = weights.bias.data() + int64_t{g} * n_;
    group.multiplier = weights.multiplier.data() + int64_t{g} * n_;
    group.a_zero_point = layer.a_zero_point;
    group.segment_offset = layer.segments.data();
    PackedGemmS8 packed;
    packed.bytes = find_or_pack(
        context.packs, kernel_.name,
        [&](ByteSpan found) { return view_gemm_s8(kernel_, group, found, &packed.blocks); },
        [&] { return pack_gemm_s8_bytes(kernel_, group); });
    view_gemm_s8(kernel_, group, packed.bytes.span(), &packed.blocks);
    packed_.push_back(std::move(packed));
  }
  blocks_per_group_ = ceil_div(n_, kernel_.nr);
  const int64_t tiles = ceil_div(m_, kernel_.mr);
  const int64_t macs = checked_mul(checked_mul(m_, k), int64_t{n_} * groups_, "MACs");
  // Rows, so that a core finds what it wrote in the step before; channels where rows are too few,
  // or fewer bytes than the weights, all of which every thread reads when it has rows.
  const int64_t blocks = blocks_per_group_ * groups_;
  const int64_t row_bytes = (int64_t{layer.segment_len} + n_) * groups_;
  const bool heavy = k * n_ * groups_ > m_ * row_bytes && blocks >= 2 * context.threads;
  split_rows_ = tiles >= blocks || (tiles >= 2 * context.threads && !heavy);
  threads_ = threads_for(context, macs, checked_mul(m_, int64_t{n_} * groups_));
}

int64_t PackedGemm::packed_bytes() const {
  int64_t bytes = 0;
  for (const PackedGemmS8& p : packed_) bytes += static_cast<int64_t>(p.bytes.size());
  return bytes;
}

template <class Body>
void PackedGemm::for_parts(Body&& body) const noexcept {
  const int64_t blocks = blocks_per_group_ * groups_;
  const int mr = kernel_.mr;
  if (threads_ == 1) {
    body(Part{0, m_, 0, blocks}, 0);
  } else if (split_rows_) {
    parallel_for(threads_, ceil_div(m_, mr), [&](int64_t begin, int64_t end, int worker) {
      body(Part{begin * mr, std::min(end * mr, m_), 0, blocks}, worker);
    });
  } else {
    parallel_for(threads_, blocks, [&](int64_t begin, int64_t end, int worker) {
      body(Part{0, m_, begin, end}, worker);
    });
  }
}

void PackedGemm::run(const uint8_t* a, uint8_t* c) const noexcept {
  for_parts([&](const Part& part, int) { run_part(a, c, part); });
}

void PackedGemm::run(const uint8_t* a, uint8_t* c, const SumSink& sink,
                     uint8_t* scratch) const noexcept {
  for_parts([&](const Part& part, int worker) {
    int32_t* sums = reinterpret_cast<int32_t*>(scratch) + worker * kMaxRows * kSumColumns;
    sum_part(a, c, part, sink, sums);
  });
}

int64_t PackedGemm::sums_bytes() const {
  return threads_ * kMaxRows * kSumColumns * int64_t{sizeof(int32_t)};
}

void PackedGemm::run_part(const uint8_t* a, uint8_t* c, const Part& part) const noexcept {
  const int mr = kernel_.mr;
  const int64_t chunk = kMaxRows / mr * mr;
  RowAddresses rows;
  GemmS8Args args;
  args.a_rows = rows.a;
  args.c_rows = rows.c;
  args.requant = requant_;
  for (int64_t r = part.row_begin; r < part.row_end; r += chunk) {
    const int64_t end = std::min(r + chunk, part.row_end);
    rows.fill(rows_, a, c, r, end, mr);
    args.m = static_cast<int32_t>(end - r);
    run_blocks(&args, part.block_begin, part.block_end);
  }
}

void PackedGemm::sum_part(const uint8_t* a, uint8_t* c, const Part& part, const SumSink& sink,
                          int32_t* sums) const noexcept {
  const int mr = kernel_.mr;
  const int64_t chunk = kMaxRows / mr * mr;
  RowAddresses rows;
  int32_t* sum_rows[kMaxRows];
  GemmS8Args args;
  args.a_rows = rows.a;
  args.sum_rows = sum_rows;
  SumTile tile{sums, kSumColumns, rows.c, 0, 0, 0, 0};
  for (int64_t r = part.row_begin; r < part.row_end; r += chunk) {
    const int64_t end = std::min(r + chunk, part.row_end);
    rows.fill(rows_, a, c, r, end, mr);
    args.m = tile.rows = static_cast<int32_t>(end - r);
    tile.row = r;
    for (int64_t i = 0; i < ceil_div(args.m, mr) * mr; ++i) {
      sum_rows[i] = sums + std::min<int64_t>(i, args.m - 1) * kSumColumns;
    }
    sum_blocks(&args, part, sink, &tile);
  }
}

// So many columns at a time that their sums are still in the cache when the sink takes them.
void PackedGemm::sum_blocks(GemmS8Args* args, const Part& part, const SumSink& sink,
                            SumTile* tile) const noexcept {
  const int32_t nr = kernel_.nr;
  for (int64_t block = part.block_begin; block < part.block_end;) {
    const int64_t group = block / blocks_per_group_, first = block % blocks_per_group_;
    const int64_t count =
        std::min({int64_t{kSumColumns} / nr, blocks_per_group_ - first, part.block_end - block});
    args->a_offset = group * segment_len_;
    args->c_offset = -first * nr;
    args->blocks = packed_[static_cast<size_t>(group)].blocks.data();
    args->block_begin = static_cast<int32_t>(first);
    args->block_end = static_cast<int32_t>(first + count);
    kernel_.run(*args);
    tile->channel = group * n_ + first * nr;
    tile->n = static_cast<int32_t>(std::min(count * nr, n_ - first * nr));
    sink.take(*tile);
    block += count;
  }
}

void PackedGemm::run_blocks(GemmS8Args* args, int64_t begin, int64_t end) const noexcept {
  int64_t group = begin / blocks_per_group_;
  int64_t first = begin % blocks_per_group_;
  for (int64_t left = end - begin; left > 0; ++group) {
    const int64_t count = std::min(left, blocks_per_group_ - first);
    args->a_offset = group * segment_len_;
    args->c_offset = group * n_;
    args->blocks = packed_[static_cast<size_t>(group)].blocks.data();
    args->block_begin = static_cast<int32_t>(first);
    args->block_end = static_cast<int32_t>(first + count);
    kernel_.run(*args);
    left -= count;
    first = 0;
  }
}

}  // namespace octavo
