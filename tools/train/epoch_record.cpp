#include "tools/train/epoch_record.hpp"

#include <array>
#include <cstdio>

namespace pleat {

nlohmann::ordered_json to_json(const EpochRecord& r) {
  nlohmann::ordered_json line = {{"epoch", r.epoch},           {"lr", r.lr},
                                 {"train_loss", r.train_loss}, {"train_top1", r.train_top1},
                                 {"test_loss", r.test_loss},   {"test_top1", r.test_top1},
                                 {"seconds", r.seconds},       {"images_per_second", r.images_per_second},
                                 {"data_wait", r.data_wait}};
  if (!r.alphas.is_null()) line["alphas"] = r.alphas;
  return line;
}

std::string to_text(const EpochRecord& r) {
  std::array<char, 256> line;
  std::snprintf(line.data(), line.size(),
                "epoch %lld/%lld  lr %.4g  train loss %.4f top-1 %.2f%%  test loss %.4f top-1 %.2f%%  %.0f images/s",
                static_cast<long long>(r.epoch), static_cast<long long>(r.epochs), r.lr, r.train_loss,
                100 * r.train_top1, r.test_loss, 100 * r.test_top1, r.images_per_second);
  return line.data();
}

}  // namespace pleat
