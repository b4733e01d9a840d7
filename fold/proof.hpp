// Measures how far the outputs of two networks differ, to show that a folded network computes the same as before.
#pragma once

#include <cstdint>
#include <span>

#include "core/tensor.hpp"

namespace pleat {

/// Collects the differences between the outputs of two networks, A and B, over any number of pictures.
class Proof {
 public:
  /// Adds the logits of the same pictures, [n, classes] from each network. Of equal logits the first counts as the
  /// top-1 class. Throws std::invalid_argument if the sizes differ, std::runtime_error for a number that is not finite.
  void add_logits(std::span<const float> a, std::span<const float> b, int64_t classes);

  /// Adds a value that still has borders, [n, H, W, C] from each network for the same pictures. Its interior is all but
  /// the outermost `border` pixels. Throws as add_logits does.
  void add_maps(std::span<const float> a, std::span<const float> b, const Nhwc& shape, int64_t border);

  int64_t images() const { return images_; }
  double max_abs_diff() const { return max_abs_; }  ///< The largest difference of two logits.
  double max_rel_diff() const;                      ///< max_abs_diff() divided by the range of A's logits.
  /// The root mean square of the logits' differences, divided by the standard deviation of A's logits.
  double rms_rel_diff() const;
  double same_top1() const;                             ///< The fraction of pictures with the same top-1 class.
  double max_abs_diff_map() const { return max_map_; }  ///< The largest difference of the values with borders.
  double max_abs_diff_interior() const { return max_interior_; }  ///< The same in their interior only.

 private:
  int64_t images_ = 0, same_ = 0;
  double max_abs_ = 0, max_map_ = 0, max_interior_ = 0;
  double lowest_ = 0, highest_ = 0;
  int64_t logits_ = 0;
  double sum_ = 0, squares_ = 0, squared_diffs_ = 0;  // of A's logits, and of the differences
};

}  // namespace pleat
