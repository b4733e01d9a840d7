// One policy for numbers that are not finite (NaN or infinite): wherever they enter or leave, as weights, pictures or
// logits, they are an error that names the first of them. So no accuracy, difference or class is computed from them.
#pragma once

#include <span>
#include <string>

namespace pleat {

/// The place of the first number that is not finite; numbers.size() if all are.
std::size_t first_not_finite(std::span<const float> numbers);

/// Throws std::runtime_error for logits [n, classes] that are not all finite, naming the picture, the class and the
/// value; `whose` are they begins the message.
void check_logits(std::span<const float> logits, std::size_t classes, const std::string& whose);

}  // namespace pleat
