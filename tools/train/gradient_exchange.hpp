// Gradients of several ranks become their mean while the backward pass goes on: the last layers' gradients are finished
// first, and travel while those of the layers before are computed. They go in *buckets* of about a megabyte, so that
// neither the latency of many small messages nor the size of one large one has to be waited for.
//
// Source: Li et al. 2020, PyTorch Distributed, arXiv:2006.15704.
#pragma once

#include <condition_variable>
#include <exception>
#include <mutex>
#include <span>
#include <stop_token>
#include <thread>
#include <vector>

#include "core/process_group.hpp"
#include "core/tensor.hpp"

namespace pleat {

/// Values that become the mean over the ranks in each step, and the group of steps that finishes them in the backward
/// pass (ops/exec/exec.hpp); -1 if they are finished only after it.
struct ExchangedValues {
  std::span<float> values;
  int group;
};

class GradientExchange {
 public:
  /// For all steps to come. The values' memory must outlive this. In a group of one nothing is exchanged.
  GradientExchange(const ProcessGroup& ranks, std::vector<ExchangedValues> values, Wire wire);

  /// Before a backward pass.
  void begin();
  /// The pass has finished the group of steps; groups come in falling order.
  void finished(int group);
  /// After the pass: waits until all values are means. Rethrows what went wrong on the way.
  void end();

 private:
  struct Bucket {
    int group;  // that must be finished
    std::vector<std::span<float>> parts;
    std::size_t size = 0;
  };
  void work(const std::stop_token& stop);
  void average(const Bucket& bucket);
  void release(std::size_t buckets);

  ProcessGroup ranks_;
  const Wire wire_;
  std::vector<Bucket> buckets_;
  AlignedVector<float> flat_;  // a bucket's values one after the other

  std::mutex mutex_;  // guards what follows
  std::condition_variable_any changed_;
  std::size_t released_, done_;  // buckets that may travel, and that have
  std::exception_ptr error_;
  std::jthread worker_;  // last: stopped and joined before the rest goes
};

}  // namespace pleat
