# make            the library and the program, in build/
# make test       every test that needs no download; the last line says how many passed
# make install    PREFIX=/usr/local
# make help       the other targets

CC ?= gcc
CXX ?= g++
PREFIX ?= /usr/local
BUILD ?= build
SANITIZE ?=

OPT ?= -O3
# No -ffast-math and no contraction: a kernel's sum has one order and one rounding on every ISA.
# The two relaxations concern errno and floating-point traps only, never a value.
NUMERICS := -ffp-contract=off -fno-math-errno -fno-trapping-math
WARN := -Wall -Wextra -Wno-psabi -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla -Werror
COMMON := -Iinclude -Isrc -pthread -g -fPIC -fvisibility=hidden -MMD -MP \
          $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-omit-frame-pointer -fno-sanitize-recover=all)
CFLAGS_ALL := -std=c11 -D_GNU_SOURCE $(OPT) $(NUMERICS) $(WARN) $(COMMON) $(CFLAGS)
CXXFLAGS_ALL := -std=c++17 $(OPT) -Wall -Wextra -Werror $(COMMON) $(CXXFLAGS)
LIBS := -lsentencepiece -ljansson -lz -lm -lstdc++ -pthread

ARCH := $(shell $(CC) -dumpmachine | cut -d- -f1)

LIB_C := $(wildcard src/*.c src/base/*.c src/io/*.c src/tok/*.c src/cpu/*.c src/model/*.c src/quant/*.c)
LIB_CC := $(wildcard src/tok/*.cc)
ifeq ($(ARCH),x86_64)
LIB_C += $(wildcard src/cpu/x86/*.c)
endif
LIB_OBJ := $(LIB_C:%.c=$(BUILD)/%.o) $(LIB_CC:%.cc=$(BUILD)/%.o)

# An ISA file is compiled for what its suffix names; elementwise.c, plain C, once for each ISA.
AVX2 := -mavx2 -mfma -mf16c
AVX512VNNI := $(AVX2) -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni -mprefer-vector-width=512
AVX512BF16 := $(AVX512VNNI) -mavx512bf16
$(BUILD)/src/cpu/x86/%_avx2.o: ISA := $(AVX2)
$(BUILD)/src/cpu/x86/%_avx512vnni.o: ISA := $(AVX512VNNI)
$(BUILD)/src/cpu/x86/%_avx512bf16.o: ISA := $(AVX512BF16)
ifeq ($(ARCH),x86_64)
LIB_OBJ += $(BUILD)/src/cpu/x86/elementwise_avx2.o $(BUILD)/src/cpu/x86/elementwise_avx512vnni.o
$(BUILD)/src/cpu/x86/elementwise_%.o: src/cpu/elementwise.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) $(ISA) -DPQ_ISA_SUFFIX=_$* -c $< -o $@
endif

PROG_OBJ := $(patsubst %.c,$(BUILD)/%.o,$(wildcard programs/*.c))
TESTS := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/unit/test_*.c tests/kernels/test_*.c))
TOOLS := $(patsubst tools/%.c,$(BUILD)/%,$(wildcard tools/*.c))

.PHONY: all lib programs tests tools test install clean help check-deps format compile-commands
all: programs tools
lib: $(BUILD)/libpanq.a
programs: $(BUILD)/panq
tests: $(TESTS)
tools: $(TOOLS)

$(BUILD)/libpanq.a: $(LIB_OBJ)
	@rm -f $@
	ar rcs $@ $^

$(BUILD)/panq: $(PROG_OBJ) $(BUILD)/libpanq.a
	$(CC) $(CFLAGS_ALL) $^ -o $@ $(LDFLAGS) $(LIBS)

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) $(ISA) -c $< -o $@

$(BUILD)/%.o: %.cc
	@mkdir -p $(@D)
	$(CXX) $(CXXFLAGS_ALL) -c $< -o $@

$(BUILD)/tests/%: tests/%.c $(BUILD)/libpanq.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -Itests $< $(BUILD)/libpanq.a -o $@ $(LDFLAGS) $(LIBS)

$(BUILD)/%: tools/%.c $(BUILD)/libpanq.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) $< $(BUILD)/libpanq.a -o $@ $(LDFLAGS) $(LIBS)

test: all tests
	BUILD=$(BUILD) tests/run

clean:
	rm -rf $(BUILD)

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
