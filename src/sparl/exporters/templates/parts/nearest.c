/* Rounds to the nearest integer, halves to the even one, between `lowest` and `highest`. Neither a
 * rounding mode nor an option of a compiler changes that. */
static inline int32_t nearest(float value, int32_t lowest, int32_t highest)
{
    int32_t whole;
    float rest;
    if (!(value > (float)lowest))
        return lowest;
    if (!(value < (float)highest))
        return highest;
    whole = (int32_t)value;
    rest = value - (float)whole;
    if (whole < highest && (rest > 0.5f || (rest == 0.5f && whole % 2 != 0)))
        whole++;
    if (whole > lowest && (rest < -0.5f || (rest == -0.5f && whole % 2 != 0)))
        whole--;
    /* A bound that float does not hold may have been compared as a number beyond it. */
    return whole < lowest ? lowest : whole > highest ? highest : whole;
}
