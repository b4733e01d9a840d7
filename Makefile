# Pleat's build. `make help` lists the targets; V=1 shows the commands.
BUILD ?= build
PREFIX ?= /usr/local
CXX ?= g++
CXXFLAGS ?= -O3 -g -fno-math-errno -fno-trapping-math
# Where oneDNN is: /usr for the distribution's package, or the root of another installation.
DNNL ?= /usr

WARNINGS = -Wall -Wextra -Wpedantic $(WERROR)  # make WERROR=-Werror: as the project's own checks build
# Sections of their own: pleat-run leaves out the functions it does not reach.
ALL_CXXFLAGS = -std=c++20 -fopenmp -ffunction-sections $(WARNINGS) -I. $(DNNL_INCLUDE) -isystem /usr/include/stb $(CXXFLAGS)
# /usr/include is searched anyway; naming it before the C++ library's headers breaks their #include_next.
DNNL_INCLUDE = $(if $(filter-out /usr,$(DNNL)),-isystem $(DNNL)/include)
DNNL_LIBS = $(if $(filter /usr,$(DNNL)),-ldnnl,-L$(DNNL)/lib -Wl$(comma)-rpath$(comma)$(abspath $(DNNL))/lib -ldnnl)
comma = ,

# One job a core unless the command line says otherwise; a make started from here shares them.
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += --no-print-directory -j$(shell nproc)
endif
ifndef V
Q = @
endif

