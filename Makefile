# Pleat's build. `make help` lists the targets; V=1 shows the commands.
BUILD ?= build
PREFIX ?= /usr/local
CXX ?= g++
CXXFLAGS ?= -O3 -g -fno-math-errno -fno-trapping-math
# Where oneDNN is: /usr for the distribution's package, or the root of another installation.
DNNL ?= /usr

WARNINGS = -Wall -Wextra -Wpedantic $(WERROR)  # make WERROR=-Werror: as the project's own checks build
# Sections of their own: pleat-run leaves out the functions it does not reach. Position-independent: the same objects
# become libpleat.so, whose own functions no other library replaces.
ALL_CXXFLAGS = -std=c++20 -fopenmp -ffunction-sections -fPIC -fno-semantic-interposition $(WARNINGS) -I. $(DNNL_INCLUDE) -isystem /usr/include/stb $(ONNX) $(CXXFLAGS)
# /usr/include is searched anyway; naming it before the C++ library's headers breaks their #include_next.
DNNL_INCLUDE = $(if $(filter-out /usr,$(DNNL)),-isystem $(DNNL)/include)
DNNL_LIBS = $(if $(filter /usr,$(DNNL)),-ldnnl,-L$(DNNL)/lib -Wl$(comma)-rpath$(comma)$(abspath $(DNNL))/lib -ldnnl)
# How the distributions build the ONNX library, which its headers must be told.
ONNX = -DONNX_ML -DONNX_NAMESPACE=onnx
ONNX_LIBS = -lonnx -lonnx_proto -lprotobuf
comma = ,

# One job a core unless the command line says otherwise; a make started from here shares them.
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += --no-print-directory -j$(shell nproc)
endif
ifndef V
Q = @
endif

