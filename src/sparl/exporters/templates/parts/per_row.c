/* sums = W x. Every row keeps `kept` weights. Rows form tiles of 8, whose weights of one step lie
 * beside each other, as do their columns. */
static inline void per_row(const weight_t *restrict weight, const column_t *restrict column,
                           int rows, int kept, const input_t *restrict x, sum_t *restrict sums)
{
    int row = 0, k, i;
#define TAKE(i) WEIGHT(weight[i]) * (sum_t)x[column[i]]
    for (; row + 8 <= rows; row += 8, sums += 8) {
        sum_t s0 = 0, s1 = 0, s2 = 0, s3 = 0, s4 = 0, s5 = 0, s6 = 0, s7 = 0;
        for (k = 0; k < kept; k++, weight += 8, column += 8) {
            s0 += TAKE(0), s1 += TAKE(1), s2 += TAKE(2), s3 += TAKE(3);
            s4 += TAKE(4), s5 += TAKE(5), s6 += TAKE(6), s7 += TAKE(7);
        }
        sums[0] = s0, sums[1] = s1, sums[2] = s2, sums[3] = s3;
        sums[4] = s4, sums[5] = s5, sums[6] = s6, sums[7] = s7;
    }
    if (row < rows) {
        const int rest = rows - row;
        for (i = 0; i < rest; i++)
            sums[i] = 0;
        for (k = 0; k < kept; k++, weight += rest, column += rest)
            for (i = 0; i < rest; i++)
                sums[i] += TAKE(i);
    }
#undef TAKE
}
