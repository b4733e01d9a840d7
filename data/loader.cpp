#include "data/loader.hpp"

#include <algorithm>
#include <chrono>
#include <limits>
#include <numeric>

#include "core/check.hpp"

namespace pleat {
namespace {

// Streams of random numbers: the top bit marks the loader's, then epoch and image; the greatest index is the order's.
constexpr uint32_t kOrder = std::numeric_limits<uint32_t>::max();
uint64_t stream(int64_t epoch, uint32_t index) {
  return uint64_t{1} << 63 | static_cast<uint64_t>(epoch) << 32 | index;
}

}  // namespace

Loader::Loader(const Dataset& data, std::span<const float> mean, std::span<const float> std, int64_t batch,
               std::optional<Augment> augment, bool shuffle, bool drop_last, uint64_t seed, int threads)
    : data_(data),
      normalize_(data.height, data.width, data.channels, mean, std),
      batch_size_(batch),
      augment_(augment),
      shuffle_(shuffle),
      seed_(seed) {
  const int64_t images = data.size();
  PLEAT_CHECK(images >= 1 && images < kOrder, "loader: data set '", data.name, "' has ", images,
              " images, expected 1 to ", kOrder - 1);
  PLEAT_CHECK(batch >= 1 && batch <= (drop_last ? images : kOrder), "loader: batch size is ", batch, ", expected 1 to ",
              drop_last ? images : kOrder);
  PLEAT_CHECK(threads >= 1 && threads <= 1024, "loader: got ", threads, " threads, expected 1 to 1024");
  PLEAT_CHECK(!augment || (augment->crop_pad >= 0 && augment->crop_pad <= std::max(data.height, data.width)),
              "loader: crop padding is ", augment->crop_pad, ", expected 0 to ", std::max(data.height, data.width));
  batches_ = drop_last ? images / batch : (images + batch - 1) / batch;
  to_make_ = to_give_ = batches_;
  order_.resize(images);
  std::iota(order_.begin(), order_.end(), 0u);

  // One batch in the consumer's hands, one being made by each worker, one ready.
  slots_.resize(std::min<int64_t>(threads + 2, batches_));
  for (Slot& slot : slots_) {
    slot.images.resize(std::min(batch, images) * data.image_size());
    slot.labels.resize(std::min(batch, images));
  }
  for (int t = 0; t < threads; ++t) workers_.emplace_back([this](const std::stop_token& stop) { work(stop); });
}

void Loader::start_epoch(int64_t epoch, int64_t first_batch) {
  PLEAT_CHECK(epoch >= 0 && epoch < int64_t{1} << 31, "loader: epoch is ", epoch, ", expected 0 to ",
              (int64_t{1} << 31) - 1);
  PLEAT_CHECK(first_batch >= 0 && first_batch <= batches_, "loader: first batch is ", first_batch, ", expected 0 to ",
              batches_);
  std::vector<uint32_t> order = order_;
  if (shuffle_) order = permutation(static_cast<uint32_t>(data_.size()), Rng(seed_, stream(epoch, kOrder)));

  std::unique_lock lock(mutex_);
  to_make_ = batches_;  // no worker takes another batch of the old epoch
  changed_.wait(lock, [&] { return busy_ == 0; });
  for (Slot& slot : slots_) {
    slot.made = false;
    slot.error = nullptr;
  }
  order_ = std::move(order);
  epoch_ = epoch;
  to_make_ = to_give_ = first_batch;
  given_ = false;
  wait_seconds_ = 0;
  changed_.notify_all();
}

const Batch* Loader::next() {
  std::unique_lock lock(mutex_);
  if (given_) {
    slot(to_give_ - 1).made = false;
    given_ = false;
    changed_.notify_all();
  }
  if (to_give_ == batches_) return nullptr;
  Slot& ready = slot(to_give_);
  const auto start = std::chrono::steady_clock::now();
  changed_.wait(lock, [&] { return ready.made; });
  wait_seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (ready.error) std::rethrow_exception(ready.error);
  ++to_give_;
  given_ = true;
  return &ready.batch;
}

void Loader::work(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  // A batch may be made once its slot is free: the batch before it there, slots_.size() earlier, was given back.
  const auto open = [&] {
    return to_make_ < batches_ && to_make_ - static_cast<int64_t>(slots_.size()) < to_give_ - given_;
  };
  while (changed_.wait(lock, stop, open) && !stop.stop_requested()) {
    const int64_t batch = to_make_++;
    Slot& mine = slot(batch);
    ++busy_;
    lock.unlock();
    std::exception_ptr error;
    try {
      fill(mine, batch);
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    --busy_;
    mine.made = true;
    mine.error = error;
    changed_.notify_all();
  }
}

void Loader::fill(Slot& slot, int64_t batch) const {
  const int64_t first = batch * batch_size_, size = std::min(batch_size_, data_.size() - first),
                image_size = data_.image_size();
  for (int64_t i = 0; i < size; ++i) {
    const uint32_t index = order_[first + i];
    const Placement placement = augment_ ? draw(*augment_, Rng(seed_, stream(epoch_, index))) : Placement{};
    normalize_(std::span(slot.images).subspan(i * image_size, image_size), data_.image(index), placement);
    slot.labels[i] = data_.labels[index];
  }
  slot.batch = {std::span(slot.images).first(size * image_size), std::span(slot.labels).first(size), size};
}

}  // namespace pleat
