#include "tools/cli.hpp"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <csignal>
#define CXXOPTS_NO_REGEX  // std::regex would be a tenth of pleat-run
#include <cxxopts.hpp>
#include <iostream>
#include <new>
#include <optional>
#include <sstream>

#include "core/check.hpp"
#include "core/cores.hpp"
#include "core/did_you_mean.hpp"
#include "core/parallel.hpp"
#include "core/simd/instruction_set.hpp"

namespace pleat {
namespace {

template <class T>
std::optional<T> parse_number(const std::string& text) {
  T value{};
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || stop != end) return std::nullopt;
  return value;
}

bool repeats(const std::string& argument) {
  return argument.find("...") != std::string::npos;
}
bool optional(const std::string& argument) {
  return argument.starts_with('[');
}

// The JSON key of an argument or option: "weight-decay" -> weight_decay, "MODEL..." -> models.
std::string key(const std::string& name) {
  std::string result;
  for (const char c : name)
    if (std::isalnum(static_cast<unsigned char>(c)))
      result += static_cast<char>(std::tolower(c));
    else if (c == '-')
      result += '_';
  return repeats(name) ? result + 's' : result;
}

// Whether this is a pipe whose reader has closed its end.
bool reader_is_gone(int fd) {
  pollfd state{fd, POLLOUT, 0};
  return poll(&state, 1, 0) == 1 && (state.revents & POLLERR) != 0;
}

void print_error(const std::string& what, const char* prefix = "pleat: error: ") {
  const auto hint = what.find("\nhint: ");
  std::string line = prefix + what.substr(0, hint);
  const auto clean = [](std::string& text) {
    std::replace_if(
        text.begin(), text.end(), [](unsigned char c) { return std::iscntrl(c); }, ' ');
  };
  clean(line);
  std::cerr << line << '\n';
  if (hint == std::string::npos) return;
  line = what.substr(hint + 1);
  clean(line);
  std::cerr << line << '\n';
}

// cxxopts accepts one-letter options with one dash only, so `--p 2` and `--p=2` become `-p 2`.
std::vector<std::string> short_form(int argc, char** argv) {
  std::vector<std::string> words;
  for (int i = 0; i < argc; ++i) {
    const std::string word = argv[i];
    const bool one_letter = word.size() >= 3 && word.starts_with("--") && (word.size() == 3 || word[3] == '=');
    words.push_back(one_letter ? word.substr(1, 2) : word);
    if (one_letter && word.size() > 3) words.push_back(word.substr(4));
  }
  return words;
}

// If the program is started with descriptor 1 or 2 closed, the next file opened would get that number, and messages
// would be written into it. So closed descriptors are opened on /dev/null.
void occupy_standard_descriptors() {
  for (int fd = 0; fd <= 2; ++fd)
    if (fcntl(fd, F_GETFD) == -1 && errno == EBADF && open("/dev/null", O_RDONLY) != fd) std::abort();
}

}  // namespace

Cli::Cli(std::string program, std::string about, std::string examples)
    : program_(std::move(program)), about_(std::move(about)), examples_(std::move(examples)) {}

void Cli::argument(const std::string& name, const std::string& help) {
  declared_arguments_.push_back({name, "", help, ""});
}

void Cli::option(const std::string& name, const std::string& value, const std::string& help,
                 const std::string& initial) {
  options_.push_back({name, value, help, initial});
}

void Cli::flag(const std::string& name, const std::string& help) {
  options_.push_back({name, "", help, ""});
}

std::string Cli::usage() const {
  std::string text;
  for (const Declared& argument : declared_arguments_) text += argument.name + " ";
  return text + "[options]";
}

