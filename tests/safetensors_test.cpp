// The safetensors format: files survive being written and read, and every kind of malformed file is refused.
#include "core/safetensors.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/check.hpp"
#include "core/file.hpp"
#include "core/rng.hpp"
#include "tests/error_of.hpp"
#include "tests/temp_dir.hpp"

using namespace pleat;

namespace {

using Bytes = std::vector<std::byte>;

// A safetensors file from a header and zeroed data.
Bytes file_of(const std::string& header, std::size_t data_size) {
  Bytes bytes(8 + header.size() + data_size);
  const uint64_t length = header.size();
  std::memcpy(bytes.data(), &length, 8);
  std::memcpy(bytes.data() + 8, header.data(), header.size());
  return bytes;
}

// The header of one tensor `w`.
std::string header_of(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return concat(R"({"w":{"dtype":)", dtype, R"(,"shape":)", shape, R"(,"data_offsets":)", offsets, "}}");
}

std::string parse_error(const Bytes& bytes) {
  return error_of<std::runtime_error>([&] { parse_safetensors(bytes, "f"); });
}

// Writes a tensor of `Stored` values as a file and reads it back.
template <class Stored>
AlignedVector<float> read_as(const std::string& dtype, const std::vector<Stored>& stored) {
  const std::size_t size = stored.size() * sizeof(Stored);
  const std::string header = header_of('"' + dtype + '"', concat('[', stored.size(), ']'), concat("[0,", size, ']'));
  Bytes bytes = file_of(header, size);
  std::memcpy(bytes.data() + bytes.size() - size, stored.data(), size);
  return parse_safetensors(bytes, "f").tensors.at("w").values;
}

}  // namespace

TEST_CASE("safetensors: a file has the right layout and is read back bit for bit") {
  const TempDir folder;
  Tensors tensors;
  Rng rng(1);
  for (const std::vector<int64_t>& shape : std::vector<std::vector<int64_t>>{{}, {1}, {3, 5}, {2, 3, 3, 1}, {0, 4}}) {
    Tensor& tensor = tensors.emplace(concat("layer", tensors.size(), ".weight"), Tensor(shape)).first->second;
    for (float& value : tensor.values) value = static_cast<float>(rng.normal());
  }
  tensors.at("layer2.weight").values[0] = std::numeric_limits<float>::denorm_min();
  tensors.at("layer2.weight").values[1] = -0.0f;
  tensors.at("layer2.weight").values[2] = std::numeric_limits<float>::infinity();
  tensors["na\"me/\xc3\xa9"] = Tensor({1}, std::nanf(""));
  const std::map<std::string, std::string> metadata = {{"a", ""}, {"b", "line\nline\t\"\\ \xe2\x82\xac"}};
  save_safetensors(folder.path("f"), tensors, metadata);
  const SafetensorsFile file = load_safetensors(folder.path("f"));
  CHECK(file.metadata == metadata);
  REQUIRE(file.tensors.size() == tensors.size());
  for (const auto& [name, tensor] : tensors) {
    const Tensor& read = file.tensors.at(name);
    CHECK(read.shape == tensor.shape);
    REQUIRE(read.values.size() == tensor.values.size());
    if (!read.values.empty())  // bytes are compared, because NaN is not equal to itself
      CHECK(std::memcmp(read.values.data(), tensor.values.data(), 4 * read.values.size()) == 0);
  }
  const Bytes bytes = read_file(folder.path("f"));
  uint64_t header_size = 0;
  std::memcpy(&header_size, bytes.data(), 8);
  CHECK(header_size % 8 == 0);
  CHECK(bytes.size() == 8 + header_size + 4 * (1 + 1 + 15 + 18 + 0 + 1));
  CHECK(bytes[8] == std::byte{'{'});

  save_safetensors(folder.path("empty"), {}, {});
  CHECK(load_safetensors(folder.path("empty")).tensors.empty());
}

