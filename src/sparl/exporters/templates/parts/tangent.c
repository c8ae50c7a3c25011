/* The hyperbolic tangent. */
static inline float tangent(float y)
{
    const float t = exp_less_1(2.0f * y);
    return t / (t + 2.0f);
}
