#include "io/safetensors.h"
#include "io/safetensors_write.h"
#include "scratch.h"
#include "tap.h"

#include <inttypes.h>

#define MINI "models/pangu-mini/model.safetensors"

/* ---- Whole files by hand --------------------------------------------------------------------- */

/* A file that claims `claim` bytes of header, holds `header`, and then `data` bytes of zeros. */
static const char *raw(uint64_t claim, const char *header, size_t data) {
    static unsigned char bytes[1 << 16];
    size_t length = strlen(header);
    memset(bytes, 0, sizeof bytes);
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(claim >> 8 * i);
    memcpy(bytes + 8, header, length);
    return scratch_write("raw.safetensors", bytes, 8 + length + data);
}

static const char *file_of(const char *header, size_t data) {
    return raw(strlen(header), header, data);
}

/* Opening must fail with `status` and a sentence that holds the file's name and `words`, and leave
 * what it was given alone. */
static bool refuses(const char *path, enum pq_status status, const char *words) {
    struct pq_err err = {""};
    struct pq_safetensors st = {.n = -7};
    enum pq_status got = pq_safetensors_open(&st, path, &err);
    bool good = got == status && st.n == -7 && !st.tensors && strstr(err.text, path) &&
                strstr(err.text, words) && !strchr(err.text, '\n');
    if (!good)
        printf("# status %d, sentence: %s\n# wanted: %d, %s\n", got, err.text, status, words);
    if (got == PQ_OK)
        pq_safetensors_close(&st);
    return good;
}

#define A "\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]}"

static void test_by_hand(void) {
    struct pq_err err;
    struct pq_safetensors st;
    /* An odd header length leaves the data unaligned; the order of the header is not the data's. */
    const char *path = file_of("{\"b\":{\"dtype\":\"I8\",\"shape\":[],\"data_offsets\":[24,25]}," A
                               ",\"z\":{\"dtype\":\"I8\",\"shape\":[0],\"data_offsets\":[24,24]}}",
                               25);
    CHECK_OK(pq_safetensors_open(&st, path, &err));
    CHECK(st.n == 3);
    CHECK(strcmp(st.tensors[0].info.name, "a") == 0);
    CHECK(strcmp(st.tensors[0].info.dtype, "F32") == 0);
    CHECK(strcmp(st.tensors[0].info.file, "raw.safetensors") == 0);
    CHECK(st.tensors[0].info.rank == 2 && st.tensors[0].info.bytes == 24);
    CHECK(st.tensors[0].info.shape[0] == 2 && st.tensors[0].info.shape[1] == 3);
    CHECK(strcmp(st.tensors[1].info.name, "z") == 0 && st.tensors[1].info.bytes == 0);
    CHECK(strcmp(st.tensors[2].info.name, "b") == 0 && st.tensors[2].info.rank == 0);
    CHECK((const unsigned char *)st.tensors[2].data == st.map.data + st.map.size - 1);
    pq_safetensors_close(&st);
    pq_safetensors_close(NULL);
}

static void test_empty_header(void) {
    struct pq_err err;
    struct pq_safetensors st;
    CHECK_OK(pq_safetensors_open(&st, file_of("{}", 0), &err));
    CHECK(st.n == 0);
    pq_safetensors_close(&st);
}

static void test_not_a_file(void) {
    CHECK(refuses(scratch_path("absent"), PQ_EIO, "No such file"));
    CHECK(refuses(scratch_dir, PQ_EIO, "not a regular file"));
    CHECK(refuses(scratch_write("empty", "", 0), PQ_EFORMAT, "0 bytes"));
    CHECK(refuses(scratch_write("seven", "1234567", 7), PQ_EFORMAT, "7 bytes"));
    CHECK(refuses(scratch_text("text", "Hello, this is no safetensors file."), PQ_EFORMAT,
                  "not a safetensors file"));
}