# The inference half needs no BLAS; everything else of the library is the training half.
INFER = $(addprefix core/,arena.cpp bf16.cpp file.cpp graph.cpp machine.cpp parallel.cpp rng.cpp safetensors.cpp tensor.cpp tune_cache.cpp) \
        $(addprefix ops/,add.cpp alpha_act.cpp border_conv2d.cpp convert.cpp convolution.cpp model_file.cpp panel_gemm.cpp shortcut.cpp spec.cpp tile_product.cpp \
        winograd_bf16.cpp winograd_pass.cpp winograd_transforms.cpp) $(wildcard fold/*.cpp)
TRAIN = $(filter-out $(INFER),$(wildcard core/*.cpp ops/*.cpp models/*.cpp data/*.cpp))
RUN = $(addprefix tools/,pleat_run.cpp classify.cpp cli.cpp engine_options.cpp evaluate.cpp latency.cpp peak.cpp picture_options.cpp progress.cpp) $(wildcard data/*.cpp)
TOOLS = $(filter-out tools/pleat_run.cpp,$(wildcard tools/*.cpp))
# What prepares and reports and computes little, or has its loops unrolled by hand: small, it leaves pleat-run room for
# kernels.
COLD = $(wildcard tools/*.cpp) $(addprefix core/,arena.cpp file.cpp graph.cpp machine.cpp parallel.cpp rng.cpp run_log.cpp safetensors.cpp tensor.cpp tune_cache.cpp) \
       $(addprefix data/,cifar.cpp dataset.cpp fetch.cpp idx.cpp image_folder.cpp loader.cpp picture.cpp) $(addprefix ops/,model_file.cpp spec.cpp winograd_pass.cpp) \
       $(addprefix fold/,border.cpp c_api.cpp engine.cpp engine_block.cpp engine_plan.cpp engine_product.cpp engine_program.cpp engine_steps.cpp engine_tuner.cpp \
         engine_winograd.cpp groups.cpp inverted_residual.cpp mask.cpp merge.cpp picture_lines.cpp plan.cpp product_conv.cpp reorder.cpp rewrite.cpp)
# What -O3 makes longer for little; loops are vectorised as it does.
WARM = data/augment.cpp data/resample.cpp fold/linear_map.cpp \
       $(addprefix ops/,add.cpp alpha_act.cpp border_conv2d.cpp convert.cpp convolution.cpp shortcut.cpp tile_product.cpp)
TESTS ?= $(wildcard tests/*.cpp) $(addprefix tools/,importance.cpp onnx_export.cpp onnx_writer.cpp open_model.cpp \
        plan_file.cpp progress.cpp)
FUZZERS = $(wildcard tests/fuzz/*.cpp)
SOURCES = $(sort $(INFER) $(TRAIN) $(TOOLS) $(RUN) $(TESTS) $(FUZZERS))

# The library that C programs link, libpleat.a with the C API's symbols alone. Its number changes when programs built
# against an earlier one would break.
VERSION := $(shell sed -n 's/.*kVersion = "\(.*\)";/\1/p' core/version.hpp)
SONAME = libpleat.so.0
SHARED = $(BUILD)/libpleat.so.$(VERSION)

objects = $(patsubst %.cpp,$(BUILD)/%.o,$(1))
ARCHIVES = $(BUILD)/libpleat-train.a $(BUILD)/libpleat.a
link = @echo "  LINK $@"; $(CXX) $(ALL_CXXFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^)

all: $(BUILD)/pleat $(BUILD)/pleat-run $(SHARED)  ## build build/pleat, build/pleat-run and the libraries (the default)

$(BUILD)/libpleat.a: $(call objects,$(INFER))
$(BUILD)/libpleat-train.a: $(call objects,$(TRAIN))
$(BUILD)/%.a:
	@rm -f $@
	$(Q)ar rcs $@ $^

$(BUILD)/pleat: $(call objects,$(TOOLS)) $(ARCHIVES)
	$(Q)$(link) -lopenblas $(DNNL_LIBS) -lz $(ONNX_LIBS)
$(BUILD)/pleat-tests: $(call objects,$(TESTS)) $(ARCHIVES)
	$(Q)$(link) -lopenblas $(DNNL_LIBS) -lz $(ONNX_LIBS)
$(BUILD)/fuzz-picture: $(call objects,data/picture.cpp data/jpeg.cpp data/resample.cpp)
$(BUILD)/fuzz-%: $(BUILD)/tests/fuzz/%.o $(BUILD)/libpleat.a
	$(Q)$(link) $(DNNL_LIBS)
# Copied to a bare machine it needs oneDNN and the C++ and OpenMP runtimes alone. The linker drops what nothing calls: the
# backward halves of the two ops that the engine shares with training.
RUN_PARTS = $(call objects,$(RUN)) $(BUILD)/libpleat.a
RUN_LINK = -Wl,--gc-sections -Wl,-z,noseparate-code -Wl,-z,pack-relative-relocs $(DNNL_LIBS) -l:libz.a
$(BUILD)/pleat-run: $(RUN_PARTS)
	$(Q)$(link) $(RUN_LINK)
$(SHARED): $(call objects,$(INFER)) | fold/pleat.map
	$(Q)$(link) -shared -Wl,-soname,$(SONAME) -Wl,--version-script=$| -Wl,--gc-sections $(DNNL_LIBS)

$(call objects,$(COLD)): CXXFLAGS += -Os
$(call objects,$(WARM)): CXXFLAGS += -O2 -fvect-cost-model=dynamic
# Tests are compiled more often than run: asserts as calls, not as code of their own.
$(BUILD)/tests/%.o: ALL_CXXFLAGS += -O1 -DDOCTEST_CONFIG_SUPER_FAST_ASSERTS

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

check-onnx: setup  ## ONNX files of every op and network against onnxruntime, in a virtual environment (NETWORKS=)
	@tools/setup.sh peers
	@$(MAKE) all $(BUILD)/pleat-tests
	@tools/check_onnx.sh $(BUILD) $(NETWORKS)

bench: setup  ## latency and training speed of two networks on this machine
	@$(MAKE) all
	@$(BUILD)/pleat bench resnet20 resnet56
	@$(BUILD)/pleat bench resnet20 --training --batch 128 --runs 20

bench-ops: setup  ## time and GFLOP/s of every kernel, our own and oneDNN's
	@$(MAKE) $(BUILD)/pleat-tests
	@$(BUILD)/pleat-tests --test-case='bench*' --no-skip

bench-train: setup  ## training of three networks against PyTorch, interleaved (installs it into a virtual environment)
	@tools/setup.sh peers
	@$(MAKE) all
	@tools/bench_train.sh $(BUILD)

ROUNDS ?= 5
CASES ?=
bench-infer: setup  ## inference against PyTorch, ONNX Runtime, OpenVINO and ncnn, interleaved (ROUNDS=, CASES="NETWORK:BATCH[:FILE...] ...")
	@tools/setup.sh peers
	@$(MAKE) all
	@tools/bench_infer.sh $(BUILD) --rounds $(ROUNDS) $(CASES)

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
	@$(MAKE) BUILD=$(BUILD)/fuzz WERROR= CXX=clang++ CXXFLAGS="$(NO_MAIN)" $(BUILD)/fuzz/libpleat.a
	@$(MAKE) BUILD=$(BUILD)/fuzz WERROR= CXX=clang++ CXXFLAGS="$(FUZZ)" $(patsubst tests/fuzz/%.cpp,$(BUILD)/fuzz/fuzz-%,$(FUZZERS))
	@tools/fuzz.sh $(BUILD)/fuzz $(FUZZ_SECONDS)

SOAK_SECONDS ?= 3600
soak: setup  ## 4 threads calling 4 handles each for SOAK_SECONDS (3600), every bit and the memory watched
	@$(MAKE) $(BUILD)/pleat-tests
	@PLEAT_SOAK_SECONDS=$(SOAK_SECONDS) $(BUILD)/pleat-tests --test-case='soak*'

format:  ## clang-format all sources in place
	@tools/setup.sh lint
	git ls-files '*.cpp' '*.hpp' '*.h' '*.c' | xargs clang-format -i

compile_commands.json:  ## for editors and clang tools
	@{ sep='['; for f in $(SOURCES); do \
	  printf '%s\n{"directory": "%s", "file": "%s", "command": "%s"}' "$$sep" "$(CURDIR)" "$$f" \
	    "$(CXX) $(ALL_CXXFLAGS) -c $$f"; sep=','; done; printf '\n]\n'; } > $@

PLACE = $(DESTDIR)$(PREFIX)
install: all  ## programs, libraries, pleat.h and pleat.pc into DESTDIR/PREFIX (/usr/local)
	install -D -m 755 -t $(PLACE)/bin $(BUILD)/pleat $(BUILD)/pleat-run
	install -D -m 644 -t $(PLACE)/lib $(SHARED) $(BUILD)/libpleat.a
	ln -sf $(notdir $(SHARED)) $(PLACE)/lib/$(SONAME)
	ln -sf $(SONAME) $(PLACE)/lib/libpleat.so
	install -D -m 644 -t $(PLACE)/include fold/pleat.h
	install -d $(PLACE)/lib/pkgconfig
	sed 's|@PREFIX@|$(PREFIX)|; s|@VERSION@|$(VERSION)|; s|@DNNL_LIBS@|$(DNNL_LIBS)|' fold/pleat.pc.in \
	  >$(PLACE)/lib/pkgconfig/pleat.pc

DIST = $(BUILD)/pleat-run-$(VERSION)-$(shell uname -m).tar.gz
dist: setup  ## a tarball of pleat-run with the libraries it needs, for machines where nothing is installed
	@tools/setup.sh ship
	@$(MAKE) $(BUILD)/dist/pleat-run
	@tools/dist.sh $(BUILD)/dist/pleat-run $(DIST)
# Libraries of libraries come from beside it, too: an rpath passes on, a runpath would not.
$(BUILD)/dist/pleat-run: $(RUN_PARTS)
	@mkdir -p $(@D)
	$(Q)$(link) $(RUN_LINK) -s -Wl,--disable-new-dtags,-rpath,'$$ORIGIN'

check-dist: dist  ## that tarball run in an empty root file system, and compared (needs root)
	@$(MAKE) all
	@tools/check_dist.sh $(BUILD) $(DIST)

check-install: setup  ## examples/classify.c compiled and run against an installed copy, shared and static
	@tools/setup.sh ship
	@$(MAKE) all
	@$(MAKE) install PREFIX=$(abspath $(BUILD))/installed >/dev/null
	@tools/check_install.sh $(BUILD)/installed

clean:  ## remove what was built
	rm -rf $(BUILD) compile_commands.json

help:  ## this list
	@awk -F ':.*  ## ' '/^[a-z_.-]+:.*  ## / { printf "  make %-22s %s\n", $$1, $$2 }' Makefile

.PHONY: all setup test demo check-networks check-onnx bench bench-ops bench-train bench-infer bench-data lint asan fuzz soak \
        format compile_commands.json install dist check-dist check-install clean help
