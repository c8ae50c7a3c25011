/* The value of an IEEE half, given by its bits. Its exponent and fraction, moved to where a float
 * has them, give the value times 2^-112. */
static inline float half(uint16_t bits)
{
    union {
        uint32_t bits;
        float value;
    } number;
    number.bits = (uint32_t)(bits & 0x7fffu) << 13;
    number.value *= 5.192296858534828e33f;
    number.bits |= (uint32_t)(bits & 0x8000u) << 16;
    return number.value;
}
