/* relu(y). NaN stays NaN and is reported at the end, also under -ffast-math: as integers, the bits
 * of negative numbers are those up to minus infinity's; those of NaN are larger. */
static inline float rectified(float y)
{
    union {
        float value;
        int32_t bits;
    } number;
    number.value = y;
    return number.bits <= -0x800000 ? 0.0f : y;
}
