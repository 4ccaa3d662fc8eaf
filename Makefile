# make            the library and the program, in build/
# make test       every test that needs no download; the last line says how many passed
# make install    PREFIX=/usr/local
# make help       all targets

CC ?= gcc
CXX ?= g++
PREFIX ?= /usr/local
BUILD ?= build
SANITIZE ?=

OPT ?= -O3
# No -ffast-math and no contraction: a kernel's sum has one order and one rounding on every ISA.
# The two relaxations concern errno and floating-point traps only, never a value.
NUMERICS := -ffp-contract=off -fno-math-errno -fno-trapping-math
# GCC has false warnings of variables without a value where it sanitizes.
WARN := -Wall -Wextra -Wno-psabi -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla \
        $(if $(SANITIZE),,-Werror)
# Of undefined behaviour what address sees anyway, and sums of pointers, is not looked for at each
# access, nor are blocks' variables after their block: that takes twice as long, to build and to run.
SANITIZED := -fsanitize=$(SANITIZE) -fno-sanitize=null,object-size,pointer-overflow \
             $(if $(findstring address,$(SANITIZE)),-fno-sanitize-address-use-after-scope) \
             -fno-sanitize-recover=all -fno-omit-frame-pointer
COMMON := -Iinclude -Isrc -pthread -g$(if $(SANITIZE),1) -fPIC -fvisibility=hidden -MMD -MP $(if $(SANITIZE),$(SANITIZED))
CFLAGS_ALL := -std=c11 -D_GNU_SOURCE $(OPT) $(NUMERICS) $(WARN) $(COMMON) $(CFLAGS)
# The shim uses classes of a library that is built without the sanitizer's type information.
CXXFLAGS_ALL := -std=c++17 $(OPT) -Wall -Wextra -Werror $(COMMON) $(CXXFLAGS) \
                $(if $(SANITIZE),-fno-sanitize=vptr)
LIBS := -lsentencepiece -lpcre2-8 -lutf8proc -ljansson -lz -lm -lstdc++ -pthread

# make V=1 shows the commands.
Q := $(if $(V),,@)
say := @echo ' '

ARCH := $(shell $(CC) -dumpmachine | cut -d- -f1)

