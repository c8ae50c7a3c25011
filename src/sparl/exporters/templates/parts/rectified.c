static inline float rectified(float y)
{
    return y < 0.0f ? 0.0f : y; /* NaN stays NaN and is reported at the end */
}
