// Work of other steps that a convolution kernel does on its way from pixels to pixels, while they are in the cache of
// the thread that computes them. In training this is what the batch norms before and behind a convolution do.
#pragma once

#include <cstdint>
#include <functional>

#include "core/parallel.hpp"
#include "ops/piece.hpp"

namespace pleat {

/// Work on the pixels [begin, end) of a piece, which no other thread works on meanwhile. `thread` is the number of the
/// part that the calling thread runs (core/parallel.hpp). An empty function is no hook.
using PixelHook = std::function<void(const Piece& piece, int64_t begin, int64_t end, int thread)>;

/// A kernel that takes a hook over calls it exactly once for each pixel of a piece.
struct ConvHooks {
  PixelHook x;        ///< For pixels of x, before the forward pass reads them.
  PixelHook y;        ///< For pixels of y, when the forward pass has written them.
  PixelHook x_again;  ///< For pixels of x, before the backward pass reads them.
  PixelHook dy;       ///< For pixels of dy, before the backward pass reads them.
  PixelHook dx;       ///< For pixels of dx, when the backward pass has written them.
};

/// A hook and the piece that is being computed. Does nothing if the hook is empty. The hook must outlive it.
class PieceHook {
 public:
  PieceHook() = default;
  PieceHook(const PixelHook& hook, const Piece& piece) : hook_(hook ? &hook : nullptr), piece_(piece) {}
  explicit operator bool() const { return hook_ != nullptr; }
  void operator()(int64_t begin, int64_t end, int thread) const {
    if (hook_ != nullptr) (*hook_)(piece_, begin, end, thread);
  }

 private:
  const PixelHook* hook_ = nullptr;
  Piece piece_;
};

/// All hooks of a kernel, for one call of it.
struct PieceHooks {
  PieceHooks() = default;
  PieceHooks(const ConvHooks& hooks, const Piece& piece)
      : x(hooks.x, piece), y(hooks.y, piece), x_again(hooks.x_again, piece), dy(hooks.dy, piece), dx(hooks.dx, piece) {}
  PieceHook x, y, x_again, dy, dx;
};

}  // namespace pleat
