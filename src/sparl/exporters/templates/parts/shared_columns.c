/* sums = W x. SHARE neighbouring rows keep the same `kept` inputs, so what is loaded of an input
 * serves all of them. Their weights of one input lie beside each other, and so do those of the last
 * rows, which may be fewer. */
static inline void shared_columns(const weight_t *restrict weight, const column_t *restrict column,
                                  int rows, int kept, const input_t *restrict x,
                                  sum_t *restrict sums)
{
    const int last = rows % SHARE;
    int row, k, i;
    for (row = SHARE; row <= rows; row += SHARE, sums += SHARE) {
        sum_t sumROW = 0;
        for (k = 0; k < kept; k++, weight += SHARE) {
            const sum_t input = (sum_t)x[*column++];
            sumROW += WEIGHT(weight[ROW]) * input;
        }
        sums[ROW] = sumROW;
    }
    if (last) {
        for (i = 0; i < last; i++)
            sums[i] = 0;
        for (k = 0; k < kept; k++, weight += last) {
            const sum_t input = (sum_t)x[*column++];
            for (i = 0; i < last; i++)
                sums[i] += WEIGHT(weight[i]) * input;
        }
    }
}
