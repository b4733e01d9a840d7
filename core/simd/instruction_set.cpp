#include "core/simd/instruction_set.hpp"

#include <array>
#include <cstdlib>
#include <stdexcept>

#include "core/check.hpp"

namespace pleat {
namespace {

struct Entry {
  const char* name;
  bool is_supported, multiplies_bf16;
};

template <class... Sets>
std::array<Entry, sizeof...(Sets)> make_entries(const std::tuple<Sets...>&) {
  return {Entry{Sets::kName, Sets::is_supported(), Sets::template kHasTileKernels<Bf16>}...};
}

const auto& entries() {
  static const auto all = make_entries(InstructionSets());
  return all;
}

std::string join(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

// The value of PLEAT_ISA; an empty one counts as none.
std::string asked() {
  const char* value = std::getenv("PLEAT_ISA");
  return value == nullptr ? "" : value;
}

std::vector<std::string> names_of(bool are_supported) {
  std::vector<std::string> names;
  for (const Entry& entry : entries())
    if (entry.is_supported == are_supported) names.emplace_back(entry.name);
  return names;
}

}  // namespace

int detail::choose_instruction_set() {
  const std::string name = asked();
  bool is_known = name.empty();
  int index = 0;
  for (const Entry& entry : entries()) {
    is_known = is_known || name == entry.name;
    if (entry.is_supported && (name.empty() || name == entry.name)) {
      chosen_instruction_set = index;
      return index;
    }
    ++index;
  }
  throw std::invalid_argument(
      concat("PLEAT_ISA is '", name, "', ",
             is_known ? "an instruction set that this CPU lacks" : "which is no instruction set", "; expected one of ",
             join(names_of(true))));
}

InstructionSetInUse instruction_set() {
  int index = detail::chosen_instruction_set;
  if (index < 0) index = detail::choose_instruction_set();
  const std::vector<std::string> choices = names_of(true);
  return {entries()[index].name, choices.front(), !asked().empty(), choices, names_of(false)};
}

bool cpu_has_bf16() {
  for (const Entry& entry : entries())
    if (entry.is_supported && entry.multiplies_bf16) return true;
  return false;
}

void throw_no_tile_kernels() {
  throw std::logic_error("a tile kernel was called that is not compiled for the instruction set in use");
}

}  // namespace pleat
