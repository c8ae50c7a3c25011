/* sums = W x. A row keeps KEEP of every GROUP inputs, `kept` in all. Rows form tiles of 8, whose
 * weights of one step lie beside each other. The 8 places within their groups have BITS bits each
 * and fill BITS bytes, with the first row in the lowest bits. */
static inline void n_of_m(const weight_t *restrict weight, const uint8_t *restrict place, int rows,
                          int kept, const input_t *restrict x, sum_t *restrict sums)
{
    const uint32_t mask = (1u << BITS) - 1u;
    int row = 0, k, i;
#define TAKE(i) WEIGHT(weight[i]) * (sum_t)group[places >> BITS * (i) & mask]
    for (; row + 8 <= rows; row += 8, sums += 8) {
        sum_t s0 = 0, s1 = 0, s2 = 0, s3 = 0, s4 = 0, s5 = 0, s6 = 0, s7 = 0;
        for (k = 0; k < kept; k++, place += BITS, weight += 8) {
            const input_t *group = x + k / KEEP * GROUP;
            const uint32_t places = places_of(place, 8 * BITS);
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
        for (k = 0; k < kept; k++, place += BITS, weight += rest) {
            const input_t *group = x + k / KEEP * GROUP;
            const uint32_t places = places_of(place, 8 * BITS);
            for (i = 0; i < rest; i++)
                sums[i] += TAKE(i);
        }
    }
#undef TAKE
}
