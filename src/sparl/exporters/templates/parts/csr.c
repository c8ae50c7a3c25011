/* sums = W x, row by row. The weights and columns of row r begin at start[r]. */
static inline void csr(const weight_t *weight, const column_t *column, const start_t *start,
                       int rows, const input_t *x, sum_t *sums)
{
    int row;
    for (row = 0; row < rows; row++) {
        const start_t end = start[row + 1];
        start_t k = start[row];
        sum_t even = 0, odd = 0; /* two sums, so that neither waits for the other */
        for (; end - k >= 2; k += 2) {
            even += WEIGHT(weight[k]) * (sum_t)x[column[k]];
            odd += WEIGHT(weight[k + 1]) * (sum_t)x[column[k + 1]];
        }
        if (k < end)
            even += WEIGHT(weight[k]) * (sum_t)x[column[k]];
        sums[row] = even + odd;
    }
}
