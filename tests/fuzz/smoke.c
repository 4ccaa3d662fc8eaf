/* A small fuzzer for machines without libFuzzer: seeded mutations of the files named.
 *
 *     smoke_safetensors ITERATIONS FILE...
 *
 * It is linked with one fuzz_*.c.  A finding ends it by a signal; the same command finds it again,
 * under a debugger too. */
#include "input.h"

enum { MAX_SIZE = 1 << 16 };

static uint64_t state = 0x9e3779b97f4a7c15u;

/* 0 <= result < n.  xorshift64*, Vigna, arXiv:1402.6246. */
static size_t below(size_t n) {
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (size_t)((state * 0x2545f4914f6cdd1du) >> 33) % n;
}

/* Pieces that parsers stumble over. */
static const char *const words[] = {
    "0",
    "-1",
    "9223372036854775807",
    "18446744073709551615",
    "1e999",
    "1.5",
    "null",
    "true",
    "\"\"",
    "[]",
    "{}",
    "[",
    "}",
    ",",
    "\\u0000",
    "\xff",
    "4294967296",
    "\"F64\"",
    "\"I8\"",
    "\n",
    "-0.0",
};

/* Change data [size] in one place; returns the new size. */
static size_t mutate(uint8_t *data, size_t size) {
    size_t at = size ? below(size) : 0, kind = below(6), n = 1 + below(8);
    if (kind == 0 && size) { /* a bit */
        data[at] ^= (uint8_t)(1u << below(8));
    } else if (kind == 1 && size) { /* a byte */
        data[at] = (uint8_t)below(256);
    } else if (kind == 2) { /* cut the end off */
        size = at;
    } else if (kind == 3 && size - at > n) { /* take some out */
        memmove(data + at, data + at + n, size - at - n);
        size -= n;
    } else if (kind == 4 && size - at > n) { /* copy some elsewhere */
        memmove(data + below(size - n), data + at, n);
    } else { /* put a word in */
        const char *word = words[below(sizeof words / sizeof words[0])];
        size_t length = strlen(word);
        if (size + length <= MAX_SIZE) {
            memmove(data + at + length, data + at, size - at);
            memcpy(data + at, word, length);
            size += length;
        }
    }
    return size;
}

int main(int argc, char **argv) {
    static uint8_t seed[MAX_SIZE], data[MAX_SIZE];
    if (argc < 3 || atol(argv[1]) < 1) {
        fprintf(stderr, "usage: %s ITERATIONS FILE...\n", argv[0]);
        return 2;
    }
    long iterations = atol(argv[1]);
    for (int f = 2; f < argc; f++) {
        FILE *file = fopen(argv[f], "rb");
        if (!file) {
            perror(argv[f]);
            return 2;
        }
        size_t seed_size = fread(seed, 1, sizeof seed, file);
        fclose(file);
        LLVMFuzzerTestOneInput(seed, seed_size);
        for (long i = 0; i < iterations; i++) {
            size_t size = seed_size;
            memcpy(data, seed, size);
            for (size_t times = 1 + below(4); times > 0; times--)
                size = mutate(data, size);
            LLVMFuzzerTestOneInput(data, size);
        }
        printf("%s: %ld mutations\n", argv[f], iterations);
    }
    return 0;
}
