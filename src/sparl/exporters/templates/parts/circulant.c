/* sums = W x. W consists of blocks of GROUP rows and columns. Only the first row of a block is
 * stored; every other row is the row above, rotated by one. The blocks of block row r begin at
 * start[r]; without indices, every block is stored. */
static inline void circulant(const weight_t *restrict weight, const column_t *restrict column,
                             const start_t *restrict start, int block_rows, int block_columns,
                             const input_t *restrict x, sum_t *restrict sums)
{
    int row, i, s;
    long k = 0, end;
    for (row = 0; row < block_rows; row++, sums += GROUP) {
        sum_t sum[GROUP] = {0};
        for (end = start ? (long)start[row + 1] : k + block_columns; k < end; k++) {
            const input_t *block = x + GROUP * (column ? (long)column[k] : k % block_columns);
            const weight_t *c = weight + GROUP * k;
            for (s = 0; s < GROUP; s++)
                for (i = 0; i < GROUP; i++)
                    sum[i] += WEIGHT(c[(s - i) & (GROUP - 1)]) * (sum_t)block[s];
        }
        for (i = 0; i < GROUP; i++)
            sums[i] = sum[i];
    }
}
