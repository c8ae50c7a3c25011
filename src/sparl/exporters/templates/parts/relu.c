/* The next layer's inputs: relu(sums + bias). */
static inline void relu(const sum_t *sums, const float *bias, int rows, input_t *x)
{
    int i;
    for (i = 0; i < rows; i++) {
        const float y = sums[i] + bias[i];
        x[i] = y < 0.0f ? 0.0f : y; /* NaN stays NaN and is reported at the end */
    }
}
