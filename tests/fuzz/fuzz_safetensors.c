/* Any bytes as a safetensors file: what opens has all its tensors inside the file. */
#include "input.h"
#include "io/safetensors.h"

static volatile unsigned char sink;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *path = fuzz_file(data, size);
    struct pq_err err = {""};
    struct pq_safetensors st;
    if (pq_safetensors_open(&st, path, &err) != PQ_OK) {
        fuzz_check_sentence(err.text, path);
        return 0;
    }
    for (int i = 0; i < st.n; i++) {
        const unsigned char *bytes = st.tensors[i].data;
        size_t begin = (size_t)(bytes - st.map.data), n = st.tensors[i].info.bytes;
        if (begin > size || n > size - begin)
            abort();
        if (n)
            sink = (unsigned char)(bytes[0] + bytes[n - 1]);
    }
    pq_safetensors_close(&st);
    return 0;
}
