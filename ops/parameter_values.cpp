#include "ops/parameter_values.hpp"

#include <algorithm>

#include "core/check.hpp"
#include "core/finite.hpp"

namespace pleat {

std::string value_fault(Role role, std::span<const float> values) {
  const std::size_t wrong = first_not_finite(values);
  if (wrong < values.size()) return concat('[', wrong, "] is ", values[wrong], ", expected a finite number");
  const auto negative = std::find_if(values.begin(), values.end(), [](float value) { return value < 0; });
  if (role != Role::running_var || negative == values.end()) return "";
  return concat('[', negative - values.begin(), "] is ", *negative, ", expected a variance, at least 0");
}

}  // namespace pleat
