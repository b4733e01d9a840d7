# Pleat's build. `make help` lists the targets; V=1 shows the commands.
BUILD ?= build
PREFIX ?= /usr/local
CXX ?= g++
# Functions and lines for backtraces and profiles. For a debugger: make CXXFLAGS=-g, which takes half as long again.
CXXFLAGS ?= -g1
# Where oneDNN is: /usr for the distribution's package, or the root of another installation.
DNNL ?= /usr

WARNINGS = -Wall -Wextra -Wpedantic $(WERROR)  # make WERROR=-Werror: as the project's own checks build
# Each function and variable has a section of its own, so that the linker can leave out what a program never calls. All
# code is position-independent, because the same objects become libpleat.so.
FIXED_CXXFLAGS = -std=c++20 -pthread -fno-math-errno -fno-trapping-math -ffunction-sections -fdata-sections -fPIC \
                 -fno-semantic-interposition $(WARNINGS) -I. -I$(BUILD)/generated $(DNNL_INCLUDE) -isystem /usr/include/stb $(ONNX)
ALL_CXXFLAGS = $(FIXED_CXXFLAGS) $(OPTIMISATION) $(CXXFLAGS) $(TEST_FLAGS)
# /usr/include is searched anyway; naming it before the C++ library's headers breaks their #include_next.
DNNL_INCLUDE = $(if $(filter-out /usr,$(DNNL)),-isystem $(DNNL)/include)
# With the OpenMP runtime that oneDNN uses, which Pleat tells to start no threads (core/parallel.hpp).
DNNL_LIBS = $(if $(filter /usr,$(DNNL)),-ldnnl,-L$(DNNL)/lib -Wl$(comma)-rpath$(comma)$(abspath $(DNNL))/lib -ldnnl) -lgomp
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

