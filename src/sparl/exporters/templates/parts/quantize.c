/* Rounds a number of steps to the nearest integer, between `lowest` and `highest`. NaN, which has
 * no integer, counts as `highest`. */
static inline input_t quantize(float steps, float lowest, float highest)
{
    if (!(steps < highest))
        return (input_t)highest;
    if (steps <= lowest)
        return (input_t)lowest;
    return (input_t)(steps < 0.0f ? steps - 0.5f : steps + 0.5f);
}