static void test_header_length(void) {
    CHECK(refuses(raw(3, "{}", 0), PQ_EFORMAT, "claims 3 bytes of a file of 10"));
    CHECK(refuses(raw(UINT64_MAX, "{}", 0), PQ_EFORMAT, "claims 18446744073709551615 bytes"));
    CHECK(refuses(raw(UINT64_MAX - 7, "{}", 0), PQ_EFORMAT, "claims"));
    CHECK(refuses(raw(0, "", 0), PQ_EFORMAT, "does not begin with {"));
    CHECK(refuses(raw(2, " {}", 0), PQ_EFORMAT, "does not begin with {"));
    const char *path = raw(100000001, "{}", 0);
    CHECK(truncate(path, 100000020) == 0);
    CHECK(refuses(path, PQ_EFORMAT, "claims 100000001 bytes"));
}

static void test_header_json(void) {
    CHECK(refuses(file_of("{]", 0), PQ_EFORMAT, "line 1 is not valid JSON"));
    CHECK(refuses(file_of("{" A "\n,", 24), PQ_EFORMAT, "line 2 is not valid JSON"));
    CHECK(refuses(file_of("{" A "} x", 24), PQ_EFORMAT, "not valid JSON"));
    CHECK(refuses(file_of("{" A "," A "}", 24), PQ_EFORMAT, "duplicate"));
    CHECK(refuses(file_of("{\"a\":[]}", 0), PQ_EFORMAT, "tensor a is []"));
    CHECK(refuses(file_of("{\"\\u00e9\":{}}", 0), PQ_EFORMAT, "no tensor name"));
    CHECK(refuses(file_of("{\"\":{}}", 0), PQ_EFORMAT, "no tensor name"));
    CHECK(refuses(file_of("{\"a\\nb\":{}}", 0), PQ_EFORMAT, "\"a?b\" is no tensor name"));
    char header[400], name[257];
    memset(name, 'n', 256);
    name[256] = 0;
    snprintf(header, sizeof header, "{\"%s\":{}}", name);
    CHECK(refuses(file_of(header, 0), PQ_EFORMAT, "no tensor name"));
    name[255] = 0; /* the longest that may be */
    snprintf(header, sizeof header, "{\"%s\":{}}", name);
    CHECK(refuses(file_of(header, 0), PQ_EFORMAT, "has dtype missing"));
    CHECK(refuses(file_of("{\"__metadata__\":{\"a\":1}}", 0), PQ_EFORMAT, "key \"a\" is 1"));
    CHECK(refuses(file_of("{\"__metadata__\":\"a\"}", 0), PQ_EFORMAT, "__metadata__ is \"a\""));
}

/* One tensor "t" with these values, and `data` bytes behind the header. */
static const char *tensor(const char *dtype, const char *shape, const char *offsets, size_t data) {
    char header[512];
    snprintf(header, sizeof header,
             "{\"__metadata__\":{\"format\":\"pt\"},\"t\":{\"dtype\":%s,\"shape\":%s,"
             "\"data_offsets\":%s}}",
             dtype, shape, offsets);
    return file_of(header, data);
}

static void test_dtype(void) {
    static const struct {
        const char *name;
        int bytes;
    } good[] = {{"BF16", 2}, {"F16", 2}, {"F32", 4}, {"I8", 1}, {"U8", 1}, {"I32", 4}};
    struct pq_err err;
    struct pq_safetensors st;
    for (int i = 0; i < 6; i++) {
        char name[16], offsets[32];
        snprintf(name, sizeof name, "\"%s\"", good[i].name);
        snprintf(offsets, sizeof offsets, "[0,%d]", 3 * good[i].bytes);
        CHECK_OK(pq_safetensors_open(&st, tensor(name, "[3]", offsets, 3 * (size_t)good[i].bytes),
                                     &err));
        CHECK(st.n == 1 && strcmp(st.tensors[0].info.dtype, good[i].name) == 0);
        pq_safetensors_close(&st);
    }
    CHECK(refuses(tensor("\"F64\"", "[1]", "[0,8]", 8), PQ_EUNSUPPORTED, "t has dtype \"F64\""));
    CHECK(refuses(tensor("\"f32\"", "[1]", "[0,4]", 4), PQ_EUNSUPPORTED, "dtype \"f32\""));
    CHECK(refuses(tensor("7", "[1]", "[0,4]", 4), PQ_EFORMAT, "t has dtype 7"));
}