# Every source below these folders belongs to one library; a program gets those of its objects that it calls.
sources_below = $(sort $(shell find $(1) -name '*.cpp'))
LIBRARY = $(call sources_below,core ops models data fold tools/train)
TOOLS = $(filter-out tools/commands/% tools/train/% tools/mpi/%,$(call sources_below,tools))  # what several commands share
COMMANDS = $(wildcard tools/commands/*.cpp)
TESTS = $(wildcard tests/*.cpp)
FUZZERS = $(wildcard tests/fuzz/*.cpp)
# What `make tsan` compiles: the tests of what threads do at once, and the part of the library that they call.
RACES = tests/main.cpp tests/race_test.cpp tests/tsan/planted.cpp $(call sources_below,core ops models data fold/engine) \
        $(addprefix fold/,border_correction.cpp groups.cpp linear_map.cpp merge.cpp rewrite.cpp) tools/train/sgd.cpp
SOURCES = $(sort $(LIBRARY) $(TOOLS) $(COMMANDS) $(TESTS) $(FUZZERS) $(RACES))

# Kernels are compiled for speed, everything else for size: it runs rarely, or has its loops unrolled by hand. (The more
# specific of two pattern rules wins.)
OPTIMISATION = -Os
$(BUILD)/fold/%.o: OPTIMISATION = -O2
$(BUILD)/fold/engine/%.o: OPTIMISATION = -Os
$(BUILD)/ops/%.o $(BUILD)/data/%.o $(BUILD)/tools/train/%.o: OPTIMISATION = -O3
# What finds data sets, reads models and remembers the tuner's choices runs once; in pleat-run every kilobyte counts.
RUNS_ONCE = data/dataset data/dataset_for data/image_folder data/idx data/cifar ops/spec ops/model_file ops/conv/tune_cache
$(RUNS_ONCE:%=$(BUILD)/%.o): OPTIMISATION = -Os
# Tests are compiled more often than run: asserts are calls, not code of their own.
$(BUILD)/tests/%.o: OPTIMISATION = -O1 -DDOCTEST_CONFIG_SUPER_FAST_ASSERTS
$(BUILD)/tests/%.o: TEST_FLAGS = $(TEST_CXXFLAGS)
# The program around the C API that has OpenMP threads of its own.
$(BUILD)/tests/c_api_test.o: FIXED_CXXFLAGS += -fopenmp

# The library that C programs link, libpleat.a with the C API's symbols alone. Its number changes when programs built
# against an earlier one would break.
VERSION := $(shell sed -n 's/.*kVersion = "\(.*\)";/\1/p' core/version.hpp)
SONAME = libpleat.so.0
SHARED = $(BUILD)/libpleat.so.$(VERSION)

objects = $(patsubst %.cpp,$(BUILD)/%.o,$(1))
ARCHIVES = $(BUILD)/libpleat-tools.a $(BUILD)/libpleat.a
link = @echo "  LINK $@"; $(CXX) $(ALL_CXXFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^)

all: $(BUILD)/pleat $(BUILD)/pleat-run $(SHARED)  ## build pleat, pleat-run and the libraries into build/ (the default)

$(BUILD)/libpleat.a: $(call objects,$(LIBRARY))
$(BUILD)/libpleat-tools.a: $(call objects,$(TOOLS))
$(BUILD)/%.a:
	@rm -f $@
	$(Q)ar rcs $@ $^

ALL_LIBS = -lopenblas $(DNNL_LIBS) -ljpeg -lz $(ONNX_LIBS)
$(BUILD)/pleat: $(call objects,$(filter-out %/pleat_run.cpp,$(COMMANDS))) $(ARCHIVES)
	$(Q)$(link) $(ALL_LIBS)
$(BUILD)/pleat-tests: $(call objects,$(TESTS)) $(ARCHIVES)
	$(Q)$(link) $(ALL_LIBS)
$(BUILD)/pleat-race: $(call objects,$(RACES))
	$(Q)$(link) -lopenblas $(DNNL_LIBS) -ljpeg -lz
$(BUILD)/fuzz-%: $(BUILD)/tests/fuzz/%.o $(BUILD)/libpleat.a
	$(Q)$(link) $(DNNL_LIBS) -ljpeg -lz
# Copied to a bare machine, pleat-run needs oneDNN and the C++ and OpenMP runtimes alone: it holds the decoders of
# pictures. The linker drops what nothing calls, such as the backward halves of the ops.
RUN_PARTS = $(call objects,tools/commands/pleat_run.cpp) $(ARCHIVES)
# libjpeg's table of vector kernels names the encoder's, which are never called here but would pull in 150 kB.
ENCODER = huff_encode_one_block_sse2 encode_mcu_AC_first_prepare_sse2 encode_mcu_AC_refine_prepare_sse2
RUN_LINK = -Wl,--gc-sections -Wl,-z,noseparate-code -Wl,-z,pack-relative-relocs \
           $(ENCODER:%=-Wl,--defsym=jsimd_%=0) -Wl,--defsym=jconst_huff_encode_one_block=0 \
           $(DNNL_LIBS) -l:libjpeg.a -l:libz.a
$(BUILD)/pleat-run: $(RUN_PARTS)
	$(Q)$(link) $(RUN_LINK)
$(SHARED): $(call objects,fold/engine/c_api.cpp) $(BUILD)/libpleat.a | fold/engine/pleat.map
	$(Q)$(link) -shared -Wl,-soname,$(SONAME) -Wl,--version-script=$| -Wl,--gc-sections $(DNNL_LIBS)

# Each of the MPIs that are installed, under Debian's names for their compilers.
MPIS = $(foreach mpi,openmpi mpich,$(if $(shell command -v mpicxx.$(mpi)),$(mpi)))
$(BUILD)/libpleat-%.so: tools/mpi/mpi_transport.cpp core/process_group.hpp
	@mkdir -p $(@D)
	@echo "  LINK $@"
	$(Q)OMPI_CXX='$(CXX)' MPICH_CXX='$(CXX)' mpicxx.$* $(FIXED_CXXFLAGS) -O2 $(CXXFLAGS) -DOMPI_SKIP_MPICXX -DMPICH_SKIP_MPICXX -shared -o $@ $<

$(BUILD)/%.o: %.cpp
	@mkdir -p $(@D)
	@echo "  CXX  $<"
	$(Q)$(CXX) $(ALL_CXXFLAGS) -MMD -MP -c -o $@ $<

# The version of the kernels, under which choices made by timing are remembered (ops/conv/tune_cache.hpp): a hash over
# their sources and the flags given. The header keeps its time of change when the hash stays the same, and one object
# alone includes it, so nothing is compiled again without need.
KERNELS = $(sort $(wildcard core/parallel.* core/thread_team.* core/onednn*.hpp core/simd/*) core/split.hpp ops/activation.hpp \
            $(shell find ops/conv fold/engine -name '*.?pp'))
KERNEL_HASH = $(BUILD)/generated/ops/conv/kernel_hash.hpp
$(BUILD)/ops/conv/tune_cache.o: $(KERNEL_HASH)
$(KERNEL_HASH): $(KERNELS)
	@mkdir -p $(@D)
	@hash=$$({ echo '$(CXXFLAGS)'; cat $^; } | sha256sum | cut -c 1-12) && \
	  printf '#pragma once\nnamespace pleat {\ninline constexpr const char* kKernelHash = "%s";\n}\n' "$$hash" >$@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

-include $(patsubst %.o,%.d,$(call objects,$(SOURCES)))

setup:  ## install missing packages through apt, with sudo when not root
	@tools/scripts/setup.sh build

test: setup  ## set up, build and run all tests; the last line counts them
	@$(MAKE) all $(BUILD)/pleat-tests
	@tools/scripts/run_tests.sh $(BUILD)

test-isa: setup  ## run the kernels' tests under every other instruction set that this CPU has (PLEAT_ISA)
	@$(MAKE) all $(BUILD)/pleat-tests
	@tools/scripts/test_isa.sh $(BUILD)

demo: setup  ## set up, build, then train, fold, prove and time a ResNet-20, in about ten minutes
	@tools/scripts/setup.sh demo
	@$(MAKE) all
	@tools/scripts/demo.sh $(BUILD)

# For the figure alone: what is missing is trained unless TRAIN=0; tools/scripts/figure_tasks.sh explains the others.
FIGURE = NETWORKS DATA BUDGET SEED OPTIONS RUNS RESULTS TRAIN
figure: setup  ## accuracy against depth: train what is missing, draw it beside the paper's (NETWORKS=, DATA=, BUDGET=hours, TRAIN=0)
	@tools/scripts/setup.sh figure
	@$(MAKE) all
	@$(foreach v,$(FIGURE),$(if $($(v)),$(v)='$($(v))')) tools/scripts/figure.sh $(BUILD)

check-figure: setup  ## make figure on a tiny data set, killed again and again
	@tools/scripts/setup.sh figure
	@$(MAKE) all
	@tools/scripts/check_figure.sh $(BUILD)

check-report: setup  ## pages of pleat report in headless Chromium: every part, no error in the console (KEEP=DIR keeps page and picture)
	@tools/scripts/setup.sh report
	@$(MAKE) all
	@tools/scripts/check_report.sh $(BUILD)

NETWORKS ?=
check-mpi: mpi  ## training by several ranks, killed, interrupted and resumed, under Open MPI and MPICH
	@tools/scripts/check_mpi.sh $(BUILD)

check-networks: setup  ## train every network briefly, resume it, fold it with random masks and prove it (NETWORKS=, MASKS=, THREADS=)
	@tools/scripts/setup.sh demo
	@$(MAKE) all
	@tools/scripts/check_networks.sh $(BUILD) $(NETWORKS)

check-pictures: setup  ## pictures of Pillow's own tests, decoded as Pillow does, refused by both, or explained (network, once)
	@tools/scripts/setup.sh peers
	@$(MAKE) all $(BUILD)/pleat-tests
	@tools/scripts/check_pictures.sh $(BUILD)

check-onnx: setup  ## compare exported ops and networks with onnxruntime, which goes into a virtual environment (NETWORKS=)
	@tools/scripts/setup.sh peers
	@$(MAKE) all $(BUILD)/pleat-tests
	@tools/scripts/check_onnx.sh $(BUILD) $(NETWORKS)

bench: setup  ## measure latency and training speed of two networks
	@$(MAKE) all
	@$(BUILD)/pleat bench resnet20 resnet56
	@$(BUILD)/pleat bench resnet20 --training --batch 128 --runs 20

bench-ops: setup  ## measure time and GFLOP/s of every kernel, our own and oneDNN's
	@$(MAKE) $(BUILD)/pleat-tests
	@$(BUILD)/pleat-tests --test-case='bench*' --no-skip

bench-train: setup  ## compare the training of three networks with PyTorch, in turn (installs it into a virtual environment)
	@tools/scripts/setup.sh peers
	@$(MAKE) all
	@tools/scripts/bench_train.sh $(BUILD)

OLD ?=
compare: setup  ## time this build in turn with an earlier one: make compare OLD=its build folder
	@tools/scripts/setup.sh peers
	@$(MAKE) all
	@test -x "$(OLD)/pleat" || { echo "compare: OLD='$(OLD)' is not a folder with pleat in it" >&2; exit 2; }
	@tools/scripts/compare_builds.sh $(OLD) $(BUILD)

bench-busy: setup  ## what training and the engine keep of their speed beside busy loops, with PyTorch, and of a quota
	@tools/scripts/setup.sh peers
	@$(MAKE) all
	@tools/scripts/bench_busy.sh $(BUILD)

ROUNDS ?= 5
CASES ?=
bench-infer: setup  ## compare inference with PyTorch, ONNX Runtime, OpenVINO and ncnn, in turn (ROUNDS=, CASES="NETWORK:BATCH[:FILE...] ...")
	@tools/scripts/setup.sh peers
	@$(MAKE) all
	@tools/scripts/bench_infer.sh $(BUILD) --rounds $(ROUNDS) $(CASES)

bench-data: setup  ## compare the loading of pictures with Pillow: make bench-data PICTURES=DIR (with train/<class>/*.JPEG)
	@tools/scripts/setup.sh pillow
	@$(MAKE) all
	@tools/scripts/bench_data.sh $(BUILD) $(PICTURES)

TIDY_SHARE ?= 1
mpi: setup  ## build what lets several processes train together under mpirun (Open MPI and MPICH, whichever is installed)
	@[ -n "$(MPIS)" ] || tools/scripts/setup.sh mpi
	@$(MAKE) all mpi-libraries
mpi-libraries: $(MPIS:%=$(BUILD)/libpleat-%.so)

lint: setup  ## check formatting, clang-tidy (TIDY_SHARE=N: on one file in N), who includes whom, what pleat-run links, links in documents
	@tools/scripts/setup.sh lint
	@$(MAKE) all
	@TIDY_SHARE=$(TIDY_SHARE) tools/scripts/lint.sh $(BUILD)

# GCC 12 takes std::regex for uninitialised under the sanitizers.
ASAN = -O1 -g1 -Wno-maybe-uninitialized -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
# The tests' own code is checked for its use of memory alone: compiling it takes a quarter of the time.
ASAN_TESTS = -O0 -fno-sanitize=undefined
asan: setup  ## run the tests under the address and undefined-behaviour sanitizers
	@$(MAKE) BUILD=$(BUILD)/asan CXXFLAGS="$(ASAN)" TEST_CXXFLAGS="$(ASAN_TESTS)" all $(BUILD)/asan/pleat-tests
	@tools/scripts/run_tests.sh $(BUILD)/asan --test-suite-exclude=slow

TSAN = -O1 -g1 -fsanitize=thread
tsan: setup  ## look for data races in parallel regions, the engine, training steps and the loader (ThreadSanitizer)
	@$(MAKE) BUILD=$(BUILD)/tsan WERROR= CXXFLAGS="$(TSAN)" $(BUILD)/tsan/pleat-race
	@tools/scripts/tsan.sh $(BUILD)/tsan

FUZZ_SECONDS ?= 60
# memcpy of no bytes to nowhere, which stb_image does, harms nobody and is allowed from C2y on.
SANITIZED = -O1 -g1 -fsanitize=address,undefined -fno-sanitize=nonnull-attribute -fno-sanitize-recover=all
FUZZ = $(SANITIZED) -fsanitize=fuzzer
NO_MAIN = $(SANITIZED) -fsanitize=fuzzer-no-link
READERS = $(call sources_below,core data) $(addprefix ops/,spec.cpp model_file.cpp parameter_values.cpp conv/border_conv2d.cpp)
fuzz: setup  ## feed mutated files to every reader, under the sanitizers, for FUZZ_SECONDS (60) in all
	@tools/scripts/setup.sh fuzz
	@$(MAKE) BUILD=$(BUILD)/fuzz WERROR= CXX=clang++ CXXFLAGS="$(NO_MAIN)" LIBRARY="$(READERS)" $(BUILD)/fuzz/libpleat.a
	@$(MAKE) BUILD=$(BUILD)/fuzz WERROR= CXX=clang++ CXXFLAGS="$(FUZZ)" LIBRARY="$(READERS)" $(patsubst tests/fuzz/%.cpp,$(BUILD)/fuzz/fuzz-%,$(FUZZERS))
	@tools/scripts/fuzz.sh $(BUILD)/fuzz $(FUZZ_SECONDS)

SOAK_SECONDS ?= 3600
soak: setup  ## call 4 handles from each of 4 threads for SOAK_SECONDS (3600), and watch every bit and the memory
	@$(MAKE) $(BUILD)/pleat-tests
	@PLEAT_SOAK_SECONDS=$(SOAK_SECONDS) $(BUILD)/pleat-tests --test-case='soak*'

format:  ## format all sources in place with clang-format
	@tools/scripts/setup.sh lint
	git ls-files '*.cpp' '*.hpp' '*.h' '*.c' | xargs clang-format -i

compile_commands.json:  ## write the compilation database, for editors and clang tools
	@{ sep='['; for f in $(SOURCES); do \
	  printf '%s\n{"directory": "%s", "file": "%s", "command": "%s"}' "$$sep" "$(CURDIR)" "$$f" \
	    "$(CXX) $(ALL_CXXFLAGS) -c $$f"; sep=','; done; printf '\n]\n'; } > $@

PLACE = $(DESTDIR)$(PREFIX)
HEADERS = $(sort $(shell find core ops models data fold tools/train -name '*.hpp'))  # for C++ programs, in include/pleat
install: all  ## install programs, libraries, headers and pleat.pc into DESTDIR/PREFIX (/usr/local)
	install -D -m 755 -t $(PLACE)/bin $(BUILD)/pleat $(BUILD)/pleat-run
	install -D -m 644 -t $(PLACE)/lib $(SHARED) $(BUILD)/libpleat.a
	ln -sf $(notdir $(SHARED)) $(PLACE)/lib/$(SONAME)
	ln -sf $(SONAME) $(PLACE)/lib/libpleat.so
	install -D -m 644 -t $(PLACE)/include fold/engine/pleat.h
	for header in $(HEADERS); do install -D -m 644 $$header $(PLACE)/include/pleat/$$header || exit 1; done
	install -D -m 644 -t $(PLACE)/share/pleat/recipes models/recipes/*.json
	install -d $(PLACE)/lib/pkgconfig
	sed 's|@PREFIX@|$(PREFIX)|; s|@VERSION@|$(VERSION)|; s|@DNNL_LIBS@|$(DNNL_LIBS)|' fold/engine/pleat.pc.in \
	  >$(PLACE)/lib/pkgconfig/pleat.pc

DIST = $(BUILD)/pleat-run-$(VERSION)-$(shell uname -m).tar.gz
dist: setup  ## pack pleat-run with the libraries it needs, for machines where nothing is installed
	@tools/scripts/setup.sh ship
	@$(MAKE) $(BUILD)/dist/pleat-run
	@tools/scripts/dist.sh $(BUILD)/dist/pleat-run $(DIST)
# Libraries of libraries come from beside it, too: an rpath passes on, a runpath would not.
$(BUILD)/dist/pleat-run: $(RUN_PARTS)
	@mkdir -p $(@D)
	$(Q)$(link) $(RUN_LINK) -s -Wl,--disable-new-dtags,-rpath,'$$ORIGIN'

check-dist: dist  ## run that tarball in an empty root file system and compare (needs root)
	@$(MAKE) all
	@tools/scripts/check_dist.sh $(BUILD) $(DIST)

check-install: setup  ## compile and run the examples against an installed copy: classify.c and train.cpp
	@tools/scripts/setup.sh ship
	@$(MAKE) all
	@$(MAKE) install PREFIX=$(abspath $(BUILD))/installed >/dev/null
	@tools/scripts/check_install.sh $(BUILD)/installed

clean:  ## remove what was built
	rm -rf $(BUILD) compile_commands.json

help:  ## print this list
	@awk -F ':.*  ## ' '/^[a-z_.-]+:.*  ## / { printf "  make %-22s %s\n", $$1, $$2 }' Makefile

.PHONY: all setup mpi mpi-libraries test test-isa demo figure check-figure check-report check-mpi check-networks check-pictures check-onnx bench \
        bench-ops bench-train compare bench-busy bench-infer bench-data lint asan tsan fuzz soak format \
        compile_commands.json install dist check-dist check-install clean help
