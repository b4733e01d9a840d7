#include "ops/exec/memory.hpp"

#include <algorithm>

namespace pleat {
namespace {

void extend(Lifetime& life, int time) {
  life.first = life.last < 0 ? time : std::min(life.first, time);
  life.last = std::max(life.last, time);
}

}  // namespace

ExecMemory::ExecMemory(int64_t batch, std::vector<int64_t> pieces, std::vector<int> steps)
    : batch_(batch), pieces_(std::move(pieces)), steps_(std::move(steps)) {}

// Times among groups: forward 0, 1, ..., then backward ..., 1, 0. In a group: its steps forward, again forward where
// values are computed again, then backward.
void ExecMemory::use(int buffer, const BufferUse& use) {
  Buffer& b = buffers_[buffer];
  const int groups = static_cast<int>(pieces_.size()), steps = steps_[use.group];
  const bool forward = use.pass == BufferUse::forward;
  (forward ? b.forward : b.backward) = true;
  extend(b.among_groups, forward ? use.group : 2 * groups - 1 - use.group);
  extend(b.in_group, forward                            ? use.step
                     : use.pass == BufferUse::recompute ? steps + use.step
                                                        : 3 * steps - 1 - use.step);
  b.group = b.group == Buffer::kUnused || b.group == use.group ? use.group : Buffer::kSeveral;
}

void ExecMemory::keep(int buffer) {
  Buffer& b = buffers_[buffer];
  b.group = Buffer::kSeveral;
  extend(b.among_groups, 0);
  extend(b.among_groups, 2 * static_cast<int>(pieces_.size()) - 1);
}

void ExecMemory::expect_recomputed(int buffer) {
  buffers_[buffer].recomputed = true;
}

int64_t ExecMemory::floats(const Buffer& b, int64_t pictures) const {
  return (pictures * b.picture * static_cast<int64_t>(b.element) + 3) / 4;
}

// Places the local buffers of one group; the block, which groups share, must hold the largest.
void ExecMemory::place_group(int group, int64_t& block_size, std::vector<int64_t>& offsets) const {
  std::vector<Lifetime> lives;
  std::vector<std::size_t> which;
  for (std::size_t i = 0; i < buffers_.size(); ++i) {
    const Buffer& b = buffers_[i];
    if (!b.local || b.group != group) continue;
    lives.push_back({floats(b, pieces_[group]), b.in_group.first, b.in_group.last});
    which.push_back(i);
  }
  const ArenaPlan plan = plan_arena(lives);
  for (std::size_t i = 0; i < which.size(); ++i) offsets[which[i]] = plan.offsets[i];
  block_size = std::max(block_size, plan.total);
}

void ExecMemory::place() {
  std::vector<Lifetime> lives;
  for (Buffer& b : buffers_) {
    b.local = b.group >= 0 && (!b.forward || !b.backward || b.recomputed);
    // What is local takes no room among groups; a lifetime of its own keeps the numbering.
    lives.push_back({b.local ? 0 : floats(b, batch_), b.among_groups.first, std::max(b.among_groups.last, 0)});
  }
  ArenaPlan plan = plan_arena(lives);
  int64_t block_size = 0;
  std::vector<int64_t> in_block(buffers_.size(), 0);
  for (std::size_t group = 0; group < pieces_.size(); ++group)
    place_group(static_cast<int>(group), block_size, in_block);
  arena_.resize((plan.total + block_size) * sizeof(float));
  for (std::size_t i = 0; i < buffers_.size(); ++i) {
    const int64_t offset = buffers_[i].local ? plan.total + in_block[i] : plan.offsets[i];
    buffers_[i].data = arena_.data() + offset * static_cast<int64_t>(sizeof(float));
  }
}

}  // namespace pleat
