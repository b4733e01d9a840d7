#include "tools/train/gradient_exchange.hpp"

#include <algorithm>

namespace pleat {
namespace {

constexpr std::size_t kBucketValues = (std::size_t{1} << 20) / sizeof(float);
constexpr int kChannel = 1;  // the training thread has 0

}  // namespace

GradientExchange::GradientExchange(const ProcessGroup& ranks, std::vector<ExchangedValues> values, Wire wire)
    : ranks_(ranks.on_channel(kChannel)), wire_(wire) {
  if (ranks_.size() > 1) {
    std::ranges::stable_sort(values, std::greater(), &ExchangedValues::group);
    for (const ExchangedValues& part : values) {
      if (buckets_.empty() || (buckets_.back().size >= kBucketValues && buckets_.back().group != part.group))
        buckets_.push_back({.group = part.group, .parts = {}});
      buckets_.back().group = part.group;
      buckets_.back().parts.push_back(part.values);
      buckets_.back().size += part.values.size();
    }
    for (const Bucket& bucket : buckets_) flat_.resize(std::max(flat_.size(), bucket.size));
  }
  released_ = done_ = buckets_.size();
  if (!buckets_.empty()) worker_ = std::jthread([this](const std::stop_token& stop) { work(stop); });
}

void GradientExchange::begin() {
  const std::lock_guard lock(mutex_);
  released_ = done_ = 0;
}

void GradientExchange::release(std::size_t buckets) {
  const std::lock_guard lock(mutex_);
  if (buckets == released_) return;
  released_ = buckets;
  changed_.notify_all();
}

void GradientExchange::finished(int group) {
  const auto ready = std::ranges::find_if(buckets_, [&](const Bucket& bucket) { return bucket.group < group; });
  release(ready - buckets_.begin());
}

void GradientExchange::end() {
  release(buckets_.size());
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return done_ == buckets_.size() || error_; });
  if (error_) std::rethrow_exception(error_);
}

void GradientExchange::work(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  const auto open = [&] { return done_ < released_ && !error_; };
  while (changed_.wait(lock, stop, open) && !stop.stop_requested()) {
    const Bucket& bucket = buckets_[done_];
    lock.unlock();
    std::exception_ptr error;
    try {
      average(bucket);
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    error_ = error;
    ++done_;
    changed_.notify_all();
  }
}

void GradientExchange::average(const Bucket& bucket) {
  auto at = flat_.begin();
  for (const std::span<float> part : bucket.parts) at = std::ranges::copy(part, at).out;
  const std::span<float> flat = std::span(flat_).first(bucket.size);
  ranks_.sum(flat, wire_);
  const float share = 1.0f / static_cast<float>(ranks_.size());
  auto from = flat.begin();
  for (const std::span<float> part : bucket.parts)
    for (float& value : part) value = *from++ * share;
}

}  // namespace pleat
