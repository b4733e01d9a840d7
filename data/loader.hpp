// Batches for training and evaluation, prepared ahead by worker threads.
//
// Order and pixels depend only on (seed, epoch, batch size), never on the number of threads or on timing: batch b of an
// epoch is a slice of the epoch's permutation, and each image's augmentation is drawn from (seed, epoch, image). So an
// epoch taken up again at batch k goes on exactly as the uninterrupted one. Picture files are decoded by the workers:
// only the batches of the ring are in memory.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "core/tensor.hpp"
#include "data/augment.hpp"
#include "data/dataset.hpp"
#include "data/transform.hpp"

namespace pleat {

struct Batch {
  std::span<const float> images;  ///< [size, height, width, channels], normalised
  std::span<const int32_t> labels;
  int64_t size = 0;  ///< The batch size, or less for the last batch and where broken files are left out.
};

struct LoaderOptions {
  int64_t batch = 1;
  std::optional<Augment> augment = {};
  bool shuffle = false;
  bool drop_last = false;    ///< Leave an incomplete last batch out.
  bool skip_broken = false;  ///< Pass over files that cannot be read: where an incomplete batch would be left out, the
                             ///< next readable picture of the epoch's order takes the place, else the batch is smaller.
  uint64_t seed = 0;
  int threads = 1;
  int shard = 0, shards = 1;  ///< Of each `batch * shards` pictures in the order, this loader gives the part `shard`.
};

/// Worker threads that a loader of `data` needs: one where the pictures are in memory, all where files are decoded.
int loader_threads(const Dataset& data);

class Loader {
 public:
  /// `data` must outlive the loader. Throws std::invalid_argument for an empty set, sizes out of range, pictures in
  /// memory of another size than the format's or normalisation that does not fit.
  Loader(const Dataset& data, const PictureFormat& format, const LoaderOptions& options);

  /// Starts an epoch at batch `first_batch` (0 to batches()); what is left of another epoch is dropped.
  void start_epoch(int64_t epoch, int64_t first_batch = 0);

  /// The next batch, valid until the next call of any member; null at the epoch's end and before the first start_epoch.
  /// Rethrows what a worker threw while it made this batch.
  const Batch* next();

  /// Files passed over so far and why, by picture.
  std::map<int64_t, std::string> broken() const;

  int64_t batches() const { return batches_; }           ///< In a whole epoch, as many for each shard with drop_last.
  double wait_seconds() const { return wait_seconds_; }  ///< That next() waited for workers since start_epoch.

 private:
  // One buffer of the ring. Batch b is made in slot b % slots; the slot is handed to and fro by `made`.
  struct Slot {
    AlignedVector<float> images;
    std::vector<int32_t> labels;
    Batch batch;
    bool made = false;  // the batch is there and not yet given back by the consumer
    std::exception_ptr error;
  };

  void work(const std::stop_token& stop);
  void fill(Slot& slot, int64_t batch);
  std::vector<uint32_t> shard_of(const std::vector<uint32_t>& order) const;
  bool take(std::span<float> out, uint32_t index);
  Slot& slot(int64_t batch) { return slots_[batch % slots_.size()]; }

  const Dataset& data_;
  const LoaderOptions options_;
  const Transform transform_;
  int64_t image_size_, batches_;
  double wait_seconds_ = 0;

  mutable std::mutex mutex_;  // guards all below; a slot's contents belong to whoever `made` says
  std::condition_variable_any changed_;
  std::vector<Slot> slots_;
  std::vector<uint32_t> order_;  // the shard of the epoch's permutation; changes only while no worker is busy
  std::map<int64_t, std::string> broken_;
  int64_t epoch_ = 0;
  int64_t to_make_, to_give_;          // the next batch for a worker, for next(); batches_ when there is none
  bool given_ = false;                 // batch to_give_ - 1 is in the consumer's hands
  int busy_ = 0;                       // workers making a batch
  std::vector<std::jthread> workers_;  // last: stopped and joined before the rest goes
};

}  // namespace pleat
