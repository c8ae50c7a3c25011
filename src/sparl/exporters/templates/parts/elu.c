#ifdef __AVR__ /* whose library has no expm1f */
#define EXPM1(y) (tanhf(0.5f * (y)) * (expf(y) + 1.0f))
#else
#define EXPM1(y) expm1f(y)
#endif

static inline float elu(float y)
{
    return y < 0.0f ? EXPM1(y) : y;
}
