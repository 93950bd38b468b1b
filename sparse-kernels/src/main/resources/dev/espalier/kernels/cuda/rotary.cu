// Rotary position embedding as Hugging Face stores it: dimension i of a head is paired with i + half.

// cos_sin [tokens, 2 half]: cosines (first half) and sines of positions[t] * frequencies[i].
// The angle is reduced to one turn in float64, so that long contexts keep their digits.
KERNEL(256, 1, angles)
(const float* frequencies, const int* positions, float* cos_sin, int half) {
    int token = blockIdx.x;
    for (int i = threadIdx.x; i < half; i += blockDim.x) {
        float angle = positions[token] * frequencies[i];
        double turns = angle * 0.15915494309189535;
        float half_turns = (float) (2.0 * (turns - rint(turns)));
        float sine;
        float cosine;
        sincospif(half_turns, &sine, &cosine);
        cos_sin[(u64) token * 2 * half + i] = cosine;
        cos_sin[(u64) token * 2 * half + half + i] = sine;
    }
}

// Rotates each of the `heads` heads of x [tokens, heads * 2 half] in place; one block a token.
KERNEL(256, 1, rotate)
(float* x, const float* cos_sin, int heads, int half) {
    float* token = x + (u64) blockIdx.x * heads * 2 * half;
    const float* angle = cos_sin + (u64) blockIdx.x * 2 * half;
    for (int i = threadIdx.x; i < heads * half; i += blockDim.x) {
        int d = i % half;
        float* a = token + i / half * 2 * half + d;
        float* b = a + half;
        float c = angle[d];
        float s = angle[half + d];
        float left = *a;
        float right = *b;
        *a = left * c - right * s;
        *b = right * c + left * s;
    }
}
