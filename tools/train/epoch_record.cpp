#include "tools/train/epoch_record.hpp"

#include <array>
#include <cstdio>

namespace pleat {

nlohmann::ordered_json to_json(const EpochRecord& r) {
  nlohmann::ordered_json line = {{"epoch", r.epoch}, {"lr", r.lr}, {"train_loss", r.train_loss}};
  if (r.classifies) line["train_top1"] = r.train_top1;
  if (r.tested) {
    line["test_loss"] = r.test_loss;
    line["test_top1"] = r.test_top1;
  }
  line["seconds"] = r.seconds;
  line["images_per_second"] = r.images_per_second;
  line["data_wait"] = r.data_wait;
  if (!r.alphas.is_null()) line["alphas"] = r.alphas;
  return line;
}

std::string to_text(const EpochRecord& r) {
  std::string text;
  const auto add = [&](const char* format, auto... values) {
    std::array<char, 128> part;
    std::snprintf(part.data(), part.size(), format, values...);
    text += part.data();
  };
  add("epoch %lld/%lld  lr %.4g  train loss %.4f", static_cast<long long>(r.epoch), static_cast<long long>(r.epochs),
      r.lr, r.train_loss);
  if (r.classifies) add(" top-1 %.2f%%", 100 * r.train_top1);
  if (r.tested) add("  test loss %.4f top-1 %.2f%%", r.test_loss, 100 * r.test_top1);
  add("  %.0f images/s", r.images_per_second);
  return text;
}

}  // namespace pleat
