/* The next layer's inputs: relu(sums + bias). */
static inline void relu(const sum_t *sums, const float *bias, int rows, input_t *x)
{
    int i;
    for (i = 0; i < rows; i++)
        x[i] = rectified(sums[i] + bias[i]);
}
