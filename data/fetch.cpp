#include "data/fetch.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <map>

#include "core/check.hpp"

namespace pleat {
namespace {

namespace fs = std::filesystem;

// The addresses and MD5 sums of CIFAR are those of https://www.cs.toronto.edu/~kriz/cifar.html, those of the MNIST
// files come from torchvision's mnist.py.
const std::string kMnist = "https://ossci-datasets.s3.amazonaws.com/mnist/";
const std::string kFashion = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/";
const std::map<std::string, Source> kSources = {
    {"cifar10",
     {{{"https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530"}},
      "cifar-10-batches-bin",
      true}},
    {"cifar100",
     {{{"https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz", "03b5dce01913d631647c71ecec9e9cb8"}},
      "cifar-100-binary",
      true}},
    {"mnist",
     {{{kMnist + "train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873"},
       {kMnist + "train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432"},
       {kMnist + "t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3"},
       {kMnist + "t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c"}},
      "mnist",
      false}},
    {"fashion-mnist",
     {{{kFashion + "train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"},
       {kFashion + "train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe"},
       {kFashion + "t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79"},
       {kFashion + "t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310"}},
      "fashion-mnist",
      false,
      "dataset-fashion-mnist"}},
};

constexpr int kNoProgram = 127;  // the exit status that shells give for a program that is not installed

// Runs a program without a shell, so that no argument needs quoting. Returns its exit status, or 128 + the signal's
// number if a signal ended it. `output` becomes everything that the program wrote to standard output and standard
// error.
int run(const std::vector<std::string>& arguments, std::string& output) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);

  std::array<int, 2> ends;  // of the pipe: for reading, for writing
  PLEAT_CHECK_FILE(pipe2(ends.data(), O_CLOEXEC) == 0, arguments[0], "cannot make a pipe: ", std::strerror(errno));
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
  pid_t child = 0;
  const int error = posix_spawnp(&child, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  output.clear();
  std::array<char, 4096> buffer;
  for (ssize_t n; !error && ((n = read(ends[0], buffer.data(), buffer.size())) > 0 || (n < 0 && errno == EINTR));)
    if (n > 0) output.append(buffer.data(), n);
  close(ends[0]);
  if (error == ENOENT) return kNoProgram;
  PLEAT_CHECK_FILE(error == 0, arguments[0], "cannot be started: ", std::strerror(error));

  int status = 0;
  while (waitpid(child, &status, 0) < 0)
    PLEAT_CHECK_FILE(errno == EINTR, arguments[0], "cannot be waited for: ", std::strerror(errno));
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// Throws, quoting what the program wrote, unless its exit status is 0.
void check_status(int status, const std::string& program, const std::string& output, const std::string& file,
                  const std::string& hint = "") {
  const std::string said = output.substr(0, output.find_last_not_of('\n') + 1);
  PLEAT_CHECK_FILE(status != kNoProgram, file, program, " is not installed\nhint: apt-get install ",
                   program == "md5sum" ? "coreutils" : program);
  PLEAT_CHECK_FILE(status == 0, file, program, " failed with exit status ", status, said.empty() ? "" : ": ", said,
                   hint);
}

std::string md5_of(const std::string& path) {
  std::string output;
  check_status(run({"md5sum", "-b", "--", path}, output), "md5sum", output, path);
  return output.substr(output[0] == '\\' ? 1 : 0,
                       32);  // md5sum begins the line with a backslash if it had to escape the file's name
}

// Downloads `url` to `path`. If `path` exists already, only the part after its end is downloaded.
void download(const std::string& url, const std::string& path, const std::string& hint) {
  std::string program = "curl", output;
  int status = run({program, "--fail", "--location", "--silent", "--show-error", "--connect-timeout", "20",
                    "--continue-at", "-", "--output", path, url},
                   output);
  if (status == kNoProgram) {
    status = run({"wget", "--no-verbose", "--tries=2", "--timeout=20", "--continue", "--output-document=" + path, url},
                 output);
    if (status != kNoProgram) program = "wget";
  }
  check_status(status, program, output, url, hint);
}

// Downloads one file and verifies its MD5 sum.
void get(const Source::File& file, const std::string& path, const std::string& hint,
         const std::function<void(const std::string&)>& say) {
  if (fs::exists(path) && md5_of(path) == file.md5) return;  // complete already: an earlier call was interrupted later
  say("downloading " + file.url);
  download(file.url, path, hint);
  const std::string md5 = md5_of(path);
  if (md5 != file.md5) fs::remove(path);
  PLEAT_CHECK_FILE(md5 == file.md5, file.url, "the MD5 sum is ", md5, ", expected ", file.md5,
                   "; the downloaded file was removed");
}

}  // namespace

const Source& official_source(const std::string& name) {
  const auto found = kSources.find(name);
  PLEAT_CHECK(found != kSources.end(), "data set '", name, "': no official source is known");
  return found->second;
}

std::string fetch(const Source& source, const std::string& root, const std::function<void(const std::string&)>& say) {
  const std::string folder = root + '/' + source.folder, part = folder + ".part";
  PLEAT_CHECK_FILE(!fs::exists(folder), folder, "exists already\nhint: remove it to download it again");
  fs::create_directories(part);
  const std::string hint = "\nhint: run the same command again to resume; " +
                           (source.package.empty() ? "a data set unpacked by hand is found below $PLEAT_DATA"
                                                   : "or `apt-get install " + source.package + "`");
  for (const Source::File& file : source.files) get(file, part + file.url.substr(file.url.rfind('/')), hint, say);
  if (!source.archive) {
    fs::rename(part, folder);
    return folder;
  }
  const std::string& url = source.files[0].url;
  const std::string archive = part + url.substr(url.rfind('/'));
  say("unpacking " + archive);
  std::string output;
  check_status(
      run({"tar", "--extract", "--gzip", "--no-same-owner", "--directory=" + part, "--file=" + archive}, output), "tar",
      output, archive);
  PLEAT_CHECK_FILE(fs::is_directory(part + '/' + source.folder), archive, "does not contain the expected folder ",
                   source.folder);
  fs::rename(part + '/' + source.folder, folder);
  fs::remove_all(part);
  return folder;
}

}  // namespace pleat
