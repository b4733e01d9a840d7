# Pleat's build. `make help` lists the targets.
BUILD ?= build
CXX ?= g++
CXXFLAGS ?= -O3 -g -fno-math-errno -fno-trapping-math
WARNINGS = -Wall -Wextra -Wpedantic -Werror
ALL_CXXFLAGS = -std=c++20 -fopenmp $(WARNINGS) -I. $(DNNL_INCLUDE) -isystem /usr/include/stb $(CXXFLAGS)
# Where oneDNN is: /usr for Debian's package, or the root of another installation.
DNNL ?= /usr
# /usr/include is searched anyway; naming it before the C++ library's headers breaks their #include_next.
DNNL_INCLUDE = $(if $(filter-out /usr,$(DNNL)),-isystem $(DNNL)/include)
DNNL_LIBS = $(if $(filter /usr,$(DNNL)),-ldnnl,-L$(DNNL)/lib -Wl$(comma)-rpath$(comma)$(abspath $(DNNL))/lib -ldnnl)
comma = ,

INFER = $(addprefix core/,arena.cpp file.cpp graph.cpp parallel.cpp rng.cpp safetensors.cpp tensor.cpp) \
        ops/spec.cpp ops/model_file.cpp ops/shortcut.cpp $(wildcard fold/*.cpp)
TRAIN = $(filter-out $(INFER),$(wildcard core/*.cpp ops/*.cpp models/*.cpp data/*.cpp))
TOOLS = $(filter-out tools/pleat_run.cpp,$(wildcard tools/*.cpp))
TESTS ?= $(wildcard tests/*.cpp)

objects = $(patsubst %.cpp,$(BUILD)/%.o,$(1))

all: $(BUILD)/pleat $(BUILD)/pleat-run

$(BUILD)/libpleat-infer.a: $(call objects,$(INFER))
$(BUILD)/libpleat-train.a: $(call objects,$(TRAIN))
$(BUILD)/%.a:
	@rm -f $@
	ar rcs $@ $^

$(BUILD)/pleat: $(call objects,$(TOOLS)) $(BUILD)/libpleat-train.a $(BUILD)/libpleat-infer.a
	$(CXX) $(ALL_CXXFLAGS) -o $@ $^ -lopenblas $(DNNL_LIBS) -lz

$(BUILD)/pleat-tests: $(call objects,$(TESTS)) $(BUILD)/libpleat-train.a $(BUILD)/libpleat-infer.a
	$(CXX) $(ALL_CXXFLAGS) -o $@ $^ -lopenblas $(DNNL_LIBS) -lz

$(BUILD)/%.o: %.cpp
	@mkdir -p $(@D)
	$(CXX) $(ALL_CXXFLAGS) -MMD -MP -c -o $@ $<

clean:
	rm -rf $(BUILD)

.PHONY: all clean
-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
