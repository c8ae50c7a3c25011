/* Whether a number is neither NaN nor infinite. Its bits say so under every option of a compiler;
 * isfinite is always true under -ffast-math. */
static inline int is_finite(float value)
{
    union {
        float value;
        uint32_t bits;
    } number;
    number.value = value;
    return (number.bits & 0x7f800000u) != 0x7f800000u;
}
