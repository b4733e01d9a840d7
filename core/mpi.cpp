#include "core/mpi.hpp"

#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/check.hpp"
#include "core/cores.hpp"

namespace pleat {
namespace {

namespace fs = std::filesystem;

// Which MPI's launcher started this process as one of several ranks; empty if none did.
std::string launcher() {
  const auto several = [](const char* variable) {
    const char* ranks = std::getenv(variable);
    return ranks != nullptr && std::atoi(ranks) > 1;
  };
  if (several("OMPI_COMM_WORLD_SIZE")) return "openmpi";
  if (several("PMI_SIZE")) return "mpich";
  return "";
}

// Beside the program, or in the folder for libraries that was installed beside the program's.
std::string library_path(const std::string& mpi) {
  const std::string name = concat("libpleat-", mpi, ".so");
  const fs::path folder = fs::read_symlink("/proc/self/exe").parent_path();
  for (const fs::path& path : {folder / name, folder.parent_path() / "lib" / name})
    if (fs::exists(path)) return path;
  throw std::runtime_error(concat("mpirun started this as one of several ranks, but there is no ", name, " in ",
                                  folder.string(), "\nhint: `make mpi` builds it"));
}

std::unique_ptr<Transport> open_transport() {
  const std::string mpi = launcher();
  if (mpi.empty()) return nullptr;
  const std::string path = library_path(mpi);
  // Global, because Open MPI loads parts of its own that look for its symbols.
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (library == nullptr) throw std::runtime_error(concat(path, ": cannot be loaded: ", dlerror()));
  const auto open = reinterpret_cast<Transport* (*)()>(dlsym(library, "pleat_open_mpi"));
  PLEAT_CHECK_FILE(open != nullptr, path, "is not a library for ranks: it lacks pleat_open_mpi");
  return std::unique_ptr<Transport>(open());
}

std::unique_ptr<Transport>& transport() {
  static std::unique_ptr<Transport> opened = open_transport();
  return opened;
}

}  // namespace

ProcessGroup& world() {
  static ProcessGroup group = transport() ? ProcessGroup(*transport()) : ProcessGroup();
  return group;
}

int default_threads_of_rank() {
  char host[256] = {};
  gethostname(host, sizeof host - 1);
  // Ranks that are bound to cores of their own have another first one.
  const double mine[] = {static_cast<double>(std::hash<std::string>()(host) >> 12),
                         static_cast<double>(allowed_cores().front())};
  std::vector<double> all(2 * world().size());
  world().gather(all, mine);
  int sharing = 0;
  for (std::size_t i = 0; i < all.size(); i += 2) sharing += all[i] == mine[0] && all[i + 1] == mine[1];
  return std::max(1, default_threads() / sharing);
}

void leave_world() {
  if (world().size() > 1) transport()->leave();
}

}  // namespace pleat
