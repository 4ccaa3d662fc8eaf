#include "model/rope.h"

#include <math.h>

/* Llama 3.1: wavelengths above original_positions / low_freq_factor are stretched by factor, those
 * below original_positions / high_freq_factor stay, and the ones between change over smoothly. */
static float llama3(const struct pq_rope *rope, float frequency) {
    float original = (float)rope->original_positions;
    float wavelength = 6.2831853071795865f / frequency;
    if (wavelength < original / rope->high_freq_factor)
        return frequency;
    if (wavelength > original / rope->low_freq_factor)
        return frequency / rope->factor;
    float smooth = (original / wavelength - rope->low_freq_factor) /
                   (rope->high_freq_factor - rope->low_freq_factor);
    return (1 - smooth) * frequency / rope->factor + smooth * frequency;
}

void pq_rope_frequencies(const struct pq_rope *rope, int head_dim, float *frequencies) {
    for (int i = 0; i < head_dim / 2; i++) {
        float plain = 1.0f / powf(rope->theta, (float)(2 * i) / (float)head_dim);
        frequencies[i] = rope->scaling == PQ_ROPE_LLAMA3   ? llama3(rope, plain)
                         : rope->scaling == PQ_ROPE_LINEAR ? plain / rope->factor
                                                           : plain;
    }
}

void pq_rope_angles(const float *frequencies, int head_dim, int position, float *angles) {
    int half = head_dim / 2;
    for (int i = 0; i < half; i++) {
        float angle = (float)position * frequencies[i];
        angles[i] = cosf(angle);
        angles[half + i] = sinf(angle);
    }
}
