static inline float elu(float y)
{
    return y < 0.0f ? exp_less_1(y) : y;
}
