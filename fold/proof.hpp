// Proof by numbers that two networks do the same.
#pragma once

#include <cstdint>
#include <span>

#include "core/tensor.hpp"

namespace pleat {

/// Differences between two networks' outputs over any number of pictures.
class Proof {
 public:
  /// Logits of the same pictures, [n, classes] each; top-1 counts the first of equal logits. Throws
  /// std::invalid_argument if the sizes differ.
  void add_logits(std::span<const float> a, std::span<const float> b, int64_t classes);

  /// A spatial value of the same pictures, [n, H, W, C] each; its interior is all but the outermost `border` pixels.
  void add_maps(std::span<const float> a, std::span<const float> b, const Nhwc& shape, int64_t border);

  int64_t images() const { return images_; }
  double max_abs_diff() const { return max_abs_; }                ///< Of the logits.
  double max_rel_diff() const;                                    ///< max_abs_diff over the range of A's logits.
  double same_top1() const;                                       ///< Fraction of pictures.
  double max_abs_diff_map() const { return max_map_; }            ///< Of the spatial value.
  double max_abs_diff_interior() const { return max_interior_; }  ///< Of its interior.

 private:
  int64_t images_ = 0, same_ = 0;
  double max_abs_ = 0, max_map_ = 0, max_interior_ = 0;
  double lowest_ = 0, highest_ = 0;
};

}  // namespace pleat
