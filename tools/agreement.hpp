// How a network classifies the same labelled pictures as another one that it stands for.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <ostream>

#include "core/model.hpp"
#include "data/dataset.hpp"

namespace pleat {

/// Counts of pictures.
struct Agreement {
  int64_t images = 0;
  int64_t right_before = 0, right_after = 0;   ///< Classified correctly by the one and by the other network.
  int64_t turned_right = 0, turned_wrong = 0;  ///< Correct with the second alone, with the first alone.
  int64_t same = 0;                            ///< Both give the same class, right or wrong.
};

/// Runs both by the engine on all pictures, whose classes must be the networks' outputs. Throws like evaluate.
Agreement measure_agreement(const Model& before, const Model& after, const Dataset& data, bool skip_broken, bool quiet);

/// For people, in two lines; for scripts: top1_base, top1, agreement (fractions), turned_right, turned_wrong, images.
void print_agreement(std::ostream& out, const Agreement& agreement);
nlohmann::ordered_json to_json(const Agreement& agreement);

}  // namespace pleat