static void test_shape(void) {
    CHECK(refuses(tensor("\"I8\"", "[1,1,1,1,1]", "[0,1]", 1), PQ_EUNSUPPORTED, "rank 5"));
    CHECK(refuses(tensor("\"I8\"", "[-1]", "[0,1]", 1), PQ_EFORMAT, "shape [-1]"));
    CHECK(refuses(tensor("\"I8\"", "[1.0]", "[0,1]", 1), PQ_EFORMAT, "shape [1.0]"));
    CHECK(refuses(tensor("\"I8\"", "[\"1\"]", "[0,1]", 1), PQ_EFORMAT, "shape [\"1\"]"));
    CHECK(refuses(tensor("\"I8\"", "1", "[0,1]", 1), PQ_EFORMAT, "shape 1"));
    CHECK(refuses(tensor("\"I8\"", "null", "[0,1]", 1), PQ_EFORMAT, "shape null"));
    /* Products that come back to a small number in 64 bits. */
    CHECK(refuses(tensor("\"F32\"", "[4611686018427387904]", "[0,0]", 0), PQ_EFORMAT, "overflows"));
    CHECK(refuses(tensor("\"I8\"", "[4294967296,4294967296]", "[0,0]", 0), PQ_EFORMAT,
                  "overflows at dimension 4294967296"));
    CHECK(refuses(tensor("\"I8\"", "[99999999999999999999]", "[0,0]", 0), PQ_EFORMAT, "too big"));
}

static void test_offsets(void) {
    CHECK(refuses(tensor("\"I8\"", "[4]", "[0,4]", 3), PQ_EFORMAT,
                  "tensor t ends at byte 4 of the data, but the file holds 3"));
    CHECK(refuses(tensor("\"I8\"", "[4]", "[0,3]", 3), PQ_EFORMAT,
                  "tensor t has 3 bytes of data, but I8 [4] takes 4"));
    CHECK(refuses(tensor("\"I8\"", "[4]", "[4,0]", 4), PQ_EFORMAT, "data_offsets [4,0]"));
    CHECK(refuses(tensor("\"I8\"", "[4]", "[-4,0]", 4), PQ_EFORMAT, "data_offsets [-4,0]"));
    CHECK(refuses(tensor("\"I8\"", "[4]", "[0.0,4]", 4), PQ_EFORMAT, "data_offsets [0.0,4]"));
    CHECK(refuses(tensor("\"I8\"", "[4]", "[0]", 4), PQ_EFORMAT, "data_offsets [0]"));
    CHECK(refuses(tensor("\"I8\"", "[4]", "[0,4,4]", 4), PQ_EFORMAT, "data_offsets [0,4,4]"));
    CHECK(refuses(tensor("\"I8\"", "[4]", "4", 4), PQ_EFORMAT, "data_offsets 4"));
    CHECK(refuses(tensor("\"I8\"", "[4]", "[0,9223372036854775807]", 4), PQ_EFORMAT,
                  "ends at byte 9223372036854775807"));
    CHECK(refuses(tensor("\"I8\"", "[4]", "[0,4]", 5), PQ_EFORMAT, "end at byte 4"));
    CHECK(refuses(tensor("\"I8\"", "[4]", "[1,5]", 5), PQ_EFORMAT, "leave a hole"));
    CHECK(refuses(
        file_of("{" A ",\"b\":{\"dtype\":\"I8\",\"shape\":[4],\"data_offsets\":[23,27]}}", 27),
        PQ_EFORMAT,
        "tensor b begins at byte 23 of the data where 24 is due: tensors "
        "overlap"));
    CHECK(refuses(
        file_of("{" A ",\"b\":{\"dtype\":\"I8\",\"shape\":[4],\"data_offsets\":[25,29]}}", 29),
        PQ_EFORMAT, "tensor b begins at byte 25 of the data where 24 is due"));
    CHECK(refuses(file_of("{" A ",\"b\":{\"dtype\":\"I8\",\"shape\":[4]}}", 28), PQ_EFORMAT,
                  "data_offsets missing"));
}

