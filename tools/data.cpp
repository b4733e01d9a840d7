// `pleat data fetch|info NAME`: gets a data set, or describes one.
#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

#include "core/check.hpp"
#include "data/dataset.hpp"
#include "data/fetch.hpp"
#include "tools/cli.hpp"
#include "tools/commands.hpp"

namespace pleat {
namespace {

struct Statistics {
  std::vector<double> mean, std;  // one a channel, of pixel/255
};

// Over all pixels, from a histogram of each channel: exact, and one pass.
Statistics measure(const Dataset& set) {
  std::vector<std::array<int64_t, 256>> histograms(set.channels);
  for (std::size_t i = 0; i < set.images.size(); i += set.channels)
    for (int c = 0; c < set.channels; ++c) ++histograms[c][set.images[i + c]];
  const double pixels = static_cast<double>(set.images.size()) / set.channels;
  Statistics result;
  for (const auto& histogram : histograms) {
    double sum = 0, squares = 0;
    for (int value = 0; value < 256; ++value) {
      sum += static_cast<double>(histogram[value]) * value;
      squares += static_cast<double>(histogram[value]) * value * value;
    }
    const double mean = sum / pixels;
    result.mean.push_back(mean / 255);
    result.std.push_back(std::sqrt(squares / pixels - mean * mean) / 255);
  }
  return result;
}

std::string joined(const std::vector<double>& values) {
  std::string text;
  for (double value : values) text += concat(text.empty() ? "" : ", ", std::round(value * 1e4) / 1e4);
  return text;
}

void describe(const Cli& cli, const std::string& name, const std::string& dir) {
  const Dataset train = load_dataset(dir, Split::train);
  const Dataset test = load_dataset(dir, Split::test);
  const Statistics statistics = measure(train);
  cli.out() << name << " in " << dir << "\n  train    " << train.size() << " images of " << train.height << "x"
            << train.width << "x" << train.channels << "\n  test     " << test.size() << " images\n  classes  "
            << train.classes.size() << "\n  mean     " << joined(statistics.mean)
            << "  (training split, pixels from 0 to 1)\n  std      " << joined(statistics.std) << '\n';
  cli.finish({{"name", name},
              {"folder", dir},
              {"images", train.size()},
              {"test_images", test.size()},
              {"height", train.height},
              {"width", train.width},
              {"channels", train.channels},
              {"classes", train.classes.size()},
              {"class_names", train.classes},
              {"mean", statistics.mean},
              {"std", statistics.std}});
}

}  // namespace

int data_command(int argc, char** argv) {
  Cli cli("pleat data", "Gets a data set from its official address into ./local, or describes one.",
          "pleat data fetch cifar10\npleat data info cifar10 --json");
  cli.argument("ACTION", "fetch or info");
  cli.argument("NAME", "cifar10, cifar100, mnist, fashion-mnist; for info also a folder");
  if (!cli.parse(argc, argv)) return 0;
  const std::string& action = cli.argument("ACTION");
  const std::string& name = cli.argument("NAME");
  if (action != "fetch" && action != "info") cli.usage_error("unknown action '" + action + "', expected fetch or info");

  const DatasetInfo& info = dataset_info(name);
  if (action == "info") {
    describe(cli, info.name, info.name == name ? find_dataset(name) : name);
    return 0;
  }
  if (info.name != name) cli.usage_error("'" + name + "' is a folder, expected a name");
  const auto say = [&](const std::string& line) {
    if (!cli.quiet()) cli.out() << line << std::endl;
  };
  describe(cli, name, fetch(official_source(name), "./local", say));
  return 0;
}

}  // namespace pleat