LIB_C := $(wildcard src/*.c src/base/*.c src/io/*.c src/tok/*.c src/cpu/*.c src/model/*.c src/quant/*.c)
LIB_CC := $(wildcard src/tok/*.cc)
ARCH_DIR_x86_64 := x86
ARCH_DIR_aarch64 := arm
ARCH_DIR := $(ARCH_DIR_$(ARCH))
LIB_C += $(if $(ARCH_DIR),$(wildcard src/cpu/$(ARCH_DIR)/*.c))
LIB_OBJ := $(LIB_C:%.c=$(BUILD)/%.o) $(LIB_CC:%.cc=$(BUILD)/%.o)

# An ISA file is compiled for what its suffix names; those of LANES, plain C, once for each ISA.
LANES := elementwise rounding attend tile_f32
AVX2 := -mavx2 -mfma -mf16c
AVXVNNI := $(AVX2) -mavxvnni
AVX512 := $(AVX2) -mavx512f -mavx512bw -mavx512dq -mavx512vl -mprefer-vector-width=512
AVX512VNNI := $(AVX512) -mavx512vnni
AVX512BF16 := $(AVX512VNNI) -mavx512bf16
$(BUILD)/src/cpu/x86/%_avx2.o: ISA := $(AVX2)
$(BUILD)/src/cpu/x86/%_avxvnni.o: ISA := $(AVXVNNI)
$(BUILD)/src/cpu/x86/%_avx512.o: ISA := $(AVX512)
$(BUILD)/src/cpu/x86/%_avx512vnni.o: ISA := $(AVX512VNNI)
$(BUILD)/src/cpu/x86/%_avx512bf16.o: ISA := $(AVX512BF16)
# On AArch64, GCC's first scheduling would spread the loads of a tile over more registers than there
# are, so that accumulators go to memory; elementwise.c's plain build has NEON already.
DOTPROD := -march=armv8.2-a+dotprod
I8MM := -march=armv8.2-a+dotprod+i8mm+bf16
$(BUILD)/src/cpu/arm/%_dotprod.o: ISA := $(DOTPROD)
$(BUILD)/src/cpu/arm/%_i8mm.o: ISA := $(I8MM)
$(BUILD)/src/cpu/arm/%.o: CFLAGS_ALL += $(if $(shell $(CC) --version | grep clang),,-fno-schedule-insns)
ifeq ($(ARCH),x86_64)
LIB_OBJ += $(LANES:%=$(BUILD)/src/cpu/x86/%_avx2.o) $(LANES:%=$(BUILD)/src/cpu/x86/%_avx512.o)
define for_each_isa
$(BUILD)/src/cpu/x86/$(1)_%.o: src/cpu/$(1).c
	@mkdir -p $$(@D)
	$$(say) $$@
	$$(Q)$$(CC) $$(CFLAGS_ALL) $$(ISA) -DPQ_ISA_SUFFIX=_$$* -c $$< -o $$@
endef
$(foreach source,$(LANES),$(eval $(call for_each_isa,$(source))))
endif

PROG_OBJ := $(patsubst %.c,$(BUILD)/%.o,$(wildcard programs/*.c))
# Tests of what the program is made of link its objects, all but main's.
PROG_PARTS := $(filter-out $(BUILD)/programs/panq.o,$(PROG_OBJ))
TESTS := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/unit/test_*.c tests/kernels/test_*.c tests/e2e/test_*.c))
# GCC 12 for AArch64 dies of vectorizing the greatest differences that tests look for, and takes six
# times as long for them where it sanitizes.
TEST_OPT := $(if $(filter aarch64,$(ARCH))$(SANITIZE),-O1)
# Tests of src/base, src/cpu and attention, for a target that the libraries are not installed for.
CPU_OBJ := $(filter $(BUILD)/src/base/% $(BUILD)/src/cpu/%,$(LIB_OBJ)) \
           $(patsubst %,$(BUILD)/src/model/%.o,attention kv rope)
CPU_TESTS := $(patsubst %,$(BUILD)/cpu/tests/%,kernels/test_attend kernels/test_kernels \
             kernels/test_rounding unit/test_attention unit/test_gemm unit/test_threads)
TOOLS := $(patsubst tools/%.c,$(BUILD)/%,$(wildcard tools/*.c))
FUZZ := safetensors config tokenizer

.PHONY: all lib programs tools tests test install clean help \
        cpu-tests check-arm check-deps check-symbols check-spills check-format format \
        fuzz-smoke $(FUZZ:%=smoke-%) fuzz bench-1b check-7b ablation check-tasks check-report real \
        compile-commands
all: programs tools
lib: $(BUILD)/libpanq.a
programs: $(BUILD)/panq
tests: $(TESTS)
tools: $(TOOLS)
cpu-tests: $(CPU_TESTS)

$(BUILD)/libpanq.a: $(LIB_OBJ)
	@rm -f $@
	$(say) $@
	$(Q)$(AR) rcs $@ $^

$(BUILD)/panq: $(PROG_OBJ) $(BUILD)/libpanq.a
	$(say) $@
	$(Q)$(CC) $(CFLAGS_ALL) $^ -o $@ $(LDFLAGS) $(LIBS)

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(say) $@
	$(Q)$(CC) $(CFLAGS_ALL) $(ISA) -c $< -o $@

$(BUILD)/%.o: %.cc
	@mkdir -p $(@D)
	$(say) $@
	$(Q)$(CXX) $(CXXFLAGS_ALL) -c $< -o $@

$(BUILD)/tests/%: tests/%.c $(PROG_PARTS) $(BUILD)/libpanq.a
	@mkdir -p $(@D)
	$(say) $@
	$(Q)$(CC) $(CFLAGS_ALL) $(TEST_OPT) -Itests -Iprograms $(filter-out %.h,$^) -o $@ $(LDFLAGS) $(LIBS)

$(BUILD)/cpu/tests/%: tests/%.c $(CPU_OBJ)
	@mkdir -p $(@D)
	$(say) $@
	$(Q)$(CC) $(CFLAGS_ALL) $(TEST_OPT) -Itests $(filter-out %.h,$^) -o $@ $(LDFLAGS) -lm -pthread

$(BUILD)/%: tools/%.c $(BUILD)/libpanq.a
	@mkdir -p $(@D)
	$(say) $@
	$(Q)$(CC) $(CFLAGS_ALL) $< $(BUILD)/libpanq.a -o $@ $(LDFLAGS) $(LIBS)

test: all tests
	BUILD=$(BUILD) tests/run

# ---- Checks ----------------------------------------------------------------------------------------

check-deps:
	tools/check_deps.sh
check-symbols: lib
	tools/check_symbols.sh $(BUILD)/libpanq.a
check-spills: lib
	tools/check_spills.py $(BUILD)

# The kernels of AArch64, on emulated processors.
check-arm:
	$(MAKE) cpu-tests CC=aarch64-linux-gnu-gcc BUILD=$(BUILD)/arm64
	tools/check_arm.sh $(BUILD)/arm64

SOURCES := $(wildcard include/*.h src/*/*.[ch] src/*/*.cc src/cpu/*/*.[ch] programs/*.[ch] \
             tools/*.c tests/*.h tests/*/*.[ch])
check-format:
	clang-format --dry-run --Werror $(SOURCES)
format:
	clang-format -i $(SOURCES)

# ---- Fuzzing: mutated seeds anywhere; libFuzzer with clang, FUZZ_SECONDS for each ------------------

FUZZ_SECONDS ?= 60
$(BUILD)/tests/fuzz/smoke_%: tests/fuzz/fuzz_%.c tests/fuzz/smoke.c $(BUILD)/libpanq.a
	@mkdir -p $(@D)
	$(say) $@
	$(Q)$(CC) $(CFLAGS_ALL) -Itests/fuzz $(filter-out %.h,$^) -o $@ $(LDFLAGS) $(LIBS)
