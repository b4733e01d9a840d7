// Fuzz target: any bytes as a picture file, in grey and in colour. It is refused with a one-line std::runtime_error, or
// decoded to as many bytes as its size says, which resampling takes. Small pictures alone: those decode fast.
#include "data/picture.hpp"

#include <stdexcept>
#include <string>
#include <vector>

#include "data/resample.hpp"
#include "tests/fuzz/must.hpp"

using namespace pleat;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  for (const int channels : {1, 3}) {
    try {
      const Picture p = decode_picture(std::as_bytes(std::span(data, size)), "fuzz", channels, 1 << 16);
      must(p.height > 0 && p.width > 0 && p.step == (channels == 1 ? 1 : 4));
      must(static_cast<int64_t>(p.bytes.size()) == int64_t{p.height} * p.width * p.step);
      std::vector<uint8_t> out(5 * 7 * channels);
      resample(out, p.pixels(), channels, {{0, 0, p.height, p.width}, 5, 7, {0, 0, 5, 7}}, Interpolation::bilinear);
    } catch (const std::runtime_error& error) {
      must_be_one_line(error, "fuzz: ");
    }
  }
  return 0;
}
