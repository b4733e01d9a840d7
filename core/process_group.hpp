// Several processes, the *ranks* 0 to size - 1, that compute together, on one machine or on many. Each has all of the
// parameters and a part of the work; what they add up is added in the order of the ranks, so that the same number of
// ranks gives the same bits, whichever message arrives first.
//
// How messages travel is the Transport's business: MPI (core/mpi.hpp), or memory in tests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/tensor.hpp"

namespace pleat {

/// Carries messages between ranks. Without a symbol of its own, so that a library that is loaded later can be one.
class Transport {
 public:
  struct Outgoing {
    int to;
    std::span<const std::byte> bytes;
  };
  struct Incoming {
    int from;
    std::span<std::byte> bytes;
  };
  virtual ~Transport() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  /// Sends and receives all of these at once, each message of the size that the other side expects, and returns when
  /// all have arrived. Messages of one `channel` between the same two ranks arrive in the order in which they were
  /// sent; several threads may call this at once, each with a channel of its own. Throws std::runtime_error if the
  /// other ranks are not to be reached.
  virtual void exchange(std::span<const Outgoing> outgoing, std::span<const Incoming> incoming, int channel) = 0;
  /// When all is done: waits for the others, after which none is to be reached any more.
  virtual void leave() = 0;
  /// Ends all ranks at once, with the exit code `code`.
  [[noreturn]] virtual void abort(int code) = 0;
};

/// How numbers travel.
enum class Wire { f32, bf16 };

/// What the ranks do together. Each function must be called by all ranks in the same order, as far as the channel is
/// the same. A group of one rank does nothing, and needs no transport.
class ProcessGroup {
 public:
  /// A group of one.
  ProcessGroup() = default;
  /// `transport`, which must outlive this; messages use `channel`.
  explicit ProcessGroup(Transport& transport, int channel = 0);

  int rank() const { return transport_ ? transport_->rank() : 0; }
  int size() const { return transport_ ? transport_->size() : 1; }
  bool is_first() const { return rank() == 0; }
  /// The same ranks, for another thread.
  ProcessGroup on_channel(int channel) const { return transport_ ? ProcessGroup(*transport_, channel) : *this; }

  /// Replaces `values` by the sum over the ranks of theirs, added in the order of the ranks. Each rank adds up its part
  /// of the values and then sends the sums to the others: 2 (size - 1) / size times the values go over each rank's
  /// link. With Wire::bf16 what is sent is rounded, values and sums alike, and added in f32.
  void sum(std::span<float> values, Wire wire = Wire::f32);
  void sum(std::span<double> values);

  /// Writes what all ranks have into `all`, one after the other: [size][mine]. `mine` has the same size everywhere.
  void gather(std::span<double> all, std::span<const double> mine);

  /// Replaces `bytes` by the first rank's.
  void broadcast(std::span<std::byte> bytes);
  /// Likewise, of whatever length.
  void broadcast(std::string& text);

  /// Ends all ranks. In a group of one this does nothing.
  void abort(int code);

 private:
  template <class Sent, class T>
  void sum_parts(std::span<T> values);
  // What was listed in outgoing_ and incoming_, which are empty afterwards.
  void exchange();

  Transport* transport_ = nullptr;
  int channel_ = 0;
  AlignedVector<std::byte> sent_, received_;
  std::vector<Transport::Outgoing> outgoing_;
  std::vector<Transport::Incoming> incoming_;
};

}  // namespace pleat
