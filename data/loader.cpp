#include "data/loader.hpp"

#include <algorithm>
#include <limits>
#include <numeric>

#include "core/check.hpp"
#include "core/clock.hpp"
#include "core/parallel.hpp"
#include "core/split.hpp"

namespace pleat {
namespace {

// Streams of random numbers: the top bit marks the loader's, then epoch and image; the greatest index is the order's.
constexpr uint32_t kOrder = std::numeric_limits<uint32_t>::max();
constexpr int64_t kFlips = std::numeric_limits<int32_t>::max();  // an epoch's place that no epoch has
uint64_t stream(int64_t epoch, uint32_t index) {
  return uint64_t{1} << 63 | static_cast<uint64_t>(epoch) << 32 | index;
}

// `format`, which must be one that the pictures can have: those in memory have the network's size already.
const PictureFormat& checked(const Dataset& data, const PictureFormat& format) {
  const bool fits = data.height == format.height && data.width == format.width;
  PLEAT_CHECK(data.channels == format.channels && (fits || !data.files.empty()), "data set '", data.name,
              "' has pictures of ", data.height, "x", data.width, "x", data.channels, ", the model takes ",
              format.height, "x", format.width, "x", format.channels);
  return format;
}

}  // namespace

int loader_threads(const Dataset& data) {
  return data.files.empty() ? 1 : num_threads();
}

Loader::Loader(const Dataset& data, const PictureFormat& format, const LoaderOptions& options)
    : data_(data),
      options_(options),
      transform_(checked(data, format), options.augment),
      image_size_(int64_t{format.height} * format.width * format.channels) {
  const int64_t images = data.size(), batch = options.batch;
  const bool drop_last = options.drop_last;
  PLEAT_CHECK(images >= 1 && images < kOrder, "loader: data set '", data.name, "' has ", images,
              " images, expected 1 to ", kOrder - 1);
  const int64_t most = drop_last ? images / options.shards : kOrder;
  PLEAT_CHECK(batch >= 1 && batch <= most, "loader: batch size is ", batch, ", expected 1 to ", most);
  PLEAT_CHECK(options.threads >= 1 && options.threads <= 1024, "loader: got ", options.threads,
              " threads, expected 1 to 1024");
  const int pad = options.augment ? options.augment->crop_pad : 0, side = std::max(format.height, format.width);
  PLEAT_CHECK(pad >= 0 && pad <= side, "loader: crop padding is ", pad, ", expected 0 to ", side);
  std::vector<uint32_t> order(images);
  std::iota(order.begin(), order.end(), 0u);
  order_ = shard_of(order);
  const int64_t mine = std::ssize(order_);
  batches_ = drop_last ? images / (batch * options.shards) : (mine + batch - 1) / batch;
  to_make_ = to_give_ = batches_;

  // One batch in the consumer's hands, one being made by each worker, one ready.
  slots_.resize(std::min<int64_t>(options.threads + 2, batches_));
  for (Slot& slot : slots_) {
    slot.images.resize(std::min(batch, mine) * image_size_);
    slot.labels.resize(std::min(batch, mine));
  }
  for (int t = 0; t < options.threads; ++t) workers_.emplace_back([this](const std::stop_token& stop) { work(stop); });
}

void Loader::start_epoch(int64_t epoch, int64_t first_batch) {
  PLEAT_CHECK(epoch >= 0 && epoch < kFlips, "loader: epoch is ", epoch, ", expected 0 to ", (int64_t{1} << 31) - 1);
  PLEAT_CHECK(first_batch >= 0 && first_batch <= batches_, "loader: first batch is ", first_batch, ", expected 0 to ",
              batches_);
  std::vector<uint32_t> order = order_;
  if (options_.shuffle)
    order = shard_of(permutation(static_cast<uint32_t>(data_.size()), Rng(options_.seed, stream(epoch, kOrder))));

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

// Together the shards' batches of one number are what a single loader would give with a batch of all their pictures.
std::vector<uint32_t> Loader::shard_of(const std::vector<uint32_t>& order) const {
  std::vector<uint32_t> mine;
  const int64_t images = std::ssize(order), together = options_.batch * options_.shards;
  for (int64_t first = 0; first < images; first += together) {
    const Range range = split(std::min(together, images - first), options_.shard, options_.shards);
    mine.insert(mine.end(), order.begin() + first + range.begin, order.begin() + first + range.end);
  }
  return mine;
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
  const auto start = Clock::now();
  changed_.wait(lock, [&] { return ready.made; });
  wait_seconds_ += seconds_since(start);
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

std::map<int64_t, std::string> Loader::broken() const {
  const std::lock_guard lock(mutex_);
  return broken_;
}

// One picture into `out`; false if it is broken and to be passed over.
bool Loader::take(std::span<float> out, uint32_t index) {
  Picture decoded;
  Pixels picture;
  try {
    picture = data_.picture(index, decoded);
  } catch (const std::runtime_error& error) {
    if (!options_.skip_broken) throw;
    const std::lock_guard lock(mutex_);
    broken_.try_emplace(index, error.what());
    return false;
  }
  std::optional<bool> mirrored;
  if (options_.augment && options_.augment->flip && options_.augment->alternate_flip)
    mirrored = (Rng(options_.seed, stream(kFlips, index)).below(2) + epoch_) % 2 == 1;
  transform_(out, picture, Rng(options_.seed, stream(epoch_, index)), mirrored);
  return true;
}

void Loader::fill(Slot& slot, int64_t batch) {
  const int64_t images = std::ssize(order_), first = batch * options_.batch,
                size = std::min(options_.batch, images - first);
  int64_t filled = 0;
  for (int64_t i = 0; i < size; ++i) {
    const auto out = std::span(slot.images).subspan(filled * image_size_, image_size_);
    int64_t at = first + i, tried = 1;
    bool taken = take(out, order_[at]);
    for (; !taken && options_.drop_last && tried < images; ++tried) taken = take(out, order_[at = (at + 1) % images]);
    PLEAT_CHECK_FILE(taken || !options_.drop_last, data_.root, "none of its ", images, " pictures can be read");
    if (taken) slot.labels[filled++] = data_.labels[order_[at]];
  }
  slot.batch = {std::span(slot.images).first(filled * image_size_), std::span(slot.labels).first(filled), filled};
}

}  // namespace pleat
