#ifdef __AVR__ /* whose library has no expm1f */
#define expm1f(y) (tanhf(0.5f * (y)) * (expf(y) + 1.0f))
#endif

static inline float elu(float y)
{
    return y < 0.0f ? expm1f(y) : y;
}