TEST_CASE("safetensors: other number types are converted to float") {
  using Floats = AlignedVector<float>;
  CHECK(read_as<double>("F64", {1.5, -1e-3, 1e300}) == Floats{1.5f, -1e-3f, std::numeric_limits<float>::infinity()});
  CHECK(read_as<int64_t>("I64", {0, -7, int64_t{1} << 40}) == Floats{0, -7, 0x1p40f});
  CHECK(read_as<uint16_t>("BF16", {0x3f80, 0xc000, 0x0001, 0x7f80}) ==
        Floats{1, -2, 0x1p-133f, std::numeric_limits<float>::infinity()});
  // 1, -2, the largest, the smallest normal, the largest and smallest denormal, -0.
  CHECK(read_as<uint16_t>("F16", {0x3c00, 0xc000, 0x7bff, 0x0400, 0x03ff, 0x8001}) ==
        Floats{1, -2, 65504, 0x1p-14f, 1023 * 0x1p-24f, -0x1p-24f});
  const Floats odd = read_as<uint16_t>("F16", {0x8000, 0xfc00, 0x7e00});
  CHECK((odd[0] == 0 && std::signbit(odd[0])));
  CHECK(odd[1] == -std::numeric_limits<float>::infinity());
  CHECK(std::isnan(odd[2]));
}

