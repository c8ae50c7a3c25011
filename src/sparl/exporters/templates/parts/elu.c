static inline float elu(float y)
{
    return y < 0.0f ? expm1f(y) : y;
}
