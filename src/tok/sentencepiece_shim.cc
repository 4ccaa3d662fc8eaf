#include <sentencepiece_processor.h>

#include <exception>
#include <memory>
#include <new>
#include <vector>

extern "C" {
#include "tok/sentencepiece.h"
}

struct pq_sentencepiece {
    sentencepiece::SentencePieceProcessor processor;
};

/* Of the exception being handled. */
static enum pq_status fail(const char *file, struct pq_err *err) {
    try {
        throw;
    } catch (const std::bad_alloc &) {
        return pq_fail(err, PQ_ENOMEM, "%s: out of memory in SentencePiece", file);
    } catch (const std::exception &e) {
        return pq_fail(err, PQ_EFORMAT, "%s: SentencePiece failed: %s", file, e.what());
    } catch (...) {
        return pq_fail(err, PQ_EFORMAT, "%s: SentencePiece failed", file);
    }
}

extern "C" enum pq_status pq_sentencepiece_open(struct pq_sentencepiece **out, const char *model,
                                                size_t size, const char *file, struct pq_err *err) {
    try {
        auto sp = std::make_unique<pq_sentencepiece>();
        const auto status = sp->processor.LoadFromSerializedProto({model, size});
        if (!status.ok())
            return pq_fail(err, PQ_EFORMAT, "%s: SentencePiece refuses it: %s", file,
                           status.ToString().c_str());
        *out = sp.release();
        return PQ_OK;
    } catch (...) {
        return fail(file, err);
    }
}

extern "C" void pq_sentencepiece_close(struct pq_sentencepiece *sp) {
    delete sp;
}

extern "C" enum pq_status pq_sentencepiece_encode(const struct pq_sentencepiece *sp,
                                                  const char *text, size_t len,
                                                  struct pq_buffer *ids, struct pq_err *err) {
    try {
        std::vector<int> found;
        const auto status = sp->processor.Encode({text, len}, &found);
        if (!status.ok())
            return pq_fail(err, PQ_EFORMAT, "tokenizer.model: SentencePiece cannot encode: %s",
                           status.ToString().c_str());
        static_assert(sizeof(int) == sizeof(int32_t), "ids are copied as they are");
        return pq_buffer_append(ids, found.data(), found.size() * sizeof(int32_t), err);
    } catch (...) {
        return fail("tokenizer.model", err);
    }
}
