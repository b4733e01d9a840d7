#include "core/process_group.hpp"

#include <algorithm>
#include <cstring>

#include "core/simd/bf16.hpp"
#include "core/split.hpp"

namespace pleat {
namespace {

template <class T>
std::span<T> room(AlignedVector<std::byte>& buffer, int64_t count) {
  const std::size_t bytes = count * sizeof(T);
  if (buffer.size() < bytes) buffer.resize(bytes);
  return {reinterpret_cast<T*>(buffer.data()), static_cast<std::size_t>(count)};
}

template <class T>
std::span<T> part_of(std::span<T> values, int part, int parts) {
  const Range range = split(std::ssize(values), part, parts);
  return values.subspan(range.begin, range.end - range.begin);
}

}  // namespace

ProcessGroup::ProcessGroup(Transport& transport, int channel) : transport_(&transport), channel_(channel) {}

void ProcessGroup::exchange() {
  transport_->exchange(outgoing_, incoming_, channel_);
  outgoing_.clear();
  incoming_.clear();
}

template <class Sent, class T>
void ProcessGroup::sum_parts(std::span<T> values) {
  const int ranks = size(), me = rank();
  const std::span<Sent> sent = room<Sent>(sent_, std::ssize(values));
  const std::span<T> mine = part_of(values, me, ranks);
  const std::span<Sent> received = room<Sent>(received_, std::ssize(mine) * ranks);

  // Each rank gets its part from all others, and adds them up.
  std::ranges::copy(values, sent.begin());
  for (int other = 0; other < ranks; ++other) {
    if (other == me) continue;
    outgoing_.push_back({other, std::as_bytes(part_of(sent, other, ranks))});
    incoming_.push_back({other, std::as_writable_bytes(received.subspan(other * mine.size(), mine.size()))});
  }
  exchange();
  for (std::size_t i = 0; i < mine.size(); ++i) {
    T sum = 0;
    for (int other = 0; other < ranks; ++other)
      sum += other == me ? mine[i] : static_cast<T>(received[other * mine.size() + i]);
    mine[i] = sum;
  }

  // The sums go to all, and are the same everywhere, however they were rounded on the way.
  const std::span<Sent> sums = part_of(sent, me, ranks);
  std::ranges::copy(mine, sums.begin());
  for (int other = 0; other < ranks; ++other) {
    if (other == me) continue;
    outgoing_.push_back({other, std::as_bytes(sums)});
    incoming_.push_back({other, std::as_writable_bytes(part_of(sent, other, ranks))});
  }
  exchange();
  std::ranges::copy(sent, values.begin());
}

void ProcessGroup::sum(std::span<float> values, Wire wire) {
  if (size() == 1) return;
  wire == Wire::bf16 ? sum_parts<Bf16>(values) : sum_parts<float>(values);
}

void ProcessGroup::sum(std::span<double> values) {
  if (size() > 1) sum_parts<double>(values);
}

void ProcessGroup::gather(std::span<double> all, std::span<const double> mine) {
  const auto part = [&](int other) { return all.subspan(other * mine.size(), mine.size()); };
  std::ranges::copy(mine, part(rank()).begin());
  for (int other = 0; other < size(); ++other) {
    if (other == rank()) continue;
    outgoing_.push_back({other, std::as_bytes(mine)});
    incoming_.push_back({other, std::as_writable_bytes(part(other))});
  }
  if (size() > 1) exchange();
}

void ProcessGroup::broadcast(std::span<std::byte> bytes) {
  if (size() == 1) return;
  if (is_first())
    for (int other = 1; other < size(); ++other) outgoing_.push_back({other, bytes});
  else
    incoming_.push_back({0, bytes});
  exchange();
}

void ProcessGroup::broadcast(std::string& text) {
  auto length = static_cast<int64_t>(text.size());
  broadcast(std::as_writable_bytes(std::span(&length, 1)));
  text.resize(length);
  broadcast(std::as_writable_bytes(std::span(text)));
}

void ProcessGroup::abort(int code) {
  if (transport_) transport_->abort(code);
}

}  // namespace pleat
