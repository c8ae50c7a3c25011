/* The next layer's inputs, in steps: 0 to 255, the nearest. */
static inline void requantize(const sum_t *sums, const float *factor, const float *bias, int rows,
                              input_t *x)
{
    int i;
    for (i = 0; i < rows; i++) {
        const float y = (float)sums[i] * factor[i] + bias[i];
        x[i] = (input_t)(y >= 254.5f ? 255 : y > 0.0f ? (int)(y + 0.5f) : 0);
    }
}
