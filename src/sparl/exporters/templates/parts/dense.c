/* sums = W x, with weights stored column by column, four columns at a time. */
static inline void dense(const weight_t *restrict weight, int rows, int inputs,
                         const input_t *restrict x, sum_t *restrict sums)
{
    const int fours = inputs - inputs % 4;
    int i, k;
    for (i = 0; i < rows; i++)
        sums[i] = 0;
    for (k = 0; k < fours; k += 4, weight += 4 * rows) {
        const sum_t x0 = x[k], x1 = x[k + 1], x2 = x[k + 2], x3 = x[k + 3];
        const weight_t *w1 = weight + rows, *w2 = w1 + rows, *w3 = w2 + rows;
        for (i = 0; i < rows; i++)
            sums[i] += WEIGHT(weight[i]) * x0 + WEIGHT(w1[i]) * x1 + WEIGHT(w2[i]) * x2 +
                       WEIGHT(w3[i]) * x3;
    }
    for (k = fours; k < inputs; k++, weight += rows)
        for (i = 0; i < rows; i++)
            sums[i] += WEIGHT(weight[i]) * (sum_t)x[k];
}
