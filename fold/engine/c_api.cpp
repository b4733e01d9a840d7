#include "fold/engine/c_api.hpp"

#include <algorithm>
#include <cstring>
#include <new>

#include "core/check.hpp"
#include "core/cores.hpp"
#include "core/finite.hpp"
#include "core/parallel.hpp"
#include "core/version.hpp"
#include "fold/engine/engine.hpp"
#include "ops/model_file.hpp"

struct pleat_engine {
  pleat::Model model;  // without weights
  int threads;
  pleat::Engine engine;
};

namespace pleat {
namespace {

thread_local std::string last_error;

void remember(const char* what) {
  try {
    last_error = what;
  } catch (const std::bad_alloc&) {
    last_error = "out of memory";  // short enough to need none
  }
}

/// What `body` returns, or `failure` and the text for pleat_error(): no exception of ours crosses into C.
template <class Result, class Body>
Result guarded(Result failure, const Body& body) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    remember("out of memory");
  } catch (const std::exception& error) {
    remember(error.what());
  }
  return failure;
}

template <class Pointer>
auto& given(Pointer* pointer, const char* name) {
  PLEAT_CHECK(pointer != nullptr, name, " is NULL");
  return *pointer;
}

/// The caller's options, whose struct may be an older one or, if it asks for nothing unknown, a newer one.
pleat_options complete(const pleat_options* asked) {
  pleat_options options{};
  if (asked != nullptr) {
    const std::size_t size = asked->size;
    PLEAT_CHECK(size >= offsetof(pleat_options, batch) && size <= 4096, "options.size is ", size,
                ", expected sizeof(pleat_options)");
    const auto* bytes = reinterpret_cast<const char*>(asked);
    PLEAT_CHECK(std::all_of(bytes + std::min(size, sizeof options), bytes + size, [](char byte) { return byte == 0; }),
                "options ask for what this version, ", kVersion, ", does not know");
    std::memcpy(&options, asked, std::min(size, sizeof options));
  }
  if (options.batch == 0) options.batch = 1;
  if (options.dtype == nullptr) options.dtype = "f32";
  if (options.threads == 0) options.threads = default_threads();
  PLEAT_CHECK(options.batch >= 1 && options.batch <= 65536, "batch is ", options.batch, ", expected 1 to 65536");
  PLEAT_CHECK(options.untuned == 0 || options.untuned == 1, "untuned is ", options.untuned, ", expected 0 or 1");
  return options;
}

Dtype dtype_named(const std::string& name) {
  PLEAT_CHECK(name == "f32" || name == "bf16", "dtype is '", name, "', expected 'f32' or 'bf16'");
  return name == "bf16" ? Dtype::bf16 : Dtype::f32;
}

int copy_shape(int64_t* to, const Nhwc& shape) {
  given(to, "shape");
  std::ranges::copy(std::initializer_list<int64_t>{shape.n, shape.h, shape.w, shape.c}, to);
  return 0;
}

}  // namespace

const Model& model_of(const pleat_engine& engine) {
  return engine.model;
}

}  // namespace pleat

using namespace pleat;

const char* pleat_version(void) {
  return kVersion;
}

const char* pleat_error(void) {
  return last_error.c_str();
}

pleat_engine* pleat_load(const char* path, const pleat_options* options) {
  return guarded<pleat_engine*>(nullptr, [&] {
    const pleat_options o = complete(options);
    Model model = load_model(&given(path, "path"));
    const ThreadScope scope(o.threads);
    Engine engine(model, {.batch = o.batch, .dtype = dtype_named(o.dtype), .tune = o.untuned == 0});
    model.tensors.clear();
    return new pleat_engine{std::move(model), o.threads, std::move(engine)};
  });
}

pleat_engine* pleat_share(const pleat_engine* engine) {
  return guarded<pleat_engine*>(nullptr, [&] {
    const auto& [model, threads, network] = given(engine, "engine");
    const ThreadScope scope(threads);
    return new pleat_engine{model, threads, network.share()};
  });
}

void pleat_free(pleat_engine* engine) {
  delete engine;
}

int pleat_input_shape(const pleat_engine* engine, int64_t shape[4]) {
  return guarded(-1, [&] { return copy_shape(shape, given(engine, "engine").engine.input_shape()); });
}

int pleat_output_shape(const pleat_engine* engine, int64_t shape[4]) {
  return guarded(-1, [&] { return copy_shape(shape, given(engine, "engine").engine.output_shape()); });
}

const float* pleat_mean(const pleat_engine* engine) {
  return guarded<const float*>(nullptr, [&] { return given(engine, "engine").model.mean.data(); });
}

const float* pleat_std(const pleat_engine* engine) {
  return guarded<const float*>(nullptr, [&] { return given(engine, "engine").model.std.data(); });
}

int64_t pleat_class_count(const pleat_engine* engine) {
  return guarded<int64_t>(-1, [&] { return std::ssize(given(engine, "engine").model.classes); });
}

const char* pleat_class_name(const pleat_engine* engine, int64_t index) {
  return guarded<const char*>(nullptr, [&] {
    const std::vector<std::string>& classes = given(engine, "engine").model.classes;
    PLEAT_CHECK(index >= 0 && index < std::ssize(classes), "class ", index, ": the model names ", classes.size());
    return classes[index].c_str();
  });
}

int pleat_run(pleat_engine* engine, const float* input, size_t input_count, float* output, size_t output_count) {
  return guarded(-1, [&] {
    auto& [model, threads, network] = given(engine, "engine");
    given(input, "input"), given(output, "output");
    const Nhwc& x = network.input_shape();
    const auto picture = static_cast<std::size_t>(x.size() / x.n);
    const std::size_t n = input_count / picture, outputs = n * (network.output_shape().size() / x.n);
    PLEAT_CHECK(input_count % picture == 0 && n >= 1 && n <= static_cast<std::size_t>(x.n), "input has ", input_count,
                " numbers, expected ", picture, " for each of 1 to ", x.n, " pictures");
    PLEAT_CHECK(output_count == outputs, "output has room for ", output_count, " numbers, expected ", outputs, " for ",
                n, " pictures");
    const std::size_t wrong = first_not_finite({input, input_count});
    PLEAT_CHECK(wrong == input_count, "input[", wrong, "] is ", input[wrong], ", expected a finite number");
    const ThreadScope scope(threads);
    std::copy_n(input, input_count, network.input().begin());
    const std::span<const float> logits = network.run().first(output_count);
    check_logits(logits, outputs / n, "pleat_run");
    std::ranges::copy(logits, output);
    return 0;
  });
}