static void test_inv_freq_is_left_out(void) {
    struct pq_err err;
    struct pq_safetensors st;
    const char *path = file_of("{\"m.rotary_emb.inv_freq\":{\"dtype\":\"F64\",\"shape\":[2],"
                               "\"data_offsets\":[24,40]}," A "}",
                               40);
    CHECK_OK(pq_safetensors_open(&st, path, &err));
    CHECK(st.n == 1 && strcmp(st.tensors[0].info.name, "a") == 0);
    pq_safetensors_close(&st);
    CHECK(pq_safetensors_skips("model.layers.3.self_attn.rotary_emb.inv_freq"));
    CHECK(!pq_safetensors_skips("rotary_emb.inv_freq.weight"));
    CHECK(!pq_safetensors_skips("inv_freq"));
    /* It is validated all the same where it says that it lies. */
    CHECK(refuses(file_of("{\"m.rotary_emb.inv_freq\":{\"dtype\":\"F64\",\"shape\":[2],"
                          "\"data_offsets\":[24,41]}," A "}",
                          40),
                  PQ_EFORMAT, "m.rotary_emb.inv_freq ends at byte 41"));
}

/* ---- pangu-mini, cut and damaged ------------------------------------------------------------- */

static unsigned char *read_mini(size_t *size) {
    struct pq_map map;
    struct pq_err err;
    if (pq_map_open(&map, MINI, &err) != PQ_OK)
        return NULL;
    unsigned char *copy = malloc(map.size);
    memcpy(copy, map.data, map.size);
    *size = map.size;
    pq_map_close(&map);
    return copy;
}

static void test_truncations(void) {
    size_t size;
    unsigned char *bytes = read_mini(&size);
    CHECK(bytes);
    struct pq_err err;
    struct pq_safetensors st;
    const char *path = scratch_write("cut.safetensors", bytes, size);
    free(bytes);
    CHECK_OK(pq_safetensors_open(&st, path, &err));
    CHECK(st.n == 81);
    pq_safetensors_close(&st);
    /* Downwards: every length near the ends, some of the data, more of the header. */
    size_t length = size, cuts = 0;
    while (length > 0) {
        size_t step = length > size - 20 || length <= 20 ? 1 : length > 160000 ? 65521 : 61;
        length -= step < length ? step : length;
        CHECK(truncate(path, (off_t)length) == 0);
        CHECK(refuses(path, PQ_EFORMAT, ""));
        cuts++;
    }
    CHECK(cuts > 1000);
}

/* Whatever a damaged header says, a file that opens has all its tensors inside. */
static void test_damaged_headers(void) {
    size_t size;
    unsigned char *bytes = read_mini(&size);
    CHECK(bytes);
    const char *path = scratch_write("damaged.safetensors", bytes, size);
    uint32_t seed = 1;
    int opened = 0, refused = 0;
    for (int round = 0; round < 400; round++) {
        FILE *file = fopen(path, "r+b");
        seed = seed * 1664525u + 1013904223u;
        long at = (long)(seed >> 8) % 8552;
        seed = seed * 1664525u + 1013904223u;
        fseek(file, at, SEEK_SET);
        fputc("0123456789[]{}\",:-"[(seed >> 8) % 18], file);
        fclose(file);
        struct pq_safetensors st;
        struct pq_err err = {""};
        if (pq_safetensors_open(&st, path, &err) == PQ_OK) {
            for (int i = 0; i < st.n; i++) {
                const unsigned char *data = st.tensors[i].data;
                size_t begin = (size_t)(data - st.map.data);
                if (begin > size || st.tensors[i].info.bytes > size - begin)
                    FAIL("round %d: tensor %d lies outside", round, i);
            }
            pq_safetensors_close(&st);
            opened++;
        } else {
            CHECK(strstr(err.text, path));
            refused++;
        }
        file = fopen(path, "r+b");
        fseek(file, at, SEEK_SET);
        fputc(bytes[at], file);
        fclose(file);
    }
    free(bytes);
    CHECK(opened > 0 && refused > 100);
}

