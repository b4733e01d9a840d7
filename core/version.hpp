// The version of Pleat, in one place. The Makefile reads it from here, too.
#pragma once

namespace pleat {

inline constexpr const char* kVersion = "0.1.0";

}  // namespace pleat
