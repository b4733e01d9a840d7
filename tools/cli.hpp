// What every command shares: options, help, errors with exit codes, and the JSON result.
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
#include <stdexcept>
#include <string>
#include <vector>

#include "core/version.hpp"
#include "ops/conv/conv_kernel.hpp"

namespace pleat {

/// Wrong usage: exit code 2.
struct UsageError : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

/// As --dtype names it.
inline const char* to_string(Dtype dtype) {
  return dtype == Dtype::bf16 ? "bf16" : "f32";
}

/// One command's arguments and options. Every accessor throws UsageError for what is missing or out of range.
class Cli {
 public:
  /// `program` as it is typed ("pleat fold"); its last word is the JSON's "command". Examples: one a line.
  Cli(std::string program, std::string about, std::string examples);

  /// Declares a positional argument: "MODEL" (one), "MODEL..." (one or more, comes last), "[PICTURE...]" (any number,
  /// comes last).
  void argument(const std::string& name, const std::string& help);

  /// Declares `--name VALUE`. The value's name says what is accepted: "N" an integer, "X" a finite number, anything
  /// else text. An empty `initial` means there is no default.
  void option(const std::string& name, const std::string& value, const std::string& help,
              const std::string& initial = "");

  /// Declares `--name`, which takes no value.
  void flag(const std::string& name, const std::string& help);

  /// Says that the command can compute in bf16 as well; the others take f32 alone.
  void accept_bf16() { accepts_bf16_ = true; }

  /// The same, and --dtype may be a list.
  void accept_dtypes() { accepts_bf16_ = accepts_dtypes_ = true; }

  /// Reads the command line (argv[0] is skipped) and sets the thread count; false if help was asked for and printed.
  bool parse(int argc, char** argv);

  /// Throws UsageError with a hint at --help: for wrong usage that only the command itself can see.
  [[noreturn]] void usage_error(const std::string& reason) const;

  bool has(const std::string& name) const;  ///< Given, or has a default; for flags: set.
  const std::string& text(const std::string& name) const;
  double number(const std::string& name, double min, double max) const;
  int64_t integer(const std::string& name, int64_t min, int64_t max = std::numeric_limits<int64_t>::max()) const;
  /// The text, which must be one of `choices`.
  const std::string& choice(const std::string& name, std::initializer_list<const char*> choices) const;

  const std::string& argument(const std::string& name) const;                ///< "MODEL"
  const std::vector<std::string>& arguments(const std::string& name) const;  ///< "MODEL..." or "[PICTURE...]"

  uint64_t seed() const;
  Kernels kernels() const;
  /// Throws std::invalid_argument for bf16 where the CPU has none; `auto` is what is fastest here.
  Dtype dtype() const;
  std::vector<Dtype> dtypes() const;  ///< For a command that takes several.
  bool quiet() const { return has("quiet"); }

  /// Where prose goes: standard output, or standard error with --json.
  std::ostream& out() const;

  /// With --json prints one line: "command", "version", the inputs (arguments, options; dashes become underscores),
  /// then `fields`, which replace inputs of the same name. Prints nothing otherwise. Numbers that are not finite become
  /// null.
  void finish(const nlohmann::ordered_json& fields) const;

 private:
  struct Declared {
    std::string name, value, help, initial;
  };
  void take_arguments(const std::vector<std::string>& given);
  void check_numbers() const;
  std::vector<std::string> dtype_names() const;
  void check_dtypes() const;
  void print_help(const std::string& options) const;
  std::string usage() const;

  std::string program_, about_, examples_;
  bool accepts_bf16_ = false, accepts_dtypes_ = false;
  std::vector<Declared> declared_arguments_, options_;  // A flag's value name is empty.
  std::map<std::string, std::vector<std::string>> arguments_;
  std::map<std::string, std::string> values_;  // Of options given or with a default; flags set.
};

/// Runs a program's body and turns exceptions into the exit code: 0 done, 1 failed, 2 UsageError, 130 Interrupted.
/// Prints `pleat: error: reason` on one line, and what follows "\nhint: " in the reason as a second. A reader that
/// closed standard output early is no failure; output that cannot be written is.
int run_command(const std::function<int()>& body);

}  // namespace pleat
