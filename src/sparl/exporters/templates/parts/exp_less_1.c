/* e^y - 1, by the polynomial of Cephes' expf: y is n ln 2 + r, n whole and r within ln 2 / 2 of 0. A
 * library's own functions take kilobytes of a device. NaN stays NaN, also under -ffast-math. */
static float exp_less_1(float y)
{
    union {
        float value;
        uint32_t bits;
    } power;
    float n, r, p;
    power.value = y;
    if ((power.bits & 0x7fffffffu) > 0x7f800000u)
        return y;
    y = y < -87.0f ? -87.0f : y > 88.0f ? 88.0f : y; /* where e^y is a float */
    n = (float)(int32_t)(y * 1.44269504f + (y < 0.0f ? -0.5f : 0.5f));
    r = (y - n * 0.693359375f) + n * 2.12194440e-4f;
    p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r;
    power.bits = (uint32_t)((int32_t)n + 127) << 23; /* 2^n */
    return p * power.value + (power.value - 1.0f);
}
