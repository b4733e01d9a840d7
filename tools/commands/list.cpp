// `pleat list` prints the names of networks and data sets.
#include <ostream>

#include "data/dataset.hpp"
#include "models/models.hpp"
#include "tools/cli.hpp"
#include "tools/commands/commands.hpp"

namespace pleat {

int list_command(int argc, char** argv) {
  Cli cli("pleat list", "Prints the names of networks and data sets.", "pleat list --json");
  if (!cli.parse(argc, argv)) return 0;
  const std::vector<std::string> models = model_names(), datasets = dataset_names();
  cli.out() << "models:\n";
  for (const std::string& name : models) cli.out() << "  " << name << '\n';
  cli.out() << "data sets:\n";
  for (const std::string& name : datasets) cli.out() << "  " << name << '\n';
  cli.out()
      << "data sets are also found by their folder: idx files, or pictures DIR/{train,val}/<class>/*.{JPEG,jpg,png}\n";
  cli.finish({{"models", models}, {"datasets", datasets}});
  return 0;
}

}  // namespace pleat
