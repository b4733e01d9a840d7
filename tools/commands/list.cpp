// `pleat list` prints the names of networks, data sets and recipes.
#include <ostream>

#include "data/dataset.hpp"
#include "models/models.hpp"
#include "tools/cli.hpp"
#include "tools/commands/commands.hpp"
#include "tools/train/recipe_file.hpp"

namespace pleat {

int list_command(int argc, char** argv) {
  Cli cli("pleat list", "Prints the names of networks, data sets and recipes.", "pleat list --json");
  if (!cli.parse(argc, argv)) return 0;
  const std::vector<std::string> models = model_names(), datasets = dataset_names(), recipes = recipe_names();
  const auto print = [&](const char* title, const std::vector<std::string>& names) {
    cli.out() << title << ":\n";
    for (const std::string& name : names) cli.out() << "  " << name << '\n';
  };
  print("models", models);
  print("data sets", datasets);
  cli.out()
      << "data sets are also found by their folder: idx files, or pictures DIR/{train,val}/<class>/*.{JPEG,jpg,png}\n";
  print("recipes", recipes);
  cli.finish({{"models", models}, {"datasets", datasets}, {"recipes", recipes}});
  return 0;
}

}  // namespace pleat
