// `pleat data fetch|info|bench NAME` downloads a data set, describes one, or measures how fast it is loaded.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <ostream>
#include <vector>

#include "core/check.hpp"
#include "core/clock.hpp"
#include "core/parallel.hpp"
#include "data/dataset.hpp"
#include "data/fetch.hpp"
#include "data/loader.hpp"
#include "tools/cli.hpp"
#include "tools/commands/commands.hpp"

namespace pleat {
namespace {

std::string joined(const std::vector<double>& values) {
  std::string text;
  for (double value : values) text += concat(text.empty() ? "" : ", ", std::round(value * 1e4) / 1e4);
  return text;
}

// Statistics are measured over all pictures that are in memory. Decoding a picture file takes milliseconds, so of these
// only as many are used as three significant digits need.
constexpr int64_t kMeasuredFiles = 1000;

void describe(const Cli& cli, const std::string& name, const std::string& dir) {
  const Dataset test = load_dataset(dir, Split::test);
  // A folder of class folders without train and val has only a test split.
  const bool has_train = test.files.empty() || test.root != dir;
  const Dataset train = has_train ? load_dataset(dir, Split::train) : Dataset{};
  const Dataset& measured = has_train ? train : test;
  const int64_t pictures = measured.files.empty() ? measured.size() : std::min(measured.size(), kMeasuredFiles);
  const Statistics statistics = measure(measured, pictures);
  std::ostream& out = cli.out();
  out << name << " in " << dir << "\n  train    " << train.size() << " images";
  if (measured.files.empty())
    out << " of " << train.height << "x" << train.width << "x" << train.channels;
  else
    out << ", picture files";
  out << "\n  test     " << test.size() << " images\n  classes  " << measured.classes.size() << "\n  mean     "
      << joined(statistics.mean) << "  (" << pictures << " images of the " << (has_train ? "training" : "test")
      << " split, pixels from 0 to 1)\n  std      " << joined(statistics.std) << '\n';
  std::vector<std::string> warnings;
  for (const Dataset* set : {&train, &test})
    if (!set->warning.empty()) warnings.push_back(set->warning);
  for (const std::string& warning : warnings) out << "  warning: " << warning << '\n';
  cli.finish({{"name", name},
              {"folder", dir},
              {"images", train.size()},
              {"test_images", test.size()},
              {"height", measured.height},
              {"width", measured.width},
              {"channels", measured.channels},
              {"classes", measured.classes.size()},
              {"class_names", measured.classes},
              {"warnings", warnings},
              {"mean", statistics.mean},
              {"std", statistics.std}});
}

// Loads one epoch of training pictures without a network. Picture files are prepared as for an ImageNet network, others
// keep their size.
void bench(const Cli& cli, const std::string& name) {
  const DatasetInfo info = dataset_info(name);
  const Dataset data = load_dataset(name, Split::train);
  const bool files = !data.files.empty();
  const PictureFormat format{files ? 224 : data.height, files ? 224 : data.width, data.channels, info.mean, info.std};
  Loader loader(data, format,
                {.batch = cli.integer("batch", 1, 1 << 16),
                 .augment = Augment{.resized_crop = files},
                 .shuffle = true,
                 .seed = cli.seed(),
                 .threads = num_threads()});
  const auto start = Clock::now();
  loader.start_epoch(0);
  while (loader.next() != nullptr) continue;
  const double seconds = seconds_since(start);
  const double rate = static_cast<double>(data.size()) / seconds;
  cli.out() << data.size() << " pictures in " << seconds << " s, " << rate << " per second, with " << num_threads()
            << " threads\n";
  cli.finish({{"images", data.size()}, {"seconds", seconds}, {"images_per_second", rate}});
}

}  // namespace

int data_command(int argc, char** argv) {
  Cli cli(
      "pleat data",
      "Downloads a data set from its official address to ./local, describes one, or measures how fast it is loaded.",
      "pleat data fetch cifar10\npleat data info cifar10 --json\npleat data bench imagenette --threads 2");
  cli.argument("ACTION", "fetch, info or bench");
  cli.argument("NAME", "cifar10, cifar100, mnist or fashion-mnist; for info and bench also a folder");
  cli.option("batch", "N", "for bench: pictures per batch", "32");
  if (!cli.parse(argc, argv)) return 0;
  const std::string& action = cli.argument("ACTION");
  const std::string& name = cli.argument("NAME");
  if (action != "fetch" && action != "info" && action != "bench")
    cli.usage_error("the action is '" + action + "', expected fetch, info or bench");

  if (action == "bench") {
    bench(cli, name);
    return 0;
  }
  const DatasetInfo info = dataset_info(name);
  if (action == "info") {
    describe(cli, info.name, info.name == name ? find_dataset(name) : name);
    return 0;
  }
  if (info.name != name) cli.usage_error("'" + name + "' is a folder, expected the name of a data set");
  const auto say = [&](const std::string& line) {
    if (!cli.quiet()) cli.out() << line << std::endl;
  };
  describe(cli, name, fetch(official_source(name), "./local", say));
  return 0;
}

}  // namespace pleat
