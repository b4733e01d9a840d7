// Memory of an executor. A buffer that one group of steps alone uses holds one piece of a batch, in a small block that
// all groups share and that stays in the cache; the others hold whole batches and have their place in one arena by
// lifetime.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "core/arena.hpp"
#include "core/tensor.hpp"
#include "ops/piece.hpp"

namespace pleat {

/// When a step of a group uses a buffer: in the forward pass; or in the backward pass, either when values are computed
/// again or after that.
struct BufferUse {
  int group = 0, step = 0;  ///< The step's place in its group.
  enum { forward, recompute, backward } pass = forward;
};

/// The buffers of an executor that holds a graph's values: by node, -1 where there is none.
struct ExecBuffers {
  int pictures = -1;  ///< The input as the caller writes it, in float.
  std::vector<int> values, gradients;
};

class ExecMemory {
 public:
  /// `steps`: group -> number of steps in it.
  ExecMemory(int64_t batch, std::vector<int64_t> pieces, std::vector<int> steps);

  /// A new buffer of `picture` elements of T for each picture.
  template <class T>
  int add(int64_t picture) {
    buffers_.push_back({.picture = picture, .element = sizeof(T)});
    return static_cast<int>(buffers_.size()) - 1;
  }
  void use(int buffer, const BufferUse& use);
  void keep(int buffer);               ///< Whole, and from the first step to the last.
  void expect_recomputed(int buffer);  ///< What a piece leaves in it forward is not needed backward.
  void place();                        ///< Once all uses are known. Allocates.

  /// The part of a buffer that `piece` has.
  template <class T>
  std::span<T> at(int buffer, Piece piece) const {
    const Buffer& b = buffers_[buffer];
    T* data = reinterpret_cast<T*>(b.data);
    return {data + (b.local ? 0 : piece.begin * b.picture), static_cast<std::size_t>(piece.size * b.picture)};
  }
  template <class T>
  std::span<T> whole(int buffer) const {
    return at<T>(buffer, {0, batch_});
  }
  int64_t bytes() const { return static_cast<int64_t>(arena_.size()); }

 private:
  struct Buffer {
    int64_t picture;
    std::size_t element;
    int group = kUnused;  // the only one that uses it, or one of:
    static constexpr int kUnused = -1, kSeveral = -2;
    bool forward = false, backward = false, recomputed = false, local = false;
    Lifetime among_groups{.last = -1}, in_group{.last = -1};
    std::byte* data = nullptr;
  };
  int64_t floats(const Buffer& buffer, int64_t pictures) const;
  void place_group(int group, int64_t& block_size, std::vector<int64_t>& offsets) const;

  int64_t batch_;
  std::vector<int64_t> pieces_;
  std::vector<int> steps_;
  std::vector<Buffer> buffers_;
  AlignedVector<std::byte> arena_;  // whole batches, then the block of the pieces
};

}  // namespace pleat
