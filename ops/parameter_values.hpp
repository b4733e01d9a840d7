// Which numbers a network's parameters may have.
#pragma once

#include <span>
#include <string>

#include "ops/spec.hpp"

namespace pleat {

/// What is wrong with a parameter's values, to stand behind its name: the first that is not finite or, of a running
/// variance, below 0. Empty: nothing.
std::string value_fault(Role role, std::span<const float> values);

}  // namespace pleat
