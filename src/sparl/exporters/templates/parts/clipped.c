/* A number brought to within `most` of 0. */
static inline float clipped(float value, float most)
{
    if (value > most)
        return most;
    return value < -most ? -most : value;
}