/* ---- Writing --------------------------------------------------------------------------------- */

static void test_round_trip(void) {
    struct pq_err err;
    struct pq_writer *w;
    const char *path = scratch_path("written.safetensors");
    unsigned char data[1000];
    for (int i = 0; i < 1000; i++)
        data[i] = (unsigned char)(i * 7);
    CHECK_OK(pq_writer_open(&w, path, &err));
    CHECK_OK(pq_writer_metadata(w, "format", "pt", &err));
    CHECK_OK(pq_writer_declare(w, "one", "BF16", 2, (int64_t[]){10, 20}, &err));
    CHECK_OK(pq_writer_declare(w, "two", "I8", 1, (int64_t[]){99}, &err));
    CHECK_OK(pq_writer_declare(w, "none", "F32", 3, (int64_t[]){4, 0, 4}, &err));
    CHECK_OK(pq_writer_declare(w, "scalar", "U8", 0, NULL, &err));
    CHECK_OK(pq_writer_metadata(w, "maker", "\xe4\xb8\xad \"x\"", &err));
    CHECK_OK(pq_writer_declare(w, "three", "F32", 4, (int64_t[]){5, 1, 5, 5}, &err));
    CHECK_OK(pq_writer_begin(w, &err));
    for (size_t at = 0, piece = 1; at < 1000; at += piece, piece = piece * 3 % 101)
        CHECK_OK(pq_writer_append(w, data + at, piece < 1000 - at ? piece : 1000 - at, &err));
    CHECK_OK(pq_writer_end(w, &err));
    pq_writer_close(w);

    struct pq_safetensors st;
    CHECK_OK(pq_safetensors_open(&st, path, &err));
    CHECK(st.n == 5);
    static const char *const names[] = {"one", "two", "none", "scalar", "three"};
    static const size_t begins[] = {0, 400, 499, 499, 500, 1000};
    const unsigned char *first = st.tensors[0].data;
    CHECK((size_t)(first - st.map.data) % 64 == 0);
    for (int i = 0; i < 5; i++) {
        CHECK(strcmp(st.tensors[i].info.name, names[i]) == 0);
        CHECK(st.tensors[i].info.bytes == begins[i + 1] - begins[i]);
        CHECK(memcmp(st.tensors[i].data, data + begins[i], st.tensors[i].info.bytes) == 0);
    }
    CHECK(st.tensors[4].info.rank == 4 && st.tensors[4].info.shape[3] == 5);
    const json_t *metadata = json_object_get(st.header, "__metadata__");
    CHECK(strcmp(json_string_value(json_object_get(metadata, "format")), "pt") == 0);
    CHECK(strcmp(json_string_value(json_object_get(metadata, "maker")), "\xe4\xb8\xad \"x\"") == 0);
    pq_safetensors_close(&st);
}