bool Cli::parse(int argc, char** argv) {
  const std::size_t own = options_.size();
  option("threads", "N", "number of threads to compute with", std::to_string(num_threads()));
  option("seed", "N", "seed of all random numbers", "1");
  option("dtype", accepts_bf16_ ? "auto|f32|bf16" : "f32",
         accepts_dtypes_ ? "precision, or a comma-separated list of several" : "precision", "f32");
  option("kernels", "native|onednn",
         "convolutions by the plain reference kernels (native) or by the fastest kernels (onednn)", "onednn");
  flag("pin", "bind each thread to a core of its own: steadier on a quiet machine, slower on a busy one");
  flag("quiet", "print no progress");
  flag("json", "print one JSON object as the last line of standard output, and all other text on standard error");

  cxxopts::Options parser(program_, about_);
  parser.custom_help(usage()).set_width(120);
  for (std::size_t i = 0; i < options_.size(); ++i) {
    const Declared& o = options_[i];
    const auto value = o.value.empty() ? cxxopts::value<bool>() : cxxopts::value<std::string>();
    if (!o.initial.empty()) value->default_value(o.initial);
    parser.add_options(i < own ? "" : "Common")(o.name, o.help, value, o.value);
  }
  parser.add_options("Common")("h,help", "print this help");

  const std::vector<std::string> words = short_form(argc, argv);
  try {
    std::vector<const char*> pointers;
    for (const std::string& word : words) pointers.push_back(word.c_str());
    const cxxopts::ParseResult result = parser.parse(static_cast<int>(pointers.size()), pointers.data());
    if (result.count("help") > 0) {
      print_help(parser.help({"", "Common"}));
      return false;
    }
    for (const Declared& o : options_) {
      if (result.count(o.name) > 0) given_.insert(o.name);
      if (o.value.empty()) {
        if (result.count(o.name) > 0 && result[o.name].as<bool>()) values_[o.name] = "true";
      } else if (!o.initial.empty() || result.count(o.name) > 0) {
        values_[o.name] = result[o.name].as<std::string>();
      }
    }
    take_arguments(result.unmatched());
  } catch (const cxxopts::exceptions::no_such_option& error) {
    usage_error(error.what() + meant_option(words));
  } catch (const cxxopts::exceptions::exception& error) {
    usage_error(error.what());
  }
  check_numbers();
  check_dtypes();
  choice("kernels", {"native", "onednn"});
  seed();
  set_num_threads(static_cast<int>(integer("threads", 1, 1024)));
  if (has("pin")) pin_threads();
  prepare_thread();
  return true;
}

// What the first option among `words` that is not declared was probably meant to be.
std::string Cli::meant_option(const std::vector<std::string>& words) const {
  std::vector<std::string> known{"help"};
  for (const Declared& option : options_) known.push_back(option.name);
  for (const std::string& word : words) {
    const std::string name =
        word.substr(0, word.find('=')).substr(std::min<std::size_t>(word.find_first_not_of('-'), 2));
    if (word.starts_with("--") && std::find(known.begin(), known.end(), name) == known.end())
      return did_you_mean(name, known);
  }
  return "";
}

void Cli::print_help(const std::string& options) const {
  std::cout << options;
  if (!declared_arguments_.empty()) std::cout << "\nArguments:\n";
  for (const Declared& a : declared_arguments_) std::cout << "  " << a.name << "  " << a.help << '\n';
  std::istringstream lines(examples_);
  std::cout << "\nExamples:\n";
  for (std::string line; std::getline(lines, line);) std::cout << "  " << line << '\n';
}

void Cli::take_arguments(const std::vector<std::string>& given) {
  std::size_t next = 0;
  for (const Declared& a : declared_arguments_) {
    if (next == given.size() && !optional(a.name)) usage_error("missing argument " + a.name);
    const std::size_t end = repeats(a.name) ? given.size() : next + 1;
    for (; next < end; ++next) arguments_[a.name].push_back(given[next]);
  }
  if (next < given.size()) usage_error("unexpected argument '" + given[next] + "'");
}

void Cli::usage_error(const std::string& reason) const {
  throw UsageError(concat(reason, "\nhint: see `", program_, " --help`"));
}

void Cli::check_numbers() const {
  for (const Declared& o : options_) {
    if (!has(o.name)) continue;
    if (o.value == "N") integer(o.name, std::numeric_limits<int64_t>::min());
    if (o.value == "X") number(o.name, std::numeric_limits<double>::lowest(), std::numeric_limits<double>::max());
  }
}

bool Cli::has(const std::string& name) const {
  return values_.contains(name);
}

bool Cli::given(const std::string& name) const {
  return given_.contains(name);
}

std::vector<std::string> Cli::list(const std::string& name) const {
  std::vector<std::string> parts;
  std::istringstream stream(has(name) ? text(name) : "");
  for (std::string part; std::getline(stream, part, ',');) parts.push_back(part);
  return parts;
}

const std::string& Cli::text(const std::string& name) const {
  const auto found = values_.find(name);
  if (found == values_.end()) usage_error("missing --" + name);
  return found->second;
}

double Cli::number(const std::string& name, double min, double max) const {
  const auto value = parse_number<double>(text(name));
  if (!value || !std::isfinite(*value)) usage_error(concat("--", name, " ", text(name), ": expected a finite number"));
  if (*value < min || *value > max)
    usage_error(concat("--", name, " ", text(name), ": expected a number from ", min, " to ", max));
  return *value;
}

