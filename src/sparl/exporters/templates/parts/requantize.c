/* The next layer's inputs in steps: relu(sums * factor + bias), rounded. */
static inline void requantize(const sum_t *sums, const float *factor, const float *bias, int rows,
                              float highest, input_t *x)
{
    int i;
    for (i = 0; i < rows; i++)
        x[i] = quantize((float)sums[i] * factor[i] + bias[i], 0.0f, highest);
}
