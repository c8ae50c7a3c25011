/* sums = W x. SHARE neighbouring rows keep the same KEEP of every GROUP inputs, `kept` in all, so
 * what is loaded of an input serves all of them. Their weights of one input lie beside each other,
 * and so do those of the last rows, which may be fewer. A place within a group has BITS bits. */
static inline void shared_rows(const weight_t *restrict weight, const uint8_t *restrict place,
                               int rows, int kept, const input_t *restrict x, sum_t *restrict sums)
{
    const uint32_t mask = (1u << BITS) - 1u;
    const int last = rows % SHARE;
    int row, k, s, i;
#define STEP(s) \
    input = (sum_t)group[(k % KEEP + (s)) / KEEP * GROUP + (int)(places >> BITS * (s) & mask)]; \
    sumROW += WEIGHT(weight[ROW]) * input; \
    weight += SHARE;
    for (row = SHARE; row <= rows; row += SHARE, sums += SHARE) {
        const input_t *group = x;
        uint32_t places;
        sum_t input;
        sum_t sumROW = 0;
        for (k = 0; k + 8 <= kept; k += 8, place += BITS) {
            places = places_of(place, 8 * BITS);
            if (sizeof(weight_t) == 2) { /* halves, whose conversions are long to unroll */
                for (s = 0; s < 8; s++) {
                    STEP(s)
                }
            } else {
                STEP(0) STEP(1) STEP(2) STEP(3) STEP(4) STEP(5) STEP(6) STEP(7)
            }
            group += (k % KEEP + 8) / KEEP * GROUP;
        }
        if (kept % 8) {
            places = places_of(place, kept % 8 * BITS);
            for (s = 0; s < kept % 8; s++) {
                STEP(s)
            }
            place += (kept % 8 * BITS + 7) / 8;
        }
        sums[ROW] = sumROW;
    }
#undef STEP
    if (last) {
        uint32_t places = 0;
        for (i = 0; i < last; i++)
            sums[i] = 0;
        for (k = 0; k < kept; k++, weight += last, places >>= BITS) {
            const int left = kept - k;
            if (k % 8 == 0)
                places = places_of(place + k / 8 * BITS, BITS * (left < 8 ? left : 8));
            for (i = 0; i < last; i++)
                sums[i] += WEIGHT(weight[i]) * (sum_t)x[k / KEEP * GROUP + (int)(places & mask)];
        }
    }
}