int64_t Cli::integer(const std::string& name, int64_t min, int64_t max) const {
  const auto value = parse_number<int64_t>(text(name));
  if (!value) usage_error(concat("--", name, " ", text(name), ": expected a whole number"));
  if (*value < min || *value > max) {
    const std::string range = max == std::numeric_limits<int64_t>::max() ? "at least " + std::to_string(min)
                                                                         : concat("from ", min, " to ", max);
    usage_error(concat("--", name, " ", text(name), ": expected a whole number ", range));
  }
  return *value;
}

const std::string& Cli::choice(const std::string& name, std::initializer_list<const char*> choices) const {
  const std::string& value = text(name);
  std::string expected;
  for (const char* choice : choices) {
    if (value == choice) return value;
    expected += std::string(expected.empty() ? "" : ", ") + choice;
  }
  usage_error(concat("--", name, " ", value, ": expected one of ", expected));
}

const std::string& Cli::argument(const std::string& name) const {
  return arguments_.at(name).front();
}

const std::vector<std::string>& Cli::arguments(const std::string& name) const {
  static const std::vector<std::string> none;
  const auto found = arguments_.find(name);
  return found == arguments_.end() ? none : found->second;
}

uint64_t Cli::seed() const {
  return static_cast<uint64_t>(integer("seed", 0));
}

Kernels Cli::kernels() const {
  return text("kernels") == "onednn" ? Kernels::onednn : Kernels::native;
}

void Cli::check_dtypes() const {
  const std::vector<std::string> names = list("dtype");
  bool known = accepts_dtypes_ ? !names.empty() : names.size() == 1;
  for (const std::string& name : names)
    known = known && (name == "f32" || (accepts_bf16_ && (name == "auto" || name == "bf16")));
  if (!known)
    usage_error(concat("--dtype ", text("dtype"), ": expected ", accepts_dtypes_ ? "a list" : "one", " of ",
                       accepts_bf16_ ? "auto, f32, bf16" : "f32"));
}

std::vector<Dtype> Cli::dtypes() const {
  const bool possible = cpu_has_bf16() && kernels() == Kernels::onednn;
  std::vector<Dtype> dtypes;
  for (const std::string& name : list("dtype")) {
    PLEAT_CHECK(
        name != "bf16" || cpu_has_bf16(),
        "--dtype bf16 needs a CPU with AVX512-BF16 or AMX, and this one has neither\nhint: use --dtype f32 or auto");
    PLEAT_CHECK(name != "bf16" || possible,
                "--dtype bf16 needs --kernels onednn, because the native kernels compute in f32 only");
    dtypes.push_back(name == "bf16" || (name == "auto" && possible) ? Dtype::bf16 : Dtype::f32);
  }
  return dtypes;
}

Dtype Cli::dtype() const {
  const std::vector<Dtype> all = dtypes();
  if (all.size() > 1) usage_error(concat("--dtype ", text("dtype"), ": expected only one precision"));
  return all.front();
}

std::ostream& Cli::out() const {
  return has("json") ? std::cerr : std::cout;
}

void Cli::finish(const nlohmann::ordered_json& fields) const {
  if (!has("json")) return;
  nlohmann::ordered_json result;
  result["command"] = program_.substr(program_.rfind(' ') + 1);
  result["version"] = kVersion;
  for (const Declared& a : declared_arguments_) {
    if (repeats(a.name))
      result[key(a.name)] = arguments(a.name);
    else if (arguments_.contains(a.name))
      result[key(a.name)] = argument(a.name);
  }
  for (const Declared& o : options_) {
    if (o.name == "json" || o.name == "quiet") continue;
    if (o.value.empty())
      result[key(o.name)] = has(o.name);
    else if (!has(o.name))
      continue;
    else if (o.value == "N")
      result[key(o.name)] = *parse_number<int64_t>(text(o.name));
    else if (o.value == "X")
      result[key(o.name)] = *parse_number<double>(text(o.name));
    else
      result[key(o.name)] = text(o.name);
  }
  result.update(fields);
  std::cout << result.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) << '\n';
}

int run_command(const std::function<int()>& body) {
  occupy_standard_descriptors();
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);  // writing too large a file is then an error that can be reported
  int code = 1;
  try {
    instruction_set();  // here, where a PLEAT_ISA that cannot be can be reported
    code = body();
  } catch (const UsageError& error) {
    print_error(error.what());
    code = 2;
  } catch (const Interrupted& interrupted) {
    print_error(interrupted.what(), "pleat: ");
    code = 130;
  } catch (const std::bad_alloc&) {
    print_error("out of memory");
  } catch (const std::exception& error) {
    print_error(error.what());
  }
  if (!std::cout.flush() && !reader_is_gone(STDOUT_FILENO) && code == 0) {
    print_error("standard output cannot be written (closed, or its disk is full)");
    code = 1;
  }
  return code;
}

}  // namespace pleat
