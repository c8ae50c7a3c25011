/* y * sigmoid(y). Below -80 it is as good as 0; there, expf(-y) would overflow. */
static inline float swish(float y)
{
    return y / (1.0f + expf(y < -80.0f ? 80.0f : -y));
}