static void test_writer_misuse(void) {
    struct pq_err err;
    struct pq_writer *w;
    const char *path = scratch_path("misused.safetensors");
    static const char bytes[8];
    CHECK_OK(pq_writer_open(&w, path, &err));
    CHECK(pq_writer_append(w, bytes, 1, &err) == PQ_EINVAL);
    CHECK(pq_writer_end(w, &err) == PQ_EINVAL);
    CHECK_OK(pq_writer_declare(w, "t", "I8", 1, (int64_t[]){8}, &err));
    CHECK(pq_writer_declare(w, "t", "I8", 1, (int64_t[]){8}, &err) == PQ_EINVAL);
    CHECK(strstr(err.text, "tensor t is declared twice"));
    CHECK(pq_writer_declare(w, "u", "F64", 1, (int64_t[]){8}, &err) == PQ_EINVAL);
    CHECK(pq_writer_declare(w, "u", "I8", 5, (int64_t[]){1, 1, 1, 1, 1}, &err) == PQ_EINVAL);
    CHECK(pq_writer_declare(w, "u", "I8", 1, (int64_t[]){-8}, &err) == PQ_EINVAL);
    CHECK(pq_writer_declare(w, "u", "F32", 2, (int64_t[]){INT64_MAX, 2}, &err) == PQ_EINVAL);
    CHECK(pq_writer_declare(w, "u", "I8", 1, (int64_t[]){INT64_MAX}, &err) == PQ_EINVAL);
    CHECK(pq_writer_declare(w, "__metadata__", "I8", 1, (int64_t[]){1}, &err) == PQ_EINVAL);
    CHECK(pq_writer_declare(w, "u v", "I8", 1, (int64_t[]){1}, &err) == PQ_EINVAL);
    CHECK(pq_writer_metadata(w, "bad", "\xff", &err) == PQ_EINVAL);
    CHECK_OK(pq_writer_begin(w, &err));
    CHECK(pq_writer_begin(w, &err) == PQ_EINVAL);
    CHECK(pq_writer_declare(w, "u", "I8", 1, (int64_t[]){8}, &err) == PQ_EINVAL);
    CHECK(pq_writer_metadata(w, "late", "x", &err) == PQ_EINVAL);
    CHECK_OK(pq_writer_append(w, bytes, 5, &err));
    CHECK(pq_writer_end(w, &err) == PQ_EINVAL);
    CHECK(strstr(err.text, "5 of 8 declared bytes"));
    CHECK(pq_writer_append(w, bytes, 4, &err) == PQ_EINVAL);
    CHECK_OK(pq_writer_append(w, bytes, 3, &err));
    CHECK_OK(pq_writer_end(w, &err));
    pq_writer_close(w);
    pq_writer_close(NULL);
}

/* /dev/full refuses every write as a full disk does. */
static void test_disk_full(void) {
    struct pq_err err;
    struct pq_writer *w;
    static char bytes[1 << 20];
    CHECK_OK(pq_writer_open(&w, "/dev/full", &err));
    CHECK_OK(pq_writer_declare(w, "t", "I8", 1, (int64_t[]){2 * sizeof bytes}, &err));
    CHECK_OK(pq_writer_begin(w, &err));
    CHECK(pq_writer_append(w, bytes, sizeof bytes, &err) == PQ_EIO);
    CHECK(strstr(err.text, "/dev/full: cannot write: No space left on device"));
    pq_writer_close(w);
    /* What fits in the buffer is refused at the end. */
    CHECK_OK(pq_writer_open(&w, "/dev/full", &err));
    CHECK_OK(pq_writer_declare(w, "t", "I8", 1, (int64_t[]){8}, &err));
    CHECK_OK(pq_writer_begin(w, &err));
    CHECK_OK(pq_writer_append(w, bytes, 8, &err));
    CHECK(pq_writer_end(w, &err) == PQ_EIO);
    CHECK(strstr(err.text, "No space left on device"));
    pq_writer_close(w);
    w = NULL;
    CHECK(pq_writer_open(&w, scratch_path("no/such/dir"), &err) == PQ_EIO);
    CHECK(!w && strstr(err.text, "cannot create: No such file or directory"));
}

int main(void) {
    scratch_open();
    RUN(test_by_hand);
    RUN(test_empty_header);
    RUN(test_not_a_file);
    RUN(test_header_length);
    RUN(test_header_json);
    RUN(test_dtype);
    RUN(test_shape);
    RUN(test_offsets);
    RUN(test_inv_freq_is_left_out);
    RUN(test_truncations);
    RUN(test_damaged_headers);
    RUN(test_round_trip);
    RUN(test_writer_misuse);
    RUN(test_disk_full);
    return tap_done();
}
