/* The first places of `place`, `bits` bits in all. The first is in the lowest bits. */
static inline uint32_t places_of(const uint8_t *place, int bits)
{
    uint32_t places = 0;
    int i;
    for (i = 0; i < bits; i += 8)
        places |= (uint32_t)*place++ << i;
    return places;
}
