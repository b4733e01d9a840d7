#pragma once

namespace pleat {

inline constexpr const char* kVersion = "0.1.0";

}  // namespace pleat