# The inference half needs no BLAS; everything else of the library is the training half.
INFER = $(addprefix core/,arena.cpp bf16.cpp file.cpp graph.cpp parallel.cpp rng.cpp safetensors.cpp tensor.cpp) \
        ops/spec.cpp ops/model_file.cpp ops/shortcut.cpp ops/border_conv2d.cpp $(wildcard fold/*.cpp)
TRAIN = $(filter-out $(INFER),$(wildcard core/*.cpp ops/*.cpp models/*.cpp data/*.cpp))
RUN = $(addprefix tools/,pleat_run.cpp classify.cpp cli.cpp evaluate.cpp latency.cpp picture_options.cpp progress.cpp) $(wildcard data/*.cpp)
TOOLS = $(filter-out tools/pleat_run.cpp,$(wildcard tools/*.cpp))
TESTS ?= $(wildcard tests/*.cpp) tools/open_model.cpp
FUZZERS = $(wildcard tests/fuzz/*.cpp)
SOURCES = $(sort $(INFER) $(TRAIN) $(TOOLS) $(RUN) $(TESTS) $(FUZZERS))

objects = $(patsubst %.cpp,$(BUILD)/%.o,$(1))
ARCHIVES = $(BUILD)/libpleat-train.a $(BUILD)/libpleat-infer.a
link = @echo "  LINK $@"; $(CXX) $(ALL_CXXFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^)

all: $(BUILD)/pleat $(BUILD)/pleat-run  ## build build/pleat and build/pleat-run (the default)

$(BUILD)/libpleat-infer.a: $(call objects,$(INFER))
$(BUILD)/libpleat-train.a: $(call objects,$(TRAIN))
$(BUILD)/%.a:
	@rm -f $@
	$(Q)ar rcs $@ $^

$(BUILD)/pleat: $(call objects,$(TOOLS)) $(ARCHIVES)
	$(Q)$(link) -lopenblas $(DNNL_LIBS) -lz
$(BUILD)/pleat-tests: $(call objects,$(TESTS)) $(ARCHIVES)
	$(Q)$(link) -lopenblas $(DNNL_LIBS) -lz
$(BUILD)/fuzz-picture: $(call objects,data/picture.cpp data/jpeg.cpp data/resample.cpp)
$(BUILD)/fuzz-%: $(BUILD)/tests/fuzz/%.o $(BUILD)/libpleat-infer.a
	$(Q)$(link) $(DNNL_LIBS)
# Copied to a bare machine it needs oneDNN and the C++ and OpenMP runtimes alone. The linker drops what nothing calls: the
# backward halves of the two ops that the engine shares with training.
$(BUILD)/pleat-run: $(call objects,$(RUN)) $(BUILD)/libpleat-infer.a
	$(Q)$(link) -Wl,--gc-sections $(DNNL_LIBS) -l:libz.a

$(BUILD)/%.o: %.cpp
	@mkdir -p $(@D)
	@echo "  CXX  $<"
	$(Q)$(CXX) $(ALL_CXXFLAGS) -MMD -MP -c -o $@ $<

-include $(patsubst %.o,%.d,$(call objects,$(SOURCES)))

setup:  ## install missing packages (apt; asks for sudo when not root)
	@tools/setup.sh build

test: setup  ## set up, build, run all tests; the last line counts them
	@$(MAKE) all $(BUILD)/pleat-tests
	@tools/run_tests.sh $(BUILD)

demo: setup  ## set up, build, then train, fold and time a small network
	@tools/setup.sh demo
	@$(MAKE) all
	@tools/demo.sh $(BUILD)

NETWORKS ?=
check-networks: setup  ## every network trained briefly, resumed, folded with random masks and proved (NETWORKS=, MASKS=, THREADS=)
	@tools/setup.sh demo
	@$(MAKE) all
	@tools/check_networks.sh $(BUILD) $(NETWORKS)

bench: setup  ## latency and training speed of two networks on this machine
	@$(MAKE) all
	@$(BUILD)/pleat bench resnet20 resnet56
	@$(BUILD)/pleat bench resnet20 --training --batch 128 --runs 20

bench-ops: setup  ## time and GFLOP/s of every kernel, our own and oneDNN's
	@$(MAKE) $(BUILD)/pleat-tests
	@$(BUILD)/pleat-tests --test-case='bench*' --no-skip

bench-train: setup  ## training of three networks against PyTorch, interleaved (installs it into a virtual environment)
	@tools/setup.sh torch
	@$(MAKE) all
	@tools/bench_train.sh $(BUILD)

bench-data: setup  ## loading of pictures against Pillow: make bench-data PICTURES=DIR (with train/<class>/*.JPEG)
	@tools/setup.sh pillow
	@$(MAKE) all
	@tools/bench_data.sh $(BUILD) $(PICTURES)

lint: setup  ## formatting, clang-tidy, include directions, what pleat-run links
	@tools/setup.sh lint
	@$(MAKE) all
	@tools/lint.sh $(BUILD)

# GCC 12 takes std::regex for uninitialised under the sanitizers.
ASAN = -O1 -g1 -Wno-maybe-uninitialized -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
asan: setup  ## the tests under the address and undefined-behaviour sanitizers
	@$(MAKE) BUILD=$(BUILD)/asan CXXFLAGS="$(ASAN)" all $(BUILD)/asan/pleat-tests
	@tools/run_tests.sh $(BUILD)/asan --test-suite-exclude=slow

FUZZ_SECONDS ?= 60
# memcpy of no bytes to nowhere, which stb_image does, harms nobody and is allowed from C2y on.
SANITIZED = -O1 -g -fsanitize=address,undefined -fno-sanitize=nonnull-attribute -fno-sanitize-recover=all
FUZZ = $(SANITIZED) -fsanitize=fuzzer
NO_MAIN = $(SANITIZED) -fsanitize=fuzzer-no-link
fuzz: setup  ## mutated files into every reader, under the sanitizers, for FUZZ_SECONDS (60) in all
	@tools/setup.sh fuzz
	@$(MAKE) BUILD=$(BUILD)/fuzz WERROR= CXX=clang++ CXXFLAGS="$(NO_MAIN)" $(BUILD)/fuzz/libpleat-infer.a
	@$(MAKE) BUILD=$(BUILD)/fuzz WERROR= CXX=clang++ CXXFLAGS="$(FUZZ)" $(patsubst tests/fuzz/%.cpp,$(BUILD)/fuzz/fuzz-%,$(FUZZERS))
	@tools/fuzz.sh $(BUILD)/fuzz $(FUZZ_SECONDS)

format:  ## clang-format all sources in place
	@tools/setup.sh lint
	git ls-files '*.cpp' '*.hpp' | xargs clang-format -i

compile_commands.json:  ## for editors and clang tools
	@{ sep='['; for f in $(SOURCES); do \
	  printf '%s\n{"directory": "%s", "file": "%s", "command": "%s"}' "$$sep" "$(CURDIR)" "$$f" \
	    "$(CXX) $(ALL_CXXFLAGS) -c $$f"; sep=','; done; printf '\n]\n'; } > $@

install: all  ## into DESTDIR/PREFIX/bin (/usr/local)
	install -D -m 755 -t $(DESTDIR)$(PREFIX)/bin $(BUILD)/pleat $(BUILD)/pleat-run

clean:  ## remove what was built
	rm -rf $(BUILD) compile_commands.json

help:  ## this list
	@awk -F ':.*  ## ' '/^[a-z_.-]+:.*  ## / { printf "  make %-22s %s\n", $$1, $$2 }' Makefile

.PHONY: all setup test demo check-networks bench bench-ops bench-train bench-data lint asan fuzz format \
        compile_commands.json install clean help