TEST_CASE("safetensors: every kind of malformed file has its own message") {
  const std::string f32 = R"("F32")", good = header_of(f32, "[2]", "[0,8]");
  REQUIRE(parse_error(file_of(good, 8)) == "no error");
  const auto two = [](const std::string& a, const std::string& b) {
    return concat(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":)", a,
                  R"(},"b":{"dtype":"F32","shape":[2],"data_offsets":)", b, "}}");
  };
  REQUIRE(parse_error(file_of(two("[8,16]", "[0,8]"), 16)) == "no error");

  struct Case {
    std::string header;
    std::size_t data_size;
    std::string message;
  };
  const std::string bomb_open(1000000, '['), huge = std::string(1000000, '{');
  const std::vector<Case> cases = {
      {"", 0, "f: not a safetensors file: expected its header to begin with '{'"},
      {"[]", 0, "f: not a safetensors file: expected its header to begin with '{'"},
      {"  {}", 0, "f: not a safetensors file: expected its header to begin with '{'"},
      {"{", 0, "f: safetensors header: not JSON at byte 2"},
      {"{}}", 0, "f: safetensors header: not JSON at byte 3"},
      {"{} x", 0, "f: safetensors header: not JSON"},
      {"{'w':1}", 0, "f: safetensors header: not JSON"},
      {good.substr(0, good.size() - 3), 8, "f: safetensors header: not JSON"},
      {"{\"w\xff\":1}", 0, "f: safetensors header: not JSON"},
      {std::string("{}\0x", 4), 0, "f: safetensors header: contains a zero byte, expected text"},
      {concat(R"({"w":)", bomb_open), 0, "f: tensor 'w': its entry is a list, expected an object"},
      {concat(R"({"w":{"shape":)", bomb_open), 0, "f: tensor 'w': shape holds a list, expected whole numbers"},
      {huge, 0, "f: safetensors header: not JSON"},
      {R"({"w":{"w":{"w":{)", 0, "f: tensor 'w': unknown field 'w'"},
      {R"({"w":1})", 0, "f: tensor 'w': its entry is a number, expected an object"},
      {R"({"w":null})", 0, "f: tensor 'w': its entry is null, expected an object"},
      {R"({"w":{}})", 0, "f: tensor 'w': needs dtype, shape and data_offsets"},
      {R"({"w":{"dtype":"F32","shape":[]}})", 0, "f: tensor 'w': needs dtype, shape and data_offsets"},
      {R"({"w":{"dtype":"F32","dtype":"F32"}})", 0, "f: tensor 'w': 'dtype' appears twice"},
      {concat(good.substr(0, good.size() - 1), ",", good.substr(1)), 8, "f: safetensors header: 'w' appears twice"},
      {R"({"":{}})", 0, "f: safetensors header: a name is empty"},
      {R"({"a\nb":{}})", 0, "f: safetensors header: a name has a control character"},
      {concat("{\"", std::string(2000, 'n'), "\":{}}"), 0,
       "f: safetensors header: a name has 2000 bytes, expected at most"},
      {header_of(R"("I32")", "[2]", "[0,8]"), 8, "f: tensor 'w': dtype is I32, expected F32, F64, F16, BF16 or I64"},
      {header_of(R"("")", "[2]", "[0,8]"), 8, "f: tensor 'w': dtype is empty"},
      {header_of(R"("\u001b[2J")", "[2]", "[0,8]"), 8, "f: tensor 'w': dtype has a control character"},
      {header_of("4", "[2]", "[0,8]"), 8, "f: tensor 'w': dtype is a number, expected text"},
      {header_of("[4]", "[2]", "[0,8]"), 8, "f: tensor 'w': dtype is a list, expected text"},
      {header_of(f32, "2", "[0,8]"), 8, "f: tensor 'w': shape is a number, expected a list"},
      {header_of(f32, R"("2")", "[0,8]"), 8, "f: tensor 'w': shape is text, expected a list"},
      {header_of(f32, "{}", "[0,8]"), 8, "f: tensor 'w': shape is an object, expected a list"},
      {header_of(f32, "[-2]", "[0,8]"), 8, "f: tensor 'w': shape holds a negative number, expected whole numbers"},
      {header_of(f32, "[2.0]", "[0,8]"), 8, "f: tensor 'w': shape holds a fraction or a huge number"},
      {header_of(f32, "[true]", "[0,8]"), 8, "f: tensor 'w': shape holds a truth value"},
      {header_of(f32, "[1e400]", "[0,8]"), 8, "f: safetensors header: not JSON"},
      {header_of(f32, "[18446744073709551615]", "[0,8]"), 8, "which is too large"},
      {header_of(f32, "[18446744073709551616]", "[0,8]"), 8, "holds a fraction or a huge number"},
      {header_of(f32, "[4294967296,4294967296]", "[0,8]"), 8,
       "f: tensor 'w': shape [4294967296, 4294967296] is too large"},
      {header_of(f32, "[9223372036854775807]", "[0,8]"), 8, "f: tensor 'w': shape [9223372036854775807] is too large"},
      {header_of(f32, "[1,1,1,1,1,1,1,1,2]", "[0,8]"), 8, "f: tensor 'w': shape has more than 8 numbers"},
      {header_of(f32, "[2]", "[0,8,9]"), 8, "f: tensor 'w': data_offsets has more than 2 numbers"},
      {header_of(f32, "[2]", "[0]"), 8, "f: tensor 'w': data_offsets has 1 numbers, expected 2"},
      {header_of(f32, "[2]", "[-1,8]"), 8, "f: tensor 'w': data_offsets holds a negative number"},
      {header_of(f32, "[2]", "[8,0]"), 8,
       "f: tensor 'w': data_offsets [8, 0], expected an interval inside the file's 8 bytes of data"},
      {header_of(f32, "[2]", "[0,16]"), 8,
       "f: tensor 'w': data_offsets [0, 16], expected an interval inside the file's 8 bytes"},
      {header_of(f32, "[2]", "[0,9223372036854775807]"), 8, "expected an interval inside the file's 8 bytes of data"},
      {header_of(f32, "[3]", "[0,8]"), 8, "f: tensor 'w': data_offsets span 8 bytes, but F32 [3] needs 12"},
      {header_of(R"("F64")", "[2]", "[0,8]"), 8, "f: tensor 'w': data_offsets span 8 bytes, but F64 [2] needs 16"},
      {header_of(f32, "[]", "[0,8]"), 8, "f: tensor 'w': data_offsets span 8 bytes, but F32 [] needs 4"},
      {good, 9, "f: has 1 bytes after the last tensor, expected 0"},
      {"{}", 3, "f: has 3 bytes after the last tensor, expected 0"},
      {header_of(f32, "[2]", "[4,12]"), 12, "f: tensor 'w': its data begin at 4, leaving a hole after 0"},
      {two("[0,8]", "[4,12]"), 12, "f: tensor 'b': its data begin at 4, inside another tensor's, which end at 8"},
      {two("[0,8]", "[0,8]"), 8, "inside another tensor's, which end at 8"},
      {two("[0,8]", "[12,20]"), 20, "f: tensor 'b': its data begin at 12, leaving a hole after 8"},
      {R"({"__metadata__":{"k":1}})", 0, "f: __metadata__: k is a number, expected text"},
      {R"({"__metadata__":{"k":["v"]}})", 0, "f: __metadata__: k is a list, expected text"},
      {R"({"__metadata__":{"k":{}}})", 0, "f: __metadata__: k is an object, expected text"},
      {R"({"__metadata__":"text"})", 0, "f: __metadata__: its entry is text, expected an object"},
      {R"({"__metadata__":{"k":"v","k":"v"}})", 0, "f: __metadata__: 'k' appears twice"},
      {R"({"__metadata__":{},"__metadata__":{}})", 0, "f: safetensors header: '__metadata__' appears twice"},
  };
  for (const Case& c : cases) {
    const std::string message = parse_error(file_of(c.header, c.data_size));
    INFO(c.header.substr(0, 200));
    INFO(message);
    CHECK(holds(message, c.message));
    CHECK(!holds(message, "\n"));
  }
  CHECK(parse_error({}) == "f: not a safetensors file: 0 bytes, expected at least 8");
  CHECK(parse_error(Bytes(7)) == "f: not a safetensors file: 7 bytes, expected at least 8");
  for (uint64_t length : {uint64_t{3}, uint64_t{100'000'001}, ~uint64_t{0}}) {
    Bytes bytes = file_of("{}", 0);
    std::memcpy(bytes.data(), &length, 8);
    CHECK(holds(parse_error(bytes), concat("its header would have ", length, " bytes, expected at most ")));
  }
}

TEST_CASE("safetensors: names and texts that could not be read back are not written") {
  const TempDir folder;
  const auto error = [&](const Tensors& tensors, const std::map<std::string, std::string>& metadata) {
    return error_of<std::invalid_argument>([&] { save_safetensors(folder.path("f"), tensors, metadata); });
  };
  CHECK(holds(error({{"", Tensor({1})}}, {}), "is empty"));
  CHECK(holds(error({{"a\nb", Tensor({1})}}, {}), "has a control character"));
  CHECK(holds(error({{"__metadata__", Tensor({1})}}, {}), "is reserved"));
  CHECK(holds(error({}, {{"key", "caf\xe9"}}), "is not UTF-8"));
  Tensor short_of_values({2});
  short_of_values.values.pop_back();
  CHECK(holds(error({{"w", short_of_values}}, {}), "tensor 'w' has 1 values, expected as many as shape [2] has"));
  CHECK(folder.files() == 0);
}

TEST_CASE("safetensors: Python's own package reads our files and we read its") {
  if (std::system("python3 -c 'import numpy, safetensors.numpy' 2>/dev/null") != 0) {
    MESSAGE("skipped: python3 has no safetensors");
    return;
  }
  const TempDir folder;
  save_safetensors(folder.path("ours"), {{"w", Tensor({2, 3}, 0.5f)}, {"b", Tensor({}, -1)}}, {{"key", "t\u00e9xt"}});
  const std::string script =
      "import sys, numpy as np, safetensors.numpy as s; from safetensors import safe_open\n"
      "d = sys.argv[1]; t = s.load_file(d + '/ours')\n"
      "assert t['w'].shape == (2, 3) and (t['w'] == 0.5).all() and t['b'].shape == () and t['b'] == -1\n"
      "assert safe_open(d + '/ours', 'np').metadata() == {'key': 't\u00e9xt'}\n"
      "s.save_file({'h': np.array([1, -2.5], np.float16), 'i': np.array(3), 'd': np.eye(2), 'e': np.zeros((0, 3),\n"
      "  np.float32)}, d + '/theirs', {'from': 'python'})\n";
  write_file(folder.path("script.py"), script);
  REQUIRE(std::system(("python3 " + folder.path("script.py") + ' ' + folder.path()).c_str()) == 0);
  const SafetensorsFile theirs = load_safetensors(folder.path("theirs"));
  CHECK(theirs.metadata.at("from") == "python");
  CHECK(theirs.tensors.at("h").values == AlignedVector<float>{1, -2.5f});
  CHECK(theirs.tensors.at("i").values == AlignedVector<float>{3});
  CHECK(theirs.tensors.at("d").values == AlignedVector<float>{1, 0, 0, 1});
  CHECK(theirs.tensors.at("e").shape == std::vector<int64_t>{0, 3});
}