fuzz-smoke: $(FUZZ:%=smoke-%)
smoke-safetensors: $(BUILD)/tests/fuzz/smoke_safetensors
	$< 30000 tests/fuzz/seeds/small.safetensors
smoke-config: $(BUILD)/tests/fuzz/smoke_config
	$< 20000 tests/fuzz/seeds/w8a8.json \
	    models/pangu-mini/config.json models/pangu-mini/generation_config.json
smoke-tokenizer: $(BUILD)/tests/fuzz/smoke_tokenizer
	$< 3000 models/pangu-mini/tokenizer.model \
	    models/pangu-mini/tokenizer_config.json models/pangu-mini/README.md \
	    tests/golden/bpe-qwen.json tests/golden/bpe-gpt2.json
# Of a kernel with -O3, sanitized, clang 14 makes no end.
fuzz:
	$(MAKE) lib CC=clang CXX=clang++ OPT=-O1 BUILD=$(BUILD)/fuzz SANITIZE=fuzzer-no-link,address,undefined
	@for target in $(FUZZ); do \
	    clang -std=c11 -D_GNU_SOURCE -g -O1 -Iinclude -Isrc -fsanitize=fuzzer,address,undefined \
	        tests/fuzz/fuzz_$$target.c $(BUILD)/fuzz/libpanq.a -o $(BUILD)/fuzz/$$target $(LIBS) && \
	    $(BUILD)/fuzz/$$target -max_total_time=$(FUZZ_SECONDS) -max_len=65536 || exit 1; \
	done

# ---- Long runs: synthetic weights in openPangu's shapes, in SYNTH ----------------------------------

SYNTH ?= $(BUILD)/synth-models
bench-1b: all
	tools/bench_1b.sh $(BUILD) $(SYNTH)
check-7b: all
	tools/check_7b.sh $(BUILD) $(SYNTH)

# What each step of quantization is worth on pangu-mini; LIMIT tasks are solved.
LIMIT ?= 164
ablation: all
	tools/ablation.sh $(BUILD) $(LIMIT)

# Solutions of task files pass, mutants of them fail: TASKS="HumanEval.jsonl.gz mbpp.jsonl".
TASKS ?= models/pangu-mini/mini-eval.jsonl models/pangu-mini/mini-long.jsonl
check-tasks: programs
	tools/check_tasks.sh $(BUILD) $(TASKS)
# The page of panq report in a real browser, which is installed.
check-report: programs
	tools/check_report.sh $(BUILD)

# Real weights, fetched into REAL, against tokenizers, transformers and compressed-tensors.
REAL ?= $(BUILD)/real
real: all
	tools/real/run.sh $(BUILD) $(REAL) $(MODELS)

# ---- Installation ----------------------------------------------------------------------------------

install: programs lib
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/include $(DESTDIR)$(PREFIX)/lib \
	    $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/panq/pangu-mini
	install $(BUILD)/panq $(DESTDIR)$(PREFIX)/bin
	install -m 644 include/panq.h $(DESTDIR)$(PREFIX)/include
	install -m 644 $(BUILD)/libpanq.a $(DESTDIR)$(PREFIX)/lib
	install -m 644 docs/panq.1 $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 644 models/pangu-mini/* $(DESTDIR)$(PREFIX)/share/panq/pangu-mini

compile-commands:
	@{ echo '['; for f in $(LIB_C) $(wildcard programs/*.c tests/*/*.c tools/*.c); do \
	    case $$f in *_avx2.c) isa="$(AVX2)" ;; *_avx512.c) isa="$(AVX512)" ;; \
	        *_avxvnni.c) isa="$(AVXVNNI)" ;; *_avx512vnni.c) isa="$(AVX512VNNI)" ;; \
	        *_avx512bf16.c) isa="$(AVX512BF16)" ;; \
        *_dotprod.c) isa="$(DOTPROD)" ;; *_i8mm.c) isa="$(I8MM)" ;; *) isa= ;; esac; \
	    printf '%s{"directory": "%s", "file": "%s", "command": "%s"}' "$$comma" "$(CURDIR)" $$f \
	        "$(CC) $(CFLAGS_ALL) -Itests -Iprograms $$isa -c $$f"; comma=",$$(printf '\n ')"; \
	done; echo ']'; } > compile_commands.json

clean:
	rm -rf $(BUILD)

help:
	@sed -n '1,4p' Makefile | cut -c3-
	@echo 'check-deps check-symbols check-spills check-format: what ./check looks at beside the tests'
	@echo 'check-arm: the AArch64 kernels, cross-built, on processors emulated by qemu-user'
	@echo 'fuzz-smoke, fuzz: mutated files by seed; libFuzzer for FUZZ_SECONDS each'
	@echo 'bench-1b, check-7b: speed at the 1B shape; memory while quantizing 7B (long)'
	@echo 'ablation: what each step of quantization is worth on pangu-mini (minutes)'
	@echo 'check-tasks, check-report: TASKS through the sandbox; the report in a browser (downloads)'
	@echo 'real: real weights (MODELS=...) against other implementations (long, downloads)'
	@echo 'format, compile-commands, clean'

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
