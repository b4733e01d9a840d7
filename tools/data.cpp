// `pleat data fetch|info NAME`: gets a data set, or describes one.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <ostream>
#include <vector>

#include "core/check.hpp"
#include "data/dataset.hpp"
#include "data/fetch.hpp"
#include "tools/cli.hpp"
#include "tools/commands.hpp"

namespace pleat {
namespace {

std::string joined(const std::vector<double>& values) {
  std::string text;
  for (double value : values) text += concat(text.empty() ? "" : ", ", std::round(value * 1e4) / 1e4);
  return text;
}

// All pictures in memory; of picture files, which take milliseconds each, enough for three digits.
constexpr int64_t kMeasuredFiles = 1000;

void describe(const Cli& cli, const std::string& name, const std::string& dir) {
  const Dataset test = load_dataset(dir, Split::test);
  // Class folders without train and val are a test split alone.
  const bool whole = test.files.empty() || test.root != dir;
  const Dataset train = whole ? load_dataset(dir, Split::train) : Dataset{};
  const Dataset& measured = whole ? train : test;
  const int64_t pictures = measured.files.empty() ? measured.size() : std::min(measured.size(), kMeasuredFiles);
  const Statistics statistics = measure(measured, pictures);
  std::ostream& out = cli.out();
  out << name << " in " << dir << "\n  train    " << train.size() << " images";
  if (measured.files.empty())
    out << " of " << train.height << "x" << train.width << "x" << train.channels;
  else
    out << ", JPEG and PNG files";
  out << "\n  test     " << test.size() << " images\n  classes  " << measured.classes.size() << "\n  mean     "
      << joined(statistics.mean) << "  (" << pictures << " images of the " << (whole ? "training" : "test")
      << " split, pixels from 0 to 1)\n  std      " << joined(statistics.std) << '\n';
  for (const Dataset* set : {&train, &test})
    if (!set->warning.empty()) out << "  warning: " << set->warning << '\n';
  cli.finish({{"name", name},
              {"folder", dir},
              {"images", train.size()},
              {"test_images", test.size()},
              {"height", measured.height},
              {"width", measured.width},
              {"channels", measured.channels},
              {"classes", measured.classes.size()},
              {"class_names", measured.classes},
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

  const DatasetInfo info = dataset_info(name);
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
