static inline float swish(float y)
{
    return y / (1.0f + expf(-y));
}
