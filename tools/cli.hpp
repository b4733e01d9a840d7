// The command line of all commands: options, help, errors with exit codes, and the JSON result. For example:
//
//   int fold_command(int argc, char** argv) {
//     Cli cli("pleat fold", "Drops activations and merges the convolutions around them.",
//             "pleat fold net.safetensors --out folded.safetensors --threshold 0.9");
//     cli.argument("MODEL", "name or file of a model");
//     cli.option("out", "FILE", "model file to write");
//     cli.option("threshold", "X", "drop activations with alpha >= X", "0.9");
//     if (!cli.parse(argc, argv)) return 0;  // --help was asked for
//     const double threshold = cli.number("threshold", 0, 1);
//     ...
//     cli.out() << "12 activations dropped\n";
//     cli.finish({{"depth_after", 9}});
//     return 0;
//   }
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <ostream>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/version.hpp"
#include "ops/conv/conv_kernel.hpp"

namespace pleat {

/// The command line is wrong; the exit code is 2.
struct UsageError : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

/// The precision's name for --dtype.
inline const char* to_string(Dtype dtype) {
  return dtype == Dtype::bf16 ? "bf16" : "f32";
}

/// The arguments and options of one command. Every accessor throws UsageError if its value is missing or out of range.
class Cli {
 public:
  /// `program` is what the user types ("pleat fold"); its last word becomes "command" in the JSON result. `examples`
  /// has one example per line.
  Cli(std::string program, std::string about, std::string examples);

  /// Declares a positional argument: "MODEL" (exactly one), "MODEL..." (one or more) or "[PICTURE...]" (any number).
  /// One that takes several must be declared last.
  void argument(const std::string& name, const std::string& help);

  /// Declares `--name VALUE`. The name of the value says what is accepted: "N" an integer, "X" a finite number, any
  /// other name text. An empty `initial` means that there is no default.
  void option(const std::string& name, const std::string& value, const std::string& help,
              const std::string& initial = "");

  /// Declares `--name`, which takes no value.
  void flag(const std::string& name, const std::string& help);

  /// Says that the command can compute in bf16, too. Commands that do not call this accept only f32.
  void accept_bf16() { accepts_bf16_ = true; }

  /// Says the same, and that --dtype may be a list.
  void accept_dtypes() { accepts_bf16_ = accepts_dtypes_ = true; }

  /// Reads the command line, whose first element is skipped, and sets the number of threads. Returns false if help was
  /// asked for; it has been printed then.
  bool parse(int argc, char** argv);

  /// Throws UsageError with a hint to --help. For wrong usage that only the command itself can detect.
  [[noreturn]] void usage_error(const std::string& reason) const;

  bool has(const std::string& name) const;    ///< Whether the option was given or has a default, or the flag was set.
  bool given(const std::string& name) const;  ///< Whether the option or flag stands on the command line.
  const std::string& text(const std::string& name) const;
  std::vector<std::string> list(const std::string& name) const;  ///< What stands between its commas, if it was given.
  double number(const std::string& name, double min, double max) const;
  int64_t integer(const std::string& name, int64_t min, int64_t max = std::numeric_limits<int64_t>::max()) const;
  /// Like `text`, but throws unless the text is one of `choices`.
  const std::string& choice(const std::string& name, std::initializer_list<const char*> choices) const;

  const std::string& argument(const std::string& name) const;                ///< "MODEL"
  const std::vector<std::string>& arguments(const std::string& name) const;  ///< "MODEL..." or "[PICTURE...]"

  uint64_t seed() const;
  Kernels kernels() const;
  /// The precision; for `auto` it is the fastest on this CPU. Throws std::invalid_argument for bf16 if the CPU does not
  /// have it.
  Dtype dtype() const;
  std::vector<Dtype> dtypes() const;  ///< For a command that accepts a list.
  bool quiet() const { return has("quiet"); }

  /// The stream for text meant for people: standard output, or standard error with --json.
  std::ostream& out() const;

  /// With --json, prints one line of JSON: "command", "version", then the arguments and options (dashes become
  /// underscores), then `fields`, which replace arguments and options of the same name. Numbers that are not finite
  /// become null. Without
  /// --json, prints nothing.
  void finish(const nlohmann::ordered_json& fields) const;

 private:
  struct Declared {
    std::string name, value, help, initial;
  };
  void take_arguments(const std::vector<std::string>& given);
  void check_numbers() const;
  void check_dtypes() const;
  std::string meant_option(const std::vector<std::string>& words) const;
  void print_help(const std::string& options) const;
  std::string usage() const;

  std::string program_, about_, examples_;
  bool accepts_bf16_ = false, accepts_dtypes_ = false;
  std::vector<Declared> declared_arguments_, options_;  // the value of a flag is empty
  std::map<std::string, std::vector<std::string>> arguments_;
  std::map<std::string, std::string>
      values_;                   // of the options that were given or have a default, and of the flags that were set
  std::set<std::string> given_;  // options and flags that stand on the command line
};

/// Runs the body of a program and turns exceptions into the exit code: 0 for success, 1 for failure, 2 for a
/// UsageError, 130 if the program was interrupted. Prints `pleat: error: reason` on one line, and what follows "\nhint:
/// " in the reason on a second. If standard output cannot be written, that is a failure, unless its reader has closed
/// it early.
int run_command(const std::function<int()>& body);

}  // namespace pleat
